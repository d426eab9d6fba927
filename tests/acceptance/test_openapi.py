"""The served OpenAPI document is true: what it says is accepted, refused and answered is."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.acceptance.conftest import INTROSPECTION
from tests.support.client import Client, Person, basic
from tests.support.nodes import Node

ROOT: Final = Path(__file__).parents[2]
CONFIGURATION: Final = Path(__file__).with_name("schemathesis.toml")


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    served: dict[str, Any] = client.get("/openapi.json").json
    return served


def test_schemathesis_finds_nothing_untrue(shared_node: Node, client: Client, tmp_path: Path) -> None:
    """About a thousand requests from a fixed seed: examples at every bound, then random ones; see schemathesis.toml."""
    variables = {
        "PORT": str(shared_node.port),
        "STAYING_USERNAME": client.register(),
        "ENDING_USERNAME": client.register(),
        "PYTHONPATH": str(ROOT),
        "CLIENT_CREDENTIALS": basic(*INTROSPECTION),
    }
    address = f"http://127.0.0.1:{shared_node.port}/openapi.json"
    run = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "--config-file", CONFIGURATION, "run", address, "--no-color"],
        cwd=tmp_path,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-10_000:] + run.stderr


def references(part: object) -> Iterator[str]:
    """Every $ref in *part*."""
    if isinstance(part, dict):
        if "$ref" in part:
            yield part["$ref"]
        for member in part.values():
            yield from references(member)
    elif isinstance(part, list):
        for member in part:
            yield from references(member)


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert found
    for reference in found:
        part = document
        for name in reference.removeprefix("#/").split("/"):
            part = part[name]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every operation with its name."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_every_operation_tells_of_the_refusals_that_come_from_everywhere(document: dict[str, Any]) -> None:
    for name, operation in operations(document):
        statuses = set(operation["responses"])
        assert {"405", "500", "503"} <= statuses, name
        assert "requestBody" not in operation or {"400", "413", "415"} <= statuses, name
        assert "security" not in operation or "401" in statuses, name


def test_every_error_is_described_in_both_forms(document: dict[str, Any]) -> None:
    for status, response in document["components"]["responses"].items():
        assert set(response["content"]) == {"application/json", "application/problem+json"}
        example = response["content"]["application/json"]["example"]
        assert example["code"] == status
        assert example["message"] in response["description"]


def test_a_real_answer_has_the_members_that_its_schema_has(
    document: dict[str, Any], client: Client, person: Person
) -> None:
    """In the document's order, so that people read what they will see."""
    schemas = document["components"]["schemas"]
    token = person.access_token
    refreshed = client.form("/refresh", {"refresh_token": person.refresh_token})
    answers = {
        "Tokens": refreshed.json,
        "ProfileBody": client.get("/me", token=token).json,
        "SessionsBody": client.get("/me/sessions", token=token).json,
        "SessionBody": client.get("/me/sessions", token=token).json["sessions"][0],
        "CouponsBody": client.get("/me/coupons", token=token).json,
        "Availability": client.get("/availability?username=ada").json,
        "Health": client.get("/health/live").json,
        "Outcome": client.form("/revoke", {"token": "x"}).json,
        "Problem": client.form("/login", accept="application/problem+json").json,
    }
    for name, answer in answers.items():
        assert list(schemas[name]["properties"]) == list(answer), name


@pytest.mark.parametrize("path", ["/login", "/register"])
def test_a_registration_needs_a_name_and_the_document_says_so(path: str, document: dict[str, Any]) -> None:
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["required"] == ["password"]
    assert [choice["required"] for choice in schema["anyOf"]] == [["username"], ["email"], ["phone_number"]]
