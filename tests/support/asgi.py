"""Calls an ASGI application as a server would, without a socket."""

import asyncio
from dataclasses import dataclass

from tidegate.api.app import Application
from tidegate.api.http import Header, Message


@dataclass(frozen=True)
class Reply:
    """What came back; status 0 when nothing did."""

    status: int
    headers: dict[str, str]
    body: bytes


def call(
    application: Application,
    method: str,
    path: str,
    *,
    headers: list[Header] | None = None,
    parts: list[bytes] | None = None,
    query: bytes = b"",
    client: tuple[str, int] | None = ("127.0.0.1", 5000),
    hangs_up: bool = False,
) -> Reply:
    """Send one request, its body in *parts*; *hangs_up*: the client is gone before the body is whole."""
    return asyncio.run(
        acall(
            application,
            method,
            path,
            headers=headers,
            parts=parts,
            query=query,
            client=client,
            hangs_up=hangs_up,
        )
    )


async def acall(
    application: Application,
    method: str,
    path: str,
    *,
    headers: list[Header] | None = None,
    parts: list[bytes] | None = None,
    query: bytes = b"",
    client: tuple[str, int] | None = ("127.0.0.1", 5000),
    hangs_up: bool = False,
) -> Reply:
    """As `call`, inside a running loop."""
    pending = list(parts or [b""])
    sent: list[Message] = []

    async def receive() -> Message:
        if not pending or (hangs_up and len(pending) == 1):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": pending.pop(0), "more_body": bool(pending)}

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query,
        "headers": headers or [],
        "client": client,
    }
    await application(scope, receive, send)
    if not sent:
        return Reply(0, {}, b"")
    start, body = sent
    return Reply(start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"])
