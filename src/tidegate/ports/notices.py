"""What is sent to people."""

from typing import Protocol

from tidegate.domain.jobs import Addressee


class WelcomeSender(Protocol):
    """Greets who has registered."""

    async def welcome(self, job: int, addressee: Addressee) -> None:
        """Send one greeting. The same *job* may come twice, for nobody can send and write down that it was sent at once.

        Raises:
            NoticeUndelivered: It was not sent; it may be tried again.
        """
