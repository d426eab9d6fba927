"""A name says what a thing is; a module's first line says why it exists."""

import ast
from pathlib import PurePath
from typing import Final

from tests.tidy.repository import our_texts

SAYS_NOTHING: Final = {"base", "common", "core", "data", "helper", "helpers", "info", "manager", "misc", "util", "utils"}
"""Whatever has no place goes there, and then nobody finds it."""


def test_no_module_has_a_name_that_says_nothing():
    for name, _ in our_texts(".py"):
        assert not SAYS_NOTHING.intersection(PurePath(name).with_suffix("").parts), name


def test_no_class_has_a_name_that_says_nothing():
    for name, text in our_texts(".py"):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                assert not node.name.lower().endswith(("util", "utils", "helper", "helpers", "manager", "info")), (
                    f"{name}:{node.lineno} {node.name}"
                )


def test_every_test_module_begins_with_why_it_exists():
    """Of the package ruff asks it (D100)."""
    for name, text in our_texts(".py"):
        tree = ast.parse(text)
        assert not tree.body or ast.get_docstring(tree), name


def test_a_test_is_named_by_a_sentence():
    """`test_register` says what is called; `test_a_duplicate_is_400` says what is promised."""
    for name, text in our_texts(".py"):
        if not PurePath(name).name.startswith("test_"):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                assert node.name.count("_") >= 2, f"{name}:{node.lineno} {node.name}"
