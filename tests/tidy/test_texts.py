"""What must not stand in any text of ours: places of one machine, work put off, tests that do not run."""

import re
from typing import Final

import pytest

from tests.tidy.repository import our_texts, text_of

# Some letters stand in brackets, so that this file does not find itself.
FORBIDDEN: Final = {
    "a folder of one machine": re.compile(r"/(?:work|Users|home/\w+|root/\w+|tmp/\w+)/\w"),
    "the host of a registry": re.compile(
        r"(?i)pypi[.]org|pythonhosted[.]org|index[-_]url|find[-]links|https?://[^ ]+/[s]imple\b"
    ),
    "work put off": re.compile(r"\b(?:[T]ODO|[F]IXME|[X]XX|[H]ACK)\b"),
    # What only root can try is left out for everybody else, and for nobody for any other reason.
    "a test that does not run": re.compile(
        r"mark[.](?:xfail|skip(?!if\(os[.]geteuid\(\) != 0,))|pytest[.](?:skip|xfail)|import[o]rskip"
    ),
    "code that coverage is told not to see": re.compile(r"pragma[:] no"),
    "a merge left half done": re.compile(r"^(?:<{7}|>{7}) ", re.MULTILINE),
}

NEEDS_WHAT_A_MACHINE_MAY_LACK: Final = {
    ("tests/acceptance/test_start_and_stop.py", "pytest.sk" + "ip"),  # curl, and a Python that nobody may run
    ("tests/tidy/test_readme.py", "pytest.sk" + "ip"),  # curl
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_text_of_ours_holds(what):
    found = [
        f"{name}:{text.count(chr(10), 0, match.start()) + 1} {match[0]}"
        for name, text in our_texts()
        for match in FORBIDDEN[what].finditer(text)
        if (name, match[0]) not in NEEDS_WHAT_A_MACHINE_MAY_LACK
    ]
    assert found == []


def test_the_pinned_versions_name_no_place_to_fetch_them_from():
    """Every machine has a registry of its own."""
    assert "://" not in text_of("constraints.txt")


WAIVED: Final = re.compile(r"#.*?\b(noqa|type: ignore)(?=[:[ ]|$)(.*)")
RULE_AND_REASON: Final = re.compile(
    r"(?:: [A-Z]+\d+(?:, [A-Z]+\d+)*|\[[a-z-]+(?:, [a-z-]+)*\])(?:(?: --?| #) (?P<reason>\S.*))?$"
)


def test_whoever_waives_a_rule_says_which_and_why():
    """On the same line, or in a comment right before it."""
    for name, text in our_texts(".py"):
        lines = ["", *text.splitlines()]
        for number, line in enumerate(lines):
            waived = WAIVED.search(line)
            if waived is None:
                continue
            rule = RULE_AND_REASON.match(waived[2])
            assert rule is not None, f"{name}:{number} {line.strip()}"
            assert rule["reason"] or lines[number - 1].lstrip().startswith("# "), f"{name}:{number} {line.strip()}"
