"""Knows the passwords that everybody tries first, so that nobody may choose one."""

from collections.abc import Iterable
from importlib.resources import files
from typing import Self


class CommonPasswords:
    """Implements `ports.passwords.Blocklist` with the list that the package carries (see `common_passwords.txt`)."""

    def __init__(self, common: Iterable[str]) -> None:
        self._common = frozenset(password.lower() for password in common)

    @classmethod
    def load(cls) -> Self:
        """Read the packaged list: what of the 20,000 most common passwords is long enough to be chosen at all."""
        text = files("tidegate.passwords").joinpath("common_passwords.txt").read_text(encoding="utf-8")
        _, _, passwords = text.partition("\n\n")  # before the empty line: source and licence
        return cls(passwords.splitlines())

    def holds(self, password: str) -> bool:
        """Whether *password* is among the common ones, in whatever case."""
        return password.lower() in self._common
