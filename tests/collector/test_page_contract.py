"""What the sources of the dashboard's page and the collector say of each other."""

import re
from pathlib import Path

import pytest

from trimtab_collector.contract.pagelink import LINKED, OVERVIEW, PageLink
from trimtab_collector.contract.requests import SPANS
from trimtab_collector.notify.languages import LANGUAGES

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
        name
        for file in middleware
        for name in re.findall(r'add_span\(\s*"(\w+)"', file.read_text())
    }
    drawn = re.findall(r"(\w+):", table("PART_OF", "sections/kept.js"))
    assert told == set(SPANS) == set(drawn)


#: a file of the page -> names that it takes from the address
READS = (
    re.compile(r"query\.value\.(\w+)"),
    re.compile(r"const \{([^}]*)\} = query\.value"),
)


def reads(name: str, seen: set[str]) -> set[str]:
    """Return what a file reads from the address, or one of the sections that it imports."""
    if name in seen:
        return set()
    seen.add(name)
    text = source(name)
    found = {
        each.split("=")[0].strip()
        for form in READS
        for group in form.findall(text)
        for each in group.split(",")
    }
    if "query.value[name]" in text:
        # By the names of a list.
        lists: list[str] = re.findall(r"\[((?:\"\w*\",? ?|\.\.\.\w+)+)\]", text)
        found.update(name for each in lists for name in re.findall(r'"(\w+)"', each))
    below = re.findall(r'from "\.\.?/((?:sections/)?[\w]+\.js)"', text)
    for other in below:
        path = other if (PAGE / other).exists() else f"sections/{other}"
        if path.startswith("sections/") or path == "scope.js":
            found |= reads(path, seen)
    return found


@pytest.mark.parametrize("page", LINKED)
def test_a_page_reads_each_parameter_that_links_to_it_may_have(page: str) -> None:
    name = "" if page == OVERVIEW else page
    row = re.search(
        rf'\{{ name: "{name}",.*import\("\.\./(pages/\w+\.js)"\)', source("shell/pages.js")
    )
    assert row is not None, f"pages.js has no {page!r}"
    assert set(LINKED[page]) <= reads(row[1], set())


def test_a_link_to_a_page_that_would_not_read_it_cannot_be_made() -> None:
    with pytest.raises(ValueError, match=r"the page hosts reads .*, got \['host'\]"):
        PageLink(page="hosts", params={"host": "web-3"})
    with pytest.raises(ValueError, match="got 'host'"):
        PageLink(page="host")
    PageLink(page="hosts", params={"instance": "web-3", "from": "-1h"})


def test_the_page_speaks_the_languages_that_messages_are_written_in() -> None:
    assert re.findall(r"^  (\w+): \{", source("languages.js"), re.MULTILINE) == list(LANGUAGES)
