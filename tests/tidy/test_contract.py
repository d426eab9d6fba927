"""What the routes are and what the OpenAPI document says of them are two lists; they must be the same."""

from dataclasses import fields

from tidegate.api.contract import Endpoints, public_routes
from tidegate.api.http import Answer, Request
from tidegate.api.openapi import OPERATIONS


async def answer_nothing(_request: Request) -> Answer:
    return Answer(200)


def test_every_route_is_described_and_nothing_else():
    """But the redirect of the bare address, which is for people who typed it."""
    routes = public_routes(Endpoints(**{field.name: answer_nothing for field in fields(Endpoints)}))
    described = [(route.method, route.template) for route in routes if route.template != "/"]
    assert described == list(OPERATIONS)
