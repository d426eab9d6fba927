"""Greetings by email, to a mail server that takes, refuses, hangs, or offers no TLS."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from tidegate.domain.jobs import Addressee, NoticeUndelivered
from tidegate.notices.logged import LoggedWelcome
from tidegate.notices.smtp import SmtpWelcome

ADA = Addressee(UUID(int=1), "ada-canary@example.com", "Ada\r\nBcc: eve@example.com")


class MailServer:
    """Speaks enough of RFC 5321 for one message a connection.

    Attributes:
        heard: Every line.
        to_recipient: Its answer to RCPT; empty: none, ever.
    """

    def __init__(self, to_recipient: str = "250 ok") -> None:
        self.heard: list[str] = []
        self.to_recipient = to_recipient
        self.serving: list[asyncio.Task[None]] = []

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serving.append(asyncio.create_task(self.serve(reader, writer)))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        is_message = False
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            pass_on = self._answer(line, is_message=is_message)
            is_message = line.upper() == "DATA"
            writer.write(pass_on)
            if is_message:
                text = await reader.readuntil(b"\r\n.\r\n")
                self.heard += text.decode().splitlines()
                is_message = False
                writer.write(b"250 taken\r\n")
        writer.close()
        await writer.wait_closed()

    def _answer(self, line: str, *, is_message: bool) -> bytes:
        assert not is_message
        self.heard.append(line)
        verb = line.partition(" ")[0].upper()
        if verb == "RCPT":
            return f"{self.to_recipient}\r\n".encode() if self.to_recipient else b""
        return {"EHLO": b"250 8BITMIME\r\n", "DATA": b"354 go on\r\n", "QUIT": b"221 bye\r\n"}.get(verb, b"250 ok\r\n")


@asynccontextmanager
async def sender(server: MailServer, *, uses_tls: bool = False, timeout_s: float = 10) -> AsyncIterator[SmtpWelcome]:
    listening = await asyncio.start_server(server.accept, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield SmtpWelcome(
            host="127.0.0.1",
            port=port,
            user="",
            password="",
            sender="Tidegate <hello@tidegate.example>",
            timeout_s=timeout_s,
            uses_tls=uses_tls,
        )
        await asyncio.gather(*server.serving)


def test_a_greeting_bears_the_jobs_id_and_a_name_cannot_add_a_header() -> None:
    async def story() -> None:
        server = MailServer()
        async with sender(server) as smtp:
            await smtp.welcome(17, ADA)
            await smtp.welcome(18, Addressee(UUID(int=2), None, None))
        assert "Message-ID: <tidegate-job-17@tidegate.example>" in server.heard
        assert "To: ada-canary@example.com" in server.heard
        assert "Hello Ada Bcc: eve@example.com," in server.heard
        assert [line for line in server.heard if line.startswith("rcpt")] == ["rcpt TO:<ada-canary@example.com>"]

    asyncio.run(story())


@pytest.mark.parametrize(
    ("to_recipient", "why"), [("550 ada-canary@example.com is unknown", "SMTPRecipientsRefused"), ("", "TimeoutError")]
)
def test_what_was_not_taken_is_told_by_its_class_and_never_by_an_address(to_recipient: str, why: str) -> None:
    async def story() -> None:
        async with sender(MailServer(to_recipient), timeout_s=1) as smtp:
            with pytest.raises(NoticeUndelivered) as told:
                await smtp.welcome(17, ADA)
        assert told.value.why == why
        assert "canary" not in repr(told.value)
        assert (told.value.__cause__, told.value.__suppress_context__) == (None, True)

    asyncio.run(story())


def test_nothing_is_sent_to_a_server_without_tls() -> None:
    async def story() -> None:
        server = MailServer()
        async with sender(server, uses_tls=True) as smtp:
            with pytest.raises(NoticeUndelivered, match="SMTPNotSupportedError"):
                await smtp.welcome(17, ADA)
        assert "canary" not in str(server.heard)

    asyncio.run(story())


def test_the_log_tells_that_there_is_an_address_and_not_which() -> None:
    lines: list[str] = []
    asyncio.run(LoggedWelcome(write=lines.append).welcome(17, ADA))
    assert lines == ["job 17 would send an email to welcome user 00000000-0000-0000-0000-000000000001"]
