"""Greets nobody and says so: to try what follows a registration without a mail server."""

from collections.abc import Callable

from tidegate.domain.jobs import Addressee


class LoggedWelcome:
    """`ports.notices.WelcomeSender`."""

    def __init__(self, *, write: Callable[[str], None]) -> None:
        """*write* takes one line."""
        self._write = write

    async def welcome(self, job: int, addressee: Addressee) -> None:
        """See `ports.notices.WelcomeSender.welcome`. Tells whether there is an address, never which."""
        kind = "an email" if addressee.email else "nothing, for lack of an address,"
        self._write(f"job {job} would send {kind} to welcome user {addressee.user_id}")
