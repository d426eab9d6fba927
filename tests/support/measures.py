"""Reads what a node counts and what it writes into its log."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.nodes import Node


def metrics_text(node: Node) -> str:
    """The page /metrics, as a scraper gets it."""
    with urllib.request.urlopen(f"http://127.0.0.1:{node.metrics_port}/metrics", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def measure(node: Node, name: str, **labels: str) -> float:
    """The sum of all samples called *name* whose labels include *labels*; 0 where there is none."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics_text(node))
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def log_lines(path: Path) -> list[dict[str, Any]]:
    """Every line of a log, each one JSON object."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
