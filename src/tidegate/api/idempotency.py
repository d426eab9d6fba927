"""Reads the header Idempotency-Key (draft-ietf-httpapi-idempotency-key-header-07 section 2.1)."""

import re
from typing import Final

from tidegate.api.http import Request
from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.domain.idempotency import KEY_CHARACTERS_MAX, KEY_CHARACTERS_MIN

_FIELD: Final = "idempotency-key"
_HEADER: Final = _FIELD.encode()

_QUOTED: Final = r'"((?:[ !#-\[\]-~]|\\["\\])*)"'
"""A String of RFC 8941 section 3.3.3, as the draft has it."""

_PLAIN: Final = r"([!#-+\--:<-\[\]-~]*)"
"""What most clients send: the key as it is. Not all that RFC 8941 calls a Token, and more: a UUID may begin with a digit.
Without quotes, backslash, comma and semicolon, with which it might be something else."""

_KEY: Final = re.compile(f"(?:{_QUOTED}|{_PLAIN})".encode())

_ESCAPED: Final = re.compile(r'\\(["\\])')


def _bounded(pattern: str) -> str:
    return pattern.replace("*)", f"{{{KEY_CHARACTERS_MIN},{KEY_CHARACTERS_MAX}}})")


PATTERN: Final = f"^(?:{_bounded(_QUOTED)}|{_bounded(_PLAIN)})$"
"""All of it for the OpenAPI document."""


def idempotency_key(request: Request) -> str | None:
    """Return the key under which *request* is to take effect once; None: it has none.

    The same characters are the same key, with quotes around them and without.

    Raises:
        InvalidRequest: It is neither form, too short to be nobody else's, too long, or given twice.
    """
    values = request.headers.get(_HEADER)
    if values is None:
        return None
    if len(values) > 1:
        raise InvalidRequest(FieldFault(_FIELD, "given_twice"))
    found = _KEY.fullmatch(values[0].strip(b" \t"))
    if found is None:
        raise InvalidRequest(FieldFault(_FIELD, "malformed"))
    quoted, plain = found.groups()
    key = _ESCAPED.sub(r"\1", quoted.decode()) if plain is None else plain.decode()
    if len(key) < KEY_CHARACTERS_MIN:
        raise InvalidRequest(FieldFault(_FIELD, "too_short"))
    if len(key) > KEY_CHARACTERS_MAX:
        raise InvalidRequest(FieldFault(_FIELD, "too_long"))
    return key
