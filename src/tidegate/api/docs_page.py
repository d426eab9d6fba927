"""The OpenAPI document as a page for people: made once at start, no script, nothing fetched from elsewhere."""

import json
from html import escape
from importlib.resources import files
from typing import Any, Final

PAGE_TYPE: Final = "text/html; charset=utf-8"
_ANCHORS_OF_ERRORS: Final = (
    "Every error has this form. Tidegate-Reason, or Accept: application/problem+json, says which field."
)


def render(document: dict[str, Any]) -> bytes:
    """Return the page for *document*."""
    style = files("tidegate.api").joinpath("docs_page.css").read_text(encoding="utf-8")
    base = document["servers"][0]["url"]
    operations = [
        (path, method.upper(), operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    contents = "".join(
        f'<li><a href="#{escape(operation["operationId"])}"><b class="{method}">{method}</b> {escape(path)}</a></li>'
        for path, method, operation in operations
    )
    sections = "".join(_section(base, document, path, method, operation) for path, method, operation in operations)
    info = document["info"]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(info["title"])}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{style}</style></head><body>'
        f"<nav><h1>{escape(info['title'])}</h1><p>{escape(info['version'])}</p><ul>{contents}"
        '<li><a href="#errors">Errors</a></li></ul></nav>'
        f'<main><p class="lead">{escape(info["description"])} As data: <a href="/openapi.json">openapi.json</a>.</p>'
        f"{sections}{_errors(document)}</main></body></html>"
    ).encode()


def _section(base: str, document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> str:
    bodies = operation.get("requestBody", {}).get("content", {})
    fields = "".join(_fields(media_type, body["schema"]) for media_type, body in bodies.items())
    parameters = "".join(
        f"<tr><td><code>{escape(parameter['name'])}</code></td><td>{escape(parameter['in'])}</td>"
        f"<td>{'required' if parameter.get('required') else ''}</td></tr>"
        for parameter in operation.get("parameters", [])
    )
    answers = "".join(
        f"<tr><td><code>{status}</code></td><td>{escape(_description(document, response))}</td></tr>"
        for status, response in operation["responses"].items()
    )
    return (
        f'<section id="{escape(operation["operationId"])}"><h2><b class="{method}">{method}</b> {escape(path)}</h2>'
        f"<p>{escape(operation['summary'])}.</p><pre>{escape(_curl(base, path, method, operation))}</pre>"
        f"{fields}{f'<table>{parameters}</table>' if parameters else ''}"
        f"<table><tr><th>Status</th><th>Meaning</th></tr>{answers}</table></section>"
    )


def _fields(media_type: str, schema: dict[str, Any]) -> str:
    required = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(_type_of(field))}</td>"
        f"<td>{'required' if name in required else ''}</td><td>{escape(field.get('description', ''))}</td></tr>"
        for name, field in schema["properties"].items()
    )
    about = f" {escape(schema['description'])}" if "description" in schema else ""
    head = "<tr><th>Field</th><th>Type</th><th></th><th></th></tr>"
    return f"<p><code>{media_type}</code>.{about}</p><table>{head}{rows}</table>"


def _type_of(field: dict[str, Any]) -> str:
    kind = field["type"]
    text = " or ".join(kind) if isinstance(kind, list) else str(kind)
    limits = [f"{name} {field[name]}" for name in ("format", "minLength", "maxLength", "enum") if name in field]
    return ", ".join([text, *limits])


def _description(document: dict[str, Any], response: dict[str, Any]) -> str:
    reference = response.get("$ref")
    named = document["components"]["responses"][reference.rpartition("/")[2]] if reference else response
    return str(named["description"])


_EXAMPLES: Final[dict[str, str]] = {
    "username": "alice",
    "password": "a long sentence of mine",
    "current_password": "a long sentence of mine",
    "new_password": "another long sentence",
    "scope": "others",
    "full_name": "Alice Liddell",
}


def _curl(base: str, path: str, method: str, operation: dict[str, Any]) -> str:
    query = "".join(
        f"?{parameter['name']}=alice" for parameter in operation.get("parameters", []) if parameter["in"] == "query"
    )
    bodies = operation.get("requestBody", {}).get("content", {})
    is_told_by_curl = method == "GET" or (method == "POST" and bodies)
    command = "curl" if is_told_by_curl else f"curl -X {method}"
    parts = [f"{command} {base}{path.replace('{id}', '$SESSION_ID').replace('{code}', '$CODE')}{query}"]
    match operation.get("security"):
        case [{"bearer": []}]:
            parts.append('-H "Authorization: Bearer $ACCESS_TOKEN"')
        case [{"client": []}]:
            parts.append('-u "$CLIENT_ID:$CLIENT_SECRET"')

    form = bodies.get("application/x-www-form-urlencoded")
    schema = (form or bodies.get("application/json") or {"schema": {"properties": {}}})["schema"]
    sample = {
        name: _EXAMPLES.get(name, f"${name.upper()}")
        for name, field in schema["properties"].items()
        if name in schema.get("required", [])
        or (name in {"username", "scope", "full_name"} and field.get("maxLength") != 0)
    }
    if form:
        parts += [f'--data-urlencode "{name}={value}"' for name, value in sample.items()]
    elif sample:
        parts.append(f"--json '{json.dumps(sample)}'")
    return " \\\n  ".join(parts)


def _errors(document: dict[str, Any]) -> str:
    rows = "".join(
        f'<tr id="{escape(message.replace(" ", "-"))}"><td><code>{status}</code></td>'
        f"<td><code>{escape(json.dumps({'code': status, 'message': message}))}</code></td></tr>"
        for status, response in document["components"]["responses"].items()
        for message in response["description"].split(" or ")
    )
    return f'<section id="errors"><h2>Errors</h2><p>{_ANCHORS_OF_ERRORS}</p><table>{rows}</table></section>'
