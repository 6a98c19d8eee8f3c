"""What the sources of the dashboard's page and the collector say of each other."""

import re
from pathlib import Path

from trimtab_collector.contract.requests import SPANS

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "collector" / "dashboard" / "src"


def source(name: str) -> str:
    return (PAGE / name).read_text()


def table(name: str, file: str) -> str:
    """Return the literal of a constant of the page: what stands in its braces."""
    found = re.search(rf"const {name} = \{{(.*?)\}};", source(file), re.DOTALL)
    assert found is not None, f"{file} has no {name}"
    return found[1]


def test_a_timeline_has_a_colour_for_all_that_the_middleware_tells_and_nothing_else() -> None:
    middleware = (ROOT / "middleware" / "trimtab").rglob("*.py")
    told = {
        name for file in middleware for name in re.findall(r'add_span\(\s*"(\w+)"', file.read_text())
    }
    drawn = re.findall(r"(\w+):", table("PART_OF", "sections/kept.js"))
    assert told == set(SPANS) == set(drawn)
