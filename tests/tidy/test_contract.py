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


def test_a_route_reads_a_body_if_and_only_if_one_is_described():
    for route in public_routes(Endpoints(**{field.name: answer_nothing for field in fields(Endpoints)})):
        operation = OPERATIONS.get((route.method, route.template))
        assert route.reads_body == (operation is not None and (operation.form or operation.json) is not None), route
