"""The dashboard as it is served: which file for which path, how kept, how packed, and no other."""

import asyncio
import gzip
import http.client
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import pytest

from support.lacking import lack
from support.processes.servers import Collector, short_dir, wait_for
from trimtab_collector.api.pages import STATIC, Pages
from trimtab_core.addresses import DASHBOARD

BUILD = Path(__file__).resolve().parents[2] / "collector" / "dashboard" / "build.py"
SCRIPT = b"export const figures = 1;\n" * 40
INDEX = '<link rel="stylesheet" href="assets/main-C3.css"><script src="assets/main-A1.js"></script>'


class Served(NamedTuple):
    """An answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the build leaves it, beside a file that nobody may see."""
    (tmp_path / "secret.js").write_text("secret")
    built = tmp_path / "static"
    (built / "assets").mkdir(parents=True)
    (built / "index.html").write_text(INDEX)
    (built / "licences.txt").write_text("licences")
    (built / "stamp").write_text("secret")
    (built / "assets" / "main-A1.js").write_bytes(SCRIPT)
    (built / "assets" / "main-A1.js.br").write_bytes(b"packed by brotli")
    (built / "assets" / "main-A1.js.gz").write_bytes(gzip.compress(SCRIPT))
    (built / "assets" / "main-C3.css").write_text("main {}")
    return built


def asked(pages: Pages, path: str, method: str = "GET", **headers: str) -> Served:
    """Ask below the dashboard's address, as a server does."""
    raw = f"{DASHBOARD}{path}" if path != "root" else "/"
    scope: dict[str, Any] = {
        "type": "http",
        "method": method,
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "headers": [
            (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
        ],
    }
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    assert pages.takes(scope)
    asyncio.run(pages(scope, None, send))
    found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Served(sent[0]["status"], found, sent[1]["body"])


# ---------------------------------------------------------------- which file


@pytest.mark.parametrize("path", ["", "/", "/services", "/service/", "/a/b", "/x%2Fy"])
@pytest.mark.parametrize("prefix", ["", "/monitor"])
def test_every_page_is_the_index_whose_files_are_found_from_where_it_is(
    folder: Path, path: str, prefix: str
) -> None:
    found = asked(Pages(folder), path)
    assert found.status == 200
    assert found.headers["content-type"] == "text/html; charset=utf-8"
    address = f"https://x{prefix}{DASHBOARD}{path}"
    links = re.findall(r'(?:src|href)="([^"]+)"', found.body.decode())
    files = [urlsplit(urljoin(address, each)).path for each in links]
    assert files == [f"{prefix}{DASHBOARD}/assets/main-{end}" for end in ("C3.css", "A1.js")]


@pytest.mark.parametrize(
    "path",
    [
        "/assets/../../secret.js",
        "/assets/%2e%2e/stamp",
        "/assets/..%2f..%2fsecret.js",
        "/../static/stamp",
        "/stamp",
        "/assets//main-A1.js",
        "/assets/main-A1.js%00",
        "/assets/main-A1.js.br",
        "/assets/",
        "/assets/old-B2.js",
        "/%2e%2e/%2e%2e/secret.js",
        "//secret.js",
        "/a/b/c/d/e/f/g/h/i/j",
    ],
)
def test_a_path_leads_to_no_file_but_those_that_were_built(folder: Path, path: str) -> None:
    found = asked(Pages(folder), path)
    assert b"secret" not in found.body
    assert b"packed" not in found.body
    if "assets/" in path:
        # A script that is the page would be a puzzle.
        assert found.status == 404
        assert found.headers["cache-control"] == "no-store"


def test_the_licences_are_a_file_of_the_dashboard(folder: Path) -> None:
    found = asked(Pages(folder), "/licences.txt")
    assert (found.status, found.body) == (200, b"licences")
    assert found.headers["cache-control"] == "no-cache"


def test_other_methods_are_refused(folder: Path) -> None:
    found = asked(Pages(folder), "/services", "POST")
    assert (found.status, found.headers["allow"]) == (405, "GET, HEAD")


def test_where_nothing_was_built_the_page_says_what_to_do(folder: Path) -> None:
    pages = Pages(folder / "none")
    assert not pages.are_there
    found = asked(pages, "/services")
    assert found.status == 503
    assert found.headers["cache-control"] == "no-store"
    assert "./dev setup" in found.body.decode()
    shutil.copytree(folder, folder / "none")
    pages.read()
    assert asked(pages, "/services").status == 200


def test_a_folder_that_is_not_ours_is_not_served(folder: Path) -> None:
    (folder / "assets" / "big.js").write_bytes(bytes(17 * 1024 * 1024))
    assert asked(Pages(folder), "").status == 503


# ---------------------------------------------------------------- kept and packed


def test_files_are_kept_for_good_and_the_index_is_asked_for_again(folder: Path) -> None:
    pages = Pages(folder)
    assert "immutable" in asked(pages, "/assets/main-A1.js").headers["cache-control"]
    assert asked(pages, "/services").headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("", ""),
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "br"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.2, gzip;q=0.9", "gzip"),
        ("*", "br"),
        ("*;q=0", ""),
        ("identity", ""),
        ("BR", "br"),
        ("br;q=x", ""),
        (",;,=" * 5_000, ""),
    ],
)
def test_what_is_sent_is_the_best_encoding_that_is_accepted(
    folder: Path, accepted: str, encoding: str
) -> None:
    found = asked(Pages(folder), "/assets/main-A1.js", accept_encoding=accepted)
    assert found.headers.get("content-encoding", "") == encoding
    bodies = {"": SCRIPT, "gzip": gzip.compress(SCRIPT), "br": b"packed by brotli"}
    if encoding == "gzip":
        assert gzip.decompress(found.body) == SCRIPT
    else:
        assert found.body == bodies[encoding]
    assert found.headers["vary"] == "accept-encoding"
    assert found.headers["content-length"] == str(len(found.body))


