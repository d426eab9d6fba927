"""Where settings are looked for: the environment, a .env file, and what `tidegate up` wrote into its data folder."""

import difflib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dotenv.parser import parse_stream

from tidegate.config import PREFIX, SettingsError, declared, variables

DOTENV: Final = ".env"
"""In the working folder."""

WRITTEN_BY_UP: Final = "tidegate.env"
"""In the data folder: what `tidegate up` decided, for the commands that run beside it."""


class UnreadableSettingsError(SettingsError):
    """A file of settings is there but cannot be read."""


@dataclass(frozen=True, slots=True)
class Given:
    """What was said, and where.

    Attributes:
        texts: By variable.
        sources: By variable: where its text was found, for people.
    """

    texts: Mapping[str, str]
    sources: Mapping[str, str]

    def over(self, other: "Given") -> "Given":
        """Both; where they differ, this."""
        return Given({**other.texts, **self.texts}, {**other.sources, **self.sources})


def gather(*, environment: Mapping[str, str], working_folder: Path) -> Given:
    """Read the environment and the .env file in *working_folder*; the environment wins.

    Raises:
        SettingsError: A name that no setting has.
        UnreadableSettingsError: The file cannot be read.
    """
    return _known(environment, "the environment").over(_known_in(working_folder / DOTENV))


def written_by_up(data_folder: Path) -> Given:
    """Read what `tidegate up` wrote into *data_folder*; nothing if it never ran there. Raises as `gather`."""
    return _known_in(data_folder / WRITTEN_BY_UP)


def write_settings(path: Path, texts: Mapping[str, str]) -> None:
    """Write *texts* to *path*, readable by its owner only, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    making = path.with_name(path.name + ".making")
    making.unlink(missing_ok=True)
    with open(os.open(making, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("# Written by `tidegate up` or `cluster`; other commands read it. Made anew at every start.\n")
        file.writelines(f"{name}={_quoted(text)}\n" for name, text in sorted(texts.items()))
    making.replace(path)


def default_data_folder(environment: Mapping[str, str]) -> Path | None:
    """Where `tidegate up` keeps its files unless told otherwise (XDG Base Directory Specification); None: nowhere."""
    if os.geteuid() == 0:
        return Path("/var/lib/tidegate")
    named = Path(environment.get("XDG_DATA_HOME", ""))
    if named.is_absolute():
        return named / "tidegate"
    try:
        return Path.home() / ".local" / "share" / "tidegate"
    except RuntimeError:
        return None


def _known_in(path: Path) -> Given:
    return _known(_read(path), str(path))


def _known(texts: Mapping[str, str], source: str) -> Given:
    """Those of *texts* that are ours, all of which must be known: a typing error must not silently leave a default."""
    ours = {name: text for name, text in texts.items() if name.startswith(PREFIX)}
    known = variables()
    faults = [f"{name} in {source} is no setting; {_advice(name, known)}" for name in sorted(ours) if name not in known]
    if faults:
        raise SettingsError(*faults)
    paths = {each.variable for each in declared() if each.is_path}
    complete = {
        # A command that reads it tomorrow works in another folder.
        name: os.path.abspath(os.path.expanduser(text)) if text and (name in paths or name.endswith("_FILE")) else text
        for name, text in ours.items()
    }
    return Given(complete, dict.fromkeys(ours, source))


def _advice(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.75)
    return f"did you mean {close[0]}?" if close else "see `tidegate config list`"


def _read(path: Path) -> dict[str, str]:
    """The lines of *path*, without expanding anything in them; nothing if there is no such file."""
    try:
        with path.open(encoding="utf-8") as file:
            lines = list(parse_stream(file))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UnreadableSettingsError(f"{path} cannot be read ({reason}); make it readable or remove it") from None
    for line in lines:
        if line.error or (line.key is not None and line.value is None):
            raise UnreadableSettingsError(
                f"{path} cannot be read (line {line.original.line} is not NAME=value); correct that line"
            )
    return {line.key: line.value for line in lines if line.key is not None and line.value is not None}


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
