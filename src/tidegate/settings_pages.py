"""Tells people about the settings: on the terminal, in docs/SETTINGS.md, in .env.example. All from the declarations."""

from collections.abc import Mapping
from dataclasses import MISSING
from typing import Any, Final

from tidegate.config import Declared, declared
from tidegate.settings_building import PLACEHOLDER

_TYPES: Final[Mapping[Any, str]] = {
    str: "text",
    bool: "true or false",
    bytes: "base64url",
    tuple[str, ...]: "texts, parted by blanks",
}


def as_text() -> str:
    """One paragraph a setting."""
    return "\n\n".join(f"{each.variable}\n    {_facts(each)}\n    {each.meaning.text}" for each in declared()) + "\n"


def as_markdown() -> str:
    """docs/SETTINGS.md."""
    rows = [
        f"| `{each.variable}`{_file_column(each)} | {_default(each)} | {_values(each)} | {each.meaning.text} |"
        for each in declared()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "Made by `tidegate config list --markdown`; `tests/tidy` compares the two.",
            "",
            "Each is read once at the start: from the environment, then from a `.env` file in the working folder, then",
            "from the `tidegate.env` that `tidegate up` wrote into its data folder. Unknown names that begin with",
            "`TIDEGATE_` stop the start, and so do values that contradict each other; `tidegate config check` tells. An",
            "empty value counts as none.",
            "",
            "| setting | default | values | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def as_example() -> str:
    """.env.example: every default in a comment, every required setting to be filled in."""
    lines = [
        "# Copy to .env and fill in; `tidegate config check` tells what is missing. `tidegate up` needs none of it.",
        "",
    ]
    for each in declared():
        value = PLACEHOLDER if each.meaning.is_secret else "" if each.default in (MISSING, None) else _plain(each.default)
        comment = "" if each.is_required else "# "
        lines += [f"# {each.meaning.text}", f"# {_facts(each)}", f"{comment}{each.variable}={value}", ""]
    return "\n".join(lines)


def _facts(each: Declared) -> str:
    file = f"; or {each.variable}_FILE" if each.meaning.is_secret else ""
    return f"{_values(each)}; {'required' if each.is_required else 'default ' + _default(each)}{file}"


def _file_column(each: Declared) -> str:
    return f" or `{each.variable}_FILE`" if each.meaning.is_secret else ""


def _default(each: Declared) -> str:
    if each.is_required:
        return "required"
    if each.meaning.otherwise:
        return each.meaning.otherwise
    if each.default in ("", None, ()):
        return "none"
    return _plain(each.default)


def _plain(value: Any) -> str:  # noqa: ANN401 - of any type that a setting may have
    return str(value).lower() if isinstance(value, bool) else str(value)


def _values(each: Declared) -> str:
    if each.meaning.choices:
        return " or ".join(each.meaning.choices)
    if each.is_path:
        return "path"
    if each.meaning.low is None:
        return _TYPES[each.type]
    return f"{each.meaning.low} to {each.meaning.high} {each.meaning.unit}".rstrip()
