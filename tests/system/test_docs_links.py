"""The pages hang together: every link inside the tree leads to a file and a heading that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, made as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def broken(page: Path, text: str) -> Iterator[str]:
    """Yield each link of a page that leads nowhere."""
    for link in LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists():
            yield f"{page.name}: no file {link}"
        elif anchor and anchor not in anchors(target.read_text(encoding="utf-8")):
            yield f"{page.name}: no heading {link}"


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    found = [each for page in PAGES for each in broken(page, page.read_text(encoding="utf-8"))]
    assert found == []


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES[1:] if f"({page.relative_to(ROOT)})" not in text]
    assert missing == []


def test_a_link_to_nowhere_is_seen() -> None:
    page = ROOT / "README.md"
    planted = "[a](docs/no.md) [b](docs/wire.md#no-such) [c](docs/wire.md#frames-app-to-agent)"
    assert list(broken(page, planted)) == [
        "README.md: no file docs/no.md",
        "README.md: no heading docs/wire.md#no-such",
    ]
