"""Secrets that are made to be looked for, and the shapes in which one might turn up where it must not."""

import base64
import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, quote_plus


@dataclass
class Canaries:
    """Everything that a run must not tell.

    Attributes:
        texts: What each is, by its text.
    """

    texts: dict[str, str] = field(default_factory=dict)

    def add(self, what: str, text: str) -> str:
        """Remember *text*, which is *what*, and return it."""
        assert len(text) >= 7, "what is so short turns up by chance"
        self.texts[text] = what
        return text

    def found_in(self, octets: bytes) -> list[str]:
        """What of them *octets* hold, and in which shape."""
        return sorted(
            f"{what} as {shape}"
            for text, what in self.texts.items()
            for shape, form in shapes(text)
            if form.encode() in octets
        )


def shapes(text: str) -> Iterator[tuple[str, str]]:
    """The ways in which programs write *text*, each with its name."""
    raw = text.encode()
    yield "itself", text
    yield "percent-encoded", quote(text, safe="")
    yield "form-encoded", quote_plus(text)
    yield "JSON", json.dumps(text)[1:-1]
    yield "a Python literal", repr(text)[1:-1]
    yield "an ASCII literal", ascii(text)[1:-1]
    yield "a literal of bytes", repr(raw)[2:-1]
    yield "hexadecimal", raw.hex()
    yield "capital hexadecimal", raw.hex().upper()
    for offset in range(3):
        yield "Base64", _inside(base64.b64encode, raw, offset)
        yield "base64url", _inside(base64.urlsafe_b64encode, raw, offset)


def _inside(encode: object, raw: bytes, offset: int) -> str:
    """The letters of Base64 that *raw* alone decides when *offset* octets stand before it and others behind."""
    assert callable(encode)
    encoded: str = encode(b"\0" * offset + raw + b"\0" * 3).decode()
    return encoded[-(-offset * 8 // 6) : (offset + len(raw)) * 8 // 6]


def octets_of(text: str) -> str:
    """base64url octets as a text that holds them one to one, for keys whose octets are not letters."""
    padded = text + "=" * (-len(text) % 4)
    return binascii.hexlify(base64.urlsafe_b64decode(padded)).decode()
