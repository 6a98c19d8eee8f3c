"""Every promise of docs/security.md names tests, and they exist."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
NAMED = re.compile(r"\[(test_\w+\.py)::(test_\w+)\]\(([^)]+)\)")


def promises(text: str) -> list[str]:
    """Return the lines of what is promised."""
    section = text.partition("\n## What is promised\n")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("- ")]


def wrong(promise: str) -> list[str]:
    """Return what is wrong with the tests that a promise names."""
    named = NAMED.findall(promise)
    if not named:
        return [f"no test: {promise}"]
    found = []
    for file, test, link in named:
        path = (PAGE.parent / link).resolve()
        if path.name != file or not path.is_file():
            found.append(f"no file {link}: {promise[:60]}")
        elif not re.search(rf"^(async )?def {test}\(", path.read_text("utf-8"), re.MULTILINE):
            found.append(f"no test {file}::{test}: {promise[:60]}")
    return found


def test_every_promise_names_tests_that_exist() -> None:
    every = promises(PAGE.read_text("utf-8"))
    assert len(every) > 40
    assert [each for promise in every for each in wrong(promise)] == []


def test_a_promise_without_a_test_and_a_test_that_is_not_there_are_seen() -> None:
    text = (
        "\n## What is promised\n"
        "- Nothing.\n"
        "- A [test_fuzz.py::test_no](../tests/system/test_fuzz.py)\n"
        "- B [test_no.py::test_no](../tests/test_no.py)\n"
        "\n## More\n- not one\n"
    )
    assert [each[:7] for promise in promises(text) for each in wrong(promise)] == [
        "no test",
        "no test",
        "no file",
    ]
