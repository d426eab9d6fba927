"""What a password may be, and its one normalisation."""

import unicodedata
from typing import Final

from tidegate.domain.errors import FieldFault, InvalidRequest

PASSWORD_CODE_POINTS_MIN: Final = 8
"""NIST SP 800-63B section 5.1.1.2 and ASVS v5.0.0-6.2.1: at least 8 characters."""

PASSWORD_BYTES_MAX: Final = 1024
"""In UTF-8. NIST asks that at least 64 characters be allowed (64 of four bytes are 256); a bound there must be."""


def normalise_password(typed: str, *, field: str = "password") -> str:
    """Return *typed* in Unicode normalisation form C, and otherwise untouched: never trimmed, cut or case-mapped.

    NFC is what RFC 8265 section 4.2.2 (OpaqueString) asks for: the same keys pressed on two systems give the same string.

    Args:
        typed: As it came, not empty.
        field: Its name on the wire, for the refusal.

    Raises:
        InvalidRequest: Over `PASSWORD_BYTES_MAX`, or it holds NUL or a lone surrogate.
    """
    if len(typed) > PASSWORD_BYTES_MAX:
        raise InvalidRequest(FieldFault(field, "too_long"))
    password = unicodedata.normalize("NFC", typed)
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise InvalidRequest(FieldFault(field, "invalid_characters")) from None
    if size > PASSWORD_BYTES_MAX:
        raise InvalidRequest(FieldFault(field, "too_long"))
    if "\0" in password:
        raise InvalidRequest(FieldFault(field, "invalid_characters"))
    return password


def choose_password(typed: str, *, field: str = "password") -> str:
    """Return *typed* normalised, as the password somebody wants to have from now on.

    Raises:
        InvalidRequest: As `normalise_password`, or under `PASSWORD_CODE_POINTS_MIN`.
    """
    password = normalise_password(typed, field=field)
    if len(password) < PASSWORD_CODE_POINTS_MIN:
        raise InvalidRequest(FieldFault(field, "too_short"))
    return password
