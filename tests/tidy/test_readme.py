"""Every line that the README shows with an answer gives that answer, on a Tidegate that nobody has used before."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.support.databases import drop_database, make_migrated_database
from tests.support.nodes import Node, running_node, running_worker
from tests.tidy.repository import text_of
from tidegate.embedded.postgres import EmbeddedPostgres

SHOWN_URL: Final = "http://127.0.0.1:8080"
_SHOWN: Final = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
_END: Final = "\x1e"
"""Between two answers: the record separator, which no answer holds."""


def shown() -> list[tuple[str, str]]:
    """Each line after a `$` with what stands below it."""
    text = "".join(_SHOWN.findall(text_of("README.md")))
    return [(line, answer.strip()) for line, answer in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", text, re.MULTILINE)]


@pytest.fixture(scope="module")
def fresh_node(postgres: EmbeddedPostgres) -> Iterator[Node]:
    folder = Path(tempfile.mkdtemp(prefix="tidegate-readme-"))
    name = make_migrated_database(postgres)
    try:
        with running_node(postgres.dsn(name), folder) as node, running_worker(node):
            yield node
    finally:
        drop_database(postgres, name)
        shutil.rmtree(folder, ignore_errors=True)


def test_the_lines_of_the_readme_give_the_answers_of_the_readme(fresh_node: Node):
    """One after the other in one shell, as a reader types them; ``…`` stands for what differs from time to time."""
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    lines = shown()
    assert len(lines) > 10
    script = "".join(f"{line}\nprintf '{_END}'\n" for line, _ in lines)
    script = script.replace(SHOWN_URL, f"http://127.0.0.1:{fresh_node.port}")
    done = subprocess.run(["sh", "-eu"], input=script, capture_output=True, text=True, timeout=120, check=True)
    answers = done.stdout.replace("\r", "").split(_END)[:-1]
    for (line, promised), answer in zip(lines, answers, strict=True):
        pattern = ".*?".join(map(re.escape, promised.split("…")))
        assert re.fullmatch(pattern, answer.strip(), re.DOTALL), f"{line}\npromised {promised}\nbut gave {answer}"
