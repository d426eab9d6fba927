"""Spells users as COPY takes them; apart from what talks to the database, for the processes that only check lines."""

from typing import Final

from tidegate.domain.user_imports import ImportedUser

_NULL: Final = "\\N"
_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})


def copy_row(line: int, imported: ImportedUser) -> str:
    """One row of the table `imported` (sql/imports.sql), in COPY's text format."""
    user = imported.user
    last_login = imported.last_login
    return "\t".join(
        (
            str(line),
            str(user.user_id),
            _escaped(user.username),
            _escaped(user.email),
            user.phone_number or _NULL,
            _escaped(user.password_hash),
            _escaped(user.full_name),
            _NULL if user.birth_date is None else user.birth_date.isoformat(),
            _NULL if last_login is None else last_login.replace(tzinfo=None).isoformat(),
        )
    )


def _escaped(text: str | None) -> str:
    if text is None:
        return _NULL
    return text if text.isprintable() and "\\" not in text else text.translate(_ESCAPES)
