"""Reads HTTP/1.1 answers, as much of them as load needs: where they end, the status, a token."""

import json
import re
from typing import Final, NamedTuple

HEAD_END: Final = b"\r\n\r\n"
_LAST_CHUNK: Final = b"0\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_CHUNKED: Final = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_RETRY_AFTER: Final = re.compile(rb"\r\nretry-after:[ \t]*(\d+)[ \t]*\r\n", re.IGNORECASE)
_JSON_STRING: Final = rb'"%b":\s*"([^"\\]*)"'
_HEADER: Final = rb"(?i)\r\n%b:[ \t]*([^\r]*)\r\n"


class UnreadableAnswerError(Exception):
    """The server does not answer as this driver can read."""


def is_whole(octets: bytes) -> bool:
    """Whether *octets*, which begin with an answer, hold all of it.

    Only one answer is ever due on a connection, so that what is cut into chunks ends where the last of them does.

    Raises:
        UnreadableAnswerError: It has no length, is no HTTP/1.1, or more comes than was asked for.
    """
    end = octets.find(HEAD_END)
    if end < 0:
        return False
    # Nearly all servers write it in one of two ways; the expression below costs ten times as much.
    at = octets.find(b"\r\ncontent-length: ", 0, end)
    if at < 0:
        at = octets.find(b"\r\nContent-Length: ", 0, end)
    if at < 0:
        return _is_whole_otherwise(octets, end)
    length = int(octets[at + 18 : octets.find(b"\r", at + 18)])
    missing = end + 4 + length - len(octets)
    if missing < 0 or not octets.startswith(b"HTTP/1.1 "):
        raise UnreadableAnswerError("The server sent something else than one HTTP/1.1 answer.")
    return not missing


def _is_whole_otherwise(octets: bytes, end: int) -> bool:
    head = octets[: end + 2]
    if _CHUNKED.search(head):
        return octets.endswith(_LAST_CHUNK)
    length = _LENGTH.search(head)
    if length is None or not octets.startswith(b"HTTP/1.1 "):
        raise UnreadableAnswerError("An answer has neither Content-Length nor chunks.")
    missing = end + 4 + int(length[1]) - len(octets)
    if missing < 0:
        raise UnreadableAnswerError("The server sent more than one answer.")
    return not missing


def retry_after_s(answer: bytes) -> int:
    """Return what header Retry-After says, 0 without one."""
    found = _RETRY_AFTER.search(answer[: answer.find(HEAD_END) + 2])
    return int(found[1]) if found else 0


class TokenPlace(NamedTuple):
    """Where an answer holds a token.

    Attributes:
        is_header: Else it is a string of the JSON body.
        pattern: Whose first group is the token.
        before: The text just before it in a body, as most servers write it: found ten times as fast.
    """

    is_header: bool
    pattern: re.Pattern[bytes]
    before: bytes

    def find(self, answer: bytes) -> bytes:
        """Return the token in *answer*.

        Raises:
            UnreadableAnswerError: There is none.
        """
        if not self.is_header:
            at = answer.find(self.before)
            if at >= 0:
                start = at + len(self.before)
                return answer[start : answer.index(b'"', start)]
        found = self.pattern.search(answer)
        if found is None:
            raise UnreadableAnswerError(f"An answer holds no token: {self.pattern.pattern.decode()} is not in it.")
        return found[1]


def token_place(text: str) -> TokenPlace:
    """Return the place that *text*, "json:NAME" or "header:NAME", means."""
    sort, _, name = text.partition(":")
    quoted = re.escape(name.encode())
    if sort == "header":
        return TokenPlace(True, re.compile(_HEADER % quoted), b"")
    return TokenPlace(False, re.compile(_JSON_STRING % quoted), json.dumps(name).encode() + b':"')