@pytest.mark.parametrize("path", ["/services", "/assets/main-A1.js"])
def test_who_has_it_already_is_told_so(folder: Path, path: str) -> None:
    pages = Pages(folder)
    tag = asked(pages, path).headers["etag"]
    for text in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
        found = asked(pages, path, if_none_match=text)
        assert (found.status, found.body, found.headers["etag"]) == (304, b"", tag)
    assert asked(pages, path, if_none_match='"other"').status == 200


def test_a_head_has_the_headers_of_a_get_and_no_body(folder: Path) -> None:
    pages = Pages(folder)
    head, get = (asked(pages, "/assets/main-A1.js", method) for method in ("HEAD", "GET"))
    assert (head.status, head.body) == (200, b"")
    assert head.headers == get.headers


def test_a_script_has_short_headers_that_allow_nothing(folder: Path) -> None:
    found = asked(Pages(folder), "/assets/main-A1.js").headers
    assert found["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert found["x-content-type-options"] == "nosniff"
    assert found["cross-origin-resource-policy"] == "same-origin"
    assert "permissions-policy" not in found


@pytest.mark.parametrize("path", ["/services", "/services/x.js", "/assets/none.js", "root"])
def test_every_answer_has_the_headers_that_keep_others_out(folder: Path, path: str) -> None:
    found = asked(Pages(folder), path, accept="text/html").headers
    policy = dict(part.split(" ", 1) for part in found["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert (policy["require-trusted-types-for"], policy["trusted-types"]) == ("'script'", "'none'")
    assert "unsafe" not in found["content-security-policy"]
    assert found["x-content-type-options"] == "nosniff"
    assert found["referrer-policy"] == "no-referrer"
    assert found["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in found["permissions-policy"]


# ---------------------------------------------------------------- a real collector


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with what the tree's sources are built into, below a prefix."""
    done = subprocess.run([sys.executable, str(BUILD)], capture_output=True, text=True, check=False)
    if done.returncode:
        lack(done.stderr.strip())
    base = {"TRIMTAB_COLLECTOR_BASE_URL": "http://monitor.example/below"}
    with short_dir() as directory, Collector(directory, **base) as process:
        yield process.start()


def got(collector: Collector, path: str, **headers: str) -> Served:
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Served(answer.status, found, answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize("prefix", ["", "/below"])
def test_a_collector_serves_the_page_with_every_file_that_it_names(
    collector: Collector, prefix: str
) -> None:
    address = f"{prefix}{DASHBOARD}/services"
    page = got(collector, f"{address}?environment=live")
    assert page.status == 200
    links = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert len(links) >= 3
    for link in links:
        found = got(collector, urljoin(address, link), **{"Accept-Encoding": "gzip"})
        assert found.status == 200, link
        assert found.headers.get("content-encoding", "gzip") == "gzip"


def test_what_was_built_runs_under_its_policy_and_asks_nobody_else(collector: Collector) -> None:
    page = got(collector, DASHBOARD).body.decode()
    assert re.search(r"<script(?![^>]*\bsrc=)|<style|\bon\w+=|\bstyle=", page) is None
    assert "//" not in page
    for path in (STATIC / "assets").glob("*.js"):
        text = path.read_text(encoding="utf-8")
        assert re.search(r"\beval\(|new Function\b", text) is None, path.name
        # Names of vocabularies and of documentation are no addresses that are asked.
        asked_for = re.findall(r"(?:import|fetch|src=)\W{0,3}https?://", text)
        assert asked_for == [], path.name
    assert b"preact" in (STATIC / "licences.txt").read_bytes()


def test_a_browser_at_the_root_is_led_to_the_dashboard_and_a_program_to_the_api(
    collector: Collector,
) -> None:
    browser = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    for path in ("/", "/below/"):
        found = got(collector, path, **browser)
        assert (found.status, found.headers["location"]) == (302, f"/below{DASHBOARD}")
        assert got(collector, path, Accept="*/*").headers["content-type"] == "application/json"


def test_without_a_prefix_of_its_own_a_proxy_may_have_one(folder: Path) -> None:
    found = asked(Pages(folder), "root", accept="text/html")
    assert urljoin("https://x/monitor/", found.headers["location"]) == (
        f"https://x/monitor{DASHBOARD}"
    )


def test_a_hangup_has_the_folder_read_again(collector: Collector) -> None:
    at = collector.api.get("/health")["reload"]["at"]
    collector.child.send_signal(signal.SIGHUP)
    wait_for(lambda: collector.api.get("/health")["reload"]["at"] != at, "the settings to be read")
    assert collector.api.get("/health")["reload"]["errors"] == []
    assert got(collector, DASHBOARD).status == 200
