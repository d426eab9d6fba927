"""Greets by email. Python's own smtplib in a thread: no dependency for what is far from any hot path.

A mail server takes a message in one step and says so in the next; whoever is killed between them cannot know. So a greeting
may be sent twice, and both bear the same Message-ID, made of the job's id, by which mail servers and readers tell doubles.
"""

import asyncio
import smtplib
import ssl
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import Final

from tidegate.domain.jobs import Addressee, NoticeUndelivered

_PORT_OF_TLS: Final = 465
"""Where TLS begins before SMTP does (RFC 8314 section 7.3); everywhere else by STARTTLS."""

_TEXT: Final = """\
{greeting}

your registration is complete: you can log in.

If it was not you who registered with this address, you need not do anything.
"""


class SmtpWelcome:
    """`ports.notices.WelcomeSender`."""

    def __init__(
        self,
        *,
        host: str,
        port: int,
        user: str,
        password: str,
        sender: str,
        timeout_s: float,
        uses_tls: bool = True,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """Nothing is connected before a greeting is sent.

        Args:
            host: Of the mail server.
            port: 465: TLS at once.
            user: Empty: nobody is asked for.
            password: Of *user*.
            sender: The address that it comes from.
            timeout_s: For the whole of one greeting.
            uses_tls: False only where the server is this machine's, in tests: it is never fallen back to.
            context: Whom to trust; None: whom the system trusts.
        """
        self._host = host
        self._port = port
        self._user = user
        self._password = password
        self._sender = sender
        self._timeout_s = timeout_s
        self._context = (context or ssl.create_default_context()) if uses_tls else None

    async def welcome(self, job: int, addressee: Addressee) -> None:
        """See `ports.notices.WelcomeSender.welcome`. Who gave no email address gets none."""
        if not addressee.email:
            return
        message = self._message(job, addressee.email, addressee.full_name)
        try:
            async with asyncio.timeout(self._timeout_s):
                # Its thread may outlive us, and still send: so be it, see above.
                await asyncio.to_thread(self._send, message)
        except (OSError, smtplib.SMTPException, ValueError) as error:  # among the first: TimeoutError
            # From none of them: their texts quote the address.
            raise NoticeUndelivered(type(error).__name__) from None

    def _message(self, job: int, email: str, full_name: str | None) -> EmailMessage:
        message = EmailMessage()
        message["Message-ID"] = f"<tidegate-job-{job}@{parseaddr(self._sender)[1].rpartition('@')[2]}>"
        message["Date"] = formatdate()
        message["From"] = self._sender
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody answers it that they are on holiday
        message["Subject"] = "Welcome"
        try:
            message["To"] = Address(addr_spec=email)
        except (ValueError, IndexError):
            raise NoticeUndelivered("UnreadableAddress") from None
        name = " ".join((full_name or "").split())
        message.set_content(_TEXT.format(greeting=f"Hello {name}," if name else "Hello,"))
        return message

    def _send(self, message: EmailMessage) -> None:
        if self._context is not None and self._port == _PORT_OF_TLS:
            server: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout_s, context=self._context)
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        with server:
            if self._context is not None and self._port != _PORT_OF_TLS:
                server.starttls(context=self._context)
            if self._user:
                server.login(self._user, self._password)
            server.send_message(message)
