"""/admin/campaigns: what `tidegate campaigns` does, over HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from uuid import UUID

from tidegate.api.admin.gate import AdminGate
from tidegate.api.admin.schemas import CampaignBody, CampaignsBody, ShownBody, VoidedBody, read_terms
from tidegate.api.fields import read_json, text_member
from tidegate.api.http import Answer, Request
from tidegate.api.routing import Route
from tidegate.api.schemas import encode
from tidegate.domain.campaign_steps import CampaignStep
from tidegate.domain.errors import FieldFault, InvalidRequest
from tidegate.usecases.administer_campaigns import AdministerCampaigns

_CREATED = 201


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignEndpoints:
    """Each is for who has passed the gate."""

    administer: AdministerCampaigns

    async def create(self, request: Request) -> Answer:
        """JSON: the terms, and `draft`. 201 with the campaign."""
        members = read_json(request)
        is_draft = members.get("draft", False)
        if not isinstance(is_draft, bool):
            raise InvalidRequest(FieldFault("draft", "not_a_boolean"))
        made = await self.administer.create(read_terms(members), is_draft=is_draft, by=_by(request))
        return Answer(_CREATED, encode(CampaignBody.of(made)))

    async def listed(self, _request: Request) -> Answer:
        """200 with every campaign, the newest first."""
        return Answer(200, encode(CampaignsBody([CampaignBody.of(each) for each in await self.administer.listed()])))

    async def show(self, request: Request) -> Answer:
        """200 with the campaign and how far it is."""
        return Answer(200, encode(ShownBody.of(*await self.administer.show(request.path_value))))

    def step(self, step: CampaignStep) -> Callable[[Request], Awaitable[Answer]]:
        """What lets a campaign do *step*: 200 with the campaign as it is then, 409 if its state forbids it."""

        async def take(request: Request) -> Answer:
            campaign = await self.administer.step(request.path_value, step, by=_by(request))
            return Answer(200, encode(CampaignBody.of(campaign)))

        return take

    async def void(self, request: Request) -> Answer:
        """JSON: `userid`, `reason`. 200 with what became of the seat, 409 if there is no coupon to take back."""
        members = read_json(request)
        reason = text_member(members, "reason") or ""
        voided = await self.administer.void(request.path_value, _user(members), reason=reason, by=_by(request))
        return Answer(200, encode(VoidedBody.of(voided)))


def campaign_routes(endpoints: CampaignEndpoints, gate: AdminGate) -> list[Route]:
    """Every route of campaigns, behind *gate*."""
    one = "/admin/campaigns/{code}"
    return [
        Route("POST", "/admin/campaigns", gate.before(endpoints.create)),
        Route("GET", "/admin/campaigns", gate.before(endpoints.listed)),
        Route("GET", one, gate.before(endpoints.show)),
        *(Route("POST", f"{one}/{step}", gate.before(endpoints.step(step))) for step in CampaignStep),
        Route("POST", f"{one}/void", gate.before(endpoints.void)),
    ]


def _user(members: dict[str, object]) -> UUID:
    try:
        return UUID(text_member(members, "userid") or "")
    except ValueError:
        raise InvalidRequest(FieldFault("userid", "no_uuid")) from None


def _by(request: Request) -> str:
    """Who asks, for the audit: all have the same token, so their address tells more."""
    return f"admin-api {request.address or 'unix'}"
