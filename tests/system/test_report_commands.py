"""`trimtab mark` and `trimtab report` against a running collector; and what an admin may change."""

import json
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.processes.api import TOKEN
from support.processes.console import run_command
from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, free_port, short_dir
from trimtab.settings import AppSettings
from trimtab_core import config


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with an admin."""
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        yield process.start()


@pytest.fixture(scope="module")
def admin(collector: Collector) -> Client:
    client = Client(collector.port)
    assert client.login().status == 200
    return client


def test_a_report_is_written_as_a_page_and_as_json(collector: Collector, tmp: Path) -> None:
    asked = {"TRIMTAB_URL": collector.url, "TRIMTAB_TOKEN": TOKEN}
    page = tmp / "report.html"
    done = run_command(
        "reports.cli:report", "--output", str(page), "--lang", "ko", "--tz", "Asia/Seoul", **asked
    )
    assert (done.returncode, done.stdout) == (0, "")
    text = page.read_text(encoding="utf-8").removeprefix("<!doctype html>")
    assert ElementTree.fromstring(text).get("lang") == "ko"
    assert [path.name for path in tmp.iterdir()] == ["report.html"]
    done = run_command("reports.cli:report", "--period", "weekly", "--json", **asked)
    assert json.loads(done.stdout)["period"] == "weekly"


def test_the_collectors_own_host_needs_no_token(collector: Collector) -> None:
    local = {"TRIMTAB_COLLECTOR_DATA_DIR": str(collector.data)}
    (collector.data / "token").write_text(TOKEN)
    done = run_command("reports.cli:report", "--json", "--url", collector.url, **local)
    assert json.loads(done.stdout)["period"] == "daily"


def test_the_token_of_the_own_collector_goes_to_no_other_machine(collector: Collector) -> None:
    local = {"TRIMTAB_COLLECTOR_DATA_DIR": str(collector.data)}
    (collector.data / "token").write_text(TOKEN)
    # A name that is not known to be this machine, but leads here.
    elsewhere = collector.url.replace("127.0.0.1", "127.1")
    done = run_command("reports.cli:report", "--json", "--url", elsewhere, **local)
    assert done.returncode == 1
    assert "the collector refused (401)" in done.stderr
    assert "use https" in done.stderr
    (collector.data / "address").write_text(elsewhere)
    done = run_command("reports.cli:report", "--json", "--url", elsewhere, **local)
    assert json.loads(done.stdout)["period"] == "daily"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--date", "yesterday"), 1, "the collector refused (422): parameter 'date'"),
        (("--output", "/no/such/place/r.html"), 2, "--output: cannot write"),
        (("--token-file", "/no/such/file"), 2, "--token-file: cannot read"),
        (("--user", "ada"), 2, "--user and --password-file together"),
        (("--url", "ftp://x"), 2, "--url: expected https://HOST"),
    ],
)
def test_what_goes_wrong_is_said_in_one_sentence(
    collector: Collector, words: tuple[str, ...], code: int, says: str
) -> None:
    done = run_command("reports.cli:report", *words, TRIMTAB_URL=collector.url, TRIMTAB_TOKEN=TOKEN)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert says in done.stderr
    assert TOKEN not in done.stderr


def test_a_collector_that_is_not_there_is_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = run_command("reports.cli:report", TRIMTAB_URL=url, TRIMTAB_TOKEN=TOKEN)
    assert done.returncode == 1
    assert f"expected a collector at {url}" in done.stderr


def test_an_admin_sets_marks_and_others_are_refused(
    collector: Collector, admin: Client, tmp: Path
) -> None:
    secret = tmp / "password"
    secret.write_text(PASSWORD + "\n")
    as_admin = ("--user", ADMIN, "--password-file", str(secret), "--url", collector.url)
    words = ("2.8.1", "--kind", "deploy", "--service", "cli", "--at", "-5m")
    done = run_command("reports.cli:mark", *words, *as_admin)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("marked deploy '2.8.1' of cli at 20")
    (mark,) = collector.api.get("/marks", service="cli")["marks"]
    assert (mark["name"], mark["kind"], mark["by"]) == ("2.8.1", "deploy", ADMIN)
    done = run_command("reports.cli:mark", "x", "--url", collector.url, TRIMTAB_TOKEN=TOKEN)
    assert done.returncode == 1
    assert (
        "expected the role admin, got planner: log in as an admin (POST /auth/login; "
        in done.stderr
    )
    assert "--user NAME --password-file FILE" in done.stderr
    assert admin.ask("DELETE", f"/marks/{mark['id']}").status == 200
    assert admin.ask("DELETE", f"/marks/{mark['id']}").status == 404


def test_an_admin_changes_objectives_and_targets(collector: Collector, admin: Client) -> None:
    made = admin.ask("POST", "/slos", {"name": "shop answers", "target": 0.999})
    assert (made.status, made.data["changedBy"]) == (201, ADMIN)
    path = f"/slos/{made.data['id']}"
    changed = admin.ask("PUT", path, {"name": "shop answers", "target": 0.99, "windowDays": 7})
    assert changed.data["settings"]["windowDays"] == 7
    assert [row["id"] for row in collector.api.get("/slos")["slos"]] == [made.data["id"]]
    assert admin.ask("POST", "/slos", {"name": "x", "target": 2}).status == 422
    assert admin.ask("DELETE", path).status == 200
    assert admin.ask("PUT", path, {"name": "x", "target": 0.99}).status == 404
    kpis = collector.api.get("/kpis")["kpis"]
    kpis[0]["target"] = 50.0
    assert admin.ask("PUT", "/kpis", {"kpis": kpis}).data["changedBy"] == ADMIN
    assert collector.api.get("/report")["kpis"][0]["target"] == 50.0


def test_variables_of_the_console_are_no_mistakes_of_an_app() -> None:
    environ = {"TRIMTAB_TOKEN": "x", "TRIMTAB_URL": "y", "TRIMTAB_TOKENS": "z"}
    _, warnings = config.load(AppSettings, "app", environ=environ)
    assert [text.partition(" ")[0] for text in warnings] == ["TRIMTAB_TOKENS"]
