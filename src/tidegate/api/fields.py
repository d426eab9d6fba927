"""Reads the fields of a form, a query or a JSON object, strictly: what two parsers could read differently is refused."""

import json
import re
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from uuid import UUID

from tidegate.api.http import Request
from tidegate.domain.errors import FieldFault, InvalidRequest, MalformedRequest, UnsupportedMediaType

FORM_TYPES: Final = {"application/x-www-form-urlencoded", "application/x-www-form-urlencoded;charset=utf-8"}
JSON_TYPES: Final = {"application/json", "application/json;charset=utf-8"}

_FIELDS_MAX: Final = 64
"""Nobody sends more than seven; a body of 8 KiB could hold 4,096 empty ones."""

_BROKEN_PERCENT: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")


def read_form(request: Request) -> dict[str, str]:
    """Return the non-empty fields of a form body (WHATWG URL Standard, application/x-www-form-urlencoded).

    A body of no bytes is a form without fields, whatever its type.

    Raises:
        UnsupportedMediaType: The body is something else.
        MalformedRequest: Broken percent-encoding, not UTF-8, or too many fields.
        InvalidRequest: A field given twice, or one that holds NUL.
    """
    if not request.body:
        return {}
    if request.media_type not in FORM_TYPES:
        raise UnsupportedMediaType
    return _read_pairs(request.body, "body")


def read_query(request: Request) -> dict[str, str]:
    """Return the non-empty fields of the query, under the same rules as `read_form`."""
    return _read_pairs(request.query, "query")


def _read_pairs(encoded: bytes, part: str) -> dict[str, str]:
    decode = _unescaped if b"%" in encoded else bytes.decode
    if decode is _unescaped and _BROKEN_PERCENT.search(encoded):
        raise MalformedRequest(FieldFault(part, "broken_percent_encoding"))
    pairs = encoded.replace(b"+", b" ").split(b"&")
    if len(pairs) > _FIELDS_MAX:
        raise MalformedRequest(FieldFault(part, "too_many_fields"))
    fields: dict[str, str] = {}
    try:
        for pair in pairs:
            if pair:
                raw_name, _, raw_value = pair.partition(b"=")
                _keep(fields, decode(raw_name), decode(raw_value))
    except UnicodeDecodeError:
        raise MalformedRequest(FieldFault(part, "not_utf8")) from None
    return fields if all(fields.values()) else {name: value for name, value in fields.items() if value}


def _unescaped(encoded: bytes) -> str:
    return unquote_to_bytes(encoded).decode()


def _keep(fields: dict[str, Any], name: str, value: object) -> None:
    if name in fields:
        raise InvalidRequest(FieldFault(_nameable(name), "given_twice"))
    fields[name] = value


def _nameable(name: str) -> str:
    """*name* if it may be told back in a header, else a word for it."""
    return name if re.fullmatch(r"[A-Za-z0-9_.-]{1,40}", name) else "field"


def read_json(request: Request) -> dict[str, Any]:
    """Return the members of a JSON object body (RFC 8259, and I-JSON's ban of duplicate names, RFC 7493).

    Raises:
        UnsupportedMediaType: The body is something else.
        MalformedRequest: Not UTF-8, not JSON, nested too deeply, or not an object.
        InvalidRequest: A member given twice, at any depth.
    """
    if request.media_type not in JSON_TYPES:
        raise UnsupportedMediaType
    try:
        members = json.loads(request.body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise MalformedRequest(FieldFault("body", "not_utf8")) from None
    except RecursionError:
        raise MalformedRequest(FieldFault("body", "nested_too_deeply")) from None
    except ValueError:  # JSONDecodeError, and an integer of more digits than Python converts
        raise MalformedRequest(FieldFault("body", "not_json")) from None
    if not isinstance(members, dict):
        raise MalformedRequest(FieldFault("body", "not_an_object"))
    return members


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        _keep(members, name, value)
    return members


def _refuse_constant(name: str) -> None:
    raise ValueError(name)  # NaN and Infinity are not JSON


def text_member(members: dict[str, Any], name: str) -> str | None:
    """Return the string in member *name*, or None if it is absent, null or empty.

    Raises:
        InvalidRequest: It is something else, or a string that no text column could hold.
    """
    value = members.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise InvalidRequest(FieldFault(name, "not_a_string"))
    return _storable(name, value)


def text_field(fields: dict[str, str], name: str) -> str | None:
    """Return field *name* of a form or query, or None if it is absent or empty.

    Raises:
        InvalidRequest: It holds what no text column could hold.
    """
    value = fields.get(name)
    return None if value is None else _storable(name, value)


def required_field(fields: dict[str, str], name: str) -> str:
    """Return field *name* of a form or query.

    Raises:
        InvalidRequest: It is absent, empty, or holds what no text column could hold.
    """
    value = text_field(fields, name)
    if value is None:
        raise InvalidRequest(FieldFault(name, "missing"))
    return value


def read_id(text: str) -> UUID | None:
    """The id that *text* is in the form of RFC 9562 section 4, else None; Python would take braces and `urn:uuid:` too."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None


def _storable(name: str, value: str) -> str:
    if "\0" in value:
        raise InvalidRequest(FieldFault(name, "invalid_characters"))
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        raise InvalidRequest(FieldFault(name, "invalid_characters")) from None
    return value
