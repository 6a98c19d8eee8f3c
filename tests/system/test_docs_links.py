"""The pages hang together: every link inside the tree leads to a file and a heading that exist."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
#: a file or folder of the tree, named in the text of a page
NAMED = re.compile(r"`([a-z][a-z0-9_./-]*(?:\.pyi?|\.toml|\.md|/))`")
#: what architecture.md names and no tree holds: a file of whoever runs a collector
NOT_HERE = {"alerts.toml"}
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


def test_every_call_that_writes_shows_an_admin() -> None:
    wrong = [
        f"{page.name}: {line}"
        for page in PAGES
        for line in page.read_text(encoding="utf-8").splitlines()
        if re.search(r"curl.* -X (POST|PUT|DELETE)", line) and "Bearer $ADMIN" not in line
    ]
    assert wrong == []


def test_every_link_leads_to_a_file_and_a_heading() -> None:
    found = [each for page in PAGES for each in broken(page, page.read_text(encoding="utf-8"))]
    assert found == []


def test_every_page_is_reached_from_the_readme() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [page.name for page in PAGES[1:] if f"({page.relative_to(ROOT)})" not in text]
    assert missing == []


def unknown(text: str) -> set[str]:
    """Return the files and folders that a text names and the tree does not have."""
    parts = ("core", "middleware", "agent", "collector", "tests", "benchmarks", "docs")
    files = [path for part in parts for path in (ROOT / part).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    tree = "".join(f"/{path.relative_to(ROOT)}\n" for path in files)
    return {
        name
        for name in NAMED.findall(text)
        if f"/{name}" + ("" if name.endswith("/") else "\n") not in tree
    }


def test_the_files_that_the_page_about_the_architecture_names_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert len(NAMED.findall(text)) > 50
    assert unknown(text) == NOT_HERE


def test_a_file_that_is_not_there_is_seen() -> None:
    assert unknown("`listener.py` in `agent/trimtab_agent/`, `no/such.py`, `nowhere/`") == {
        "no/such.py",
        "nowhere/",
    }


def test_a_link_to_nowhere_is_seen() -> None:
    page = ROOT / "README.md"
    planted = "[a](docs/no.md) [b](docs/wire.md#no-such) [c](docs/wire.md#frames-app-to-agent)"
    assert list(broken(page, planted)) == [
        "README.md: no file docs/no.md",
        "README.md: no heading docs/wire.md#no-such",
    ]
