"""GET /campaigns/{code}."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tidegate.api.conditional import names, tag_of
from tidegate.api.http import JSON_TYPE, Answer, Header, Request
from tidegate.api.schemas import CampaignBody, encode
from tidegate.domain.errors import Unavailable, UnknownCampaign
from tidegate.domain.participation import ShownCampaign
from tidegate.ports.coupons import ShownCampaigns

REMEMBERED_S: Final = 1.0
"""How old the seats left may be here; what a cache before us keeps comes on top."""

OUTLASTED_S: Final = 60.0
"""For how long the last answers are told while the database is away: a crowd that waits for a campaign comes back often."""

CACHING: Final = "public, max-age=2, stale-while-revalidate=10"
_CACHING: Final = (b"cache-control", CACHING.encode())


@dataclass(frozen=True, slots=True)
class _Page:
    """A campaign as it is told, whole and as 304."""

    tag: bytes
    whole: Answer
    unchanged: Answer


class CampaignEndpoint:
    """Public; a crowd asks it.

    All campaigns are read by one statement about once a second, and their answers made then: who asks meanwhile costs a
    look into a dictionary. What is asked for and does not exist leaves nothing behind.
    """

    def __init__(self, campaigns: ShownCampaigns, *, monotonic: Callable[[], float]) -> None:
        """Nothing is read yet.

        Args:
            campaigns: Asked when what is remembered is old.
            monotonic: In seconds.
        """
        self._campaigns = campaigns
        self._monotonic = monotonic
        self._source: Sequence[ShownCampaign] = ()
        self._pages: Mapping[str, _Page] = {}
        self._fresh_until = self._told_until = float("-inf")

    async def __call__(self, request: Request) -> Answer:
        """Answer 200 with the campaign, or 304 if the caller has it already."""
        if self._monotonic() >= self._fresh_until:
            await self._read()
        page = self._pages.get(request.path_value) or self._pages.get(request.path_value.lower())
        if page is None:
            raise UnknownCampaign
        if_none_match = request.header_values(b"if-none-match")
        return page.unchanged if if_none_match and names(b",".join(if_none_match), page.tag) else page.whole

    async def _read(self) -> None:
        asked_at = self._monotonic()
        try:
            found = await self._campaigns.shown()
        except Unavailable:
            now = self._monotonic()
            if now >= self._told_until:
                raise
            self._fresh_until = now + REMEMBERED_S  # those who come meanwhile need not wait for the next failure
            return
        # Who asked earlier and hears later must not bring back what was.
        if found is not self._source and asked_at + REMEMBERED_S > self._fresh_until:
            self._source, self._pages = found, {campaign.code: _page(campaign) for campaign in found}
            self._fresh_until, self._told_until = asked_at + REMEMBERED_S, asked_at + OUTLASTED_S


def _page(campaign: ShownCampaign) -> _Page:
    body = encode(CampaignBody.of(campaign))
    tag = tag_of(body)
    headers: list[Header] = [(b"etag", tag), _CACHING]
    return _Page(tag, Answer(200, body, [JSON_TYPE, *headers]), Answer(304, b"", headers))
