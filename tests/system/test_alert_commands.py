"""`trimtab alert` against a running collector; and times before now in every command."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes.api import TOKEN
from support.processes.console import run_command
from support.processes.people import ADMIN, PASSWORD
from support.processes.servers import Collector, short_dir
from trimtab_collector.alerts.cli import _hours
from trimtab_collector.asking import with_times

RULE = """
[[rule]]
name = "Something is slow"
metric = "responseTime"
threshold = 50
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with an admin."""
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        yield process.start()


@pytest.fixture
def as_admin(collector: Collector, tmp: Path) -> tuple[str, ...]:
    (tmp / "password").write_text(PASSWORD)
    secret = str(tmp / "password")
    return ("--url", collector.url, "--user", ADMIN, "--password-file", secret)


@pytest.mark.parametrize("time", [("--from", "-1h"), ("--from=-1h",), ("--from", "-1h30m")])
def test_a_file_of_rules_is_tried_from_a_time_before_now(
    collector: Collector, tmp: Path, time: tuple[str, ...]
) -> None:
    (tmp / "alerts.toml").write_text(RULE)
    asked = {"TRIMTAB_URL": collector.url, "TRIMTAB_TOKEN": TOKEN}
    done = run_command("alerts.cli:alert", "preview", str(tmp / "alerts.toml"), *time, **asked)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Something is slow: 20")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        (["--from", "-1h30m", "--to", "-5m"], ["--from=-1h30m", "--to=-5m"]),
        (["x", "--at", "-1.5h"], ["x", "--at=-1.5h"]),
        (["--at=-5m", "-5m"], ["--at=-5m", "-5m"]),
        (["--json", "-h"], ["--json", "-h"]),
        (["--", "--at", "-5m"], ["--", "--at", "-5m"]),
    ],
)
def test_only_a_time_behind_an_option_is_its_value(given: list[str], taken: list[str]) -> None:
    assert with_times(given) == taken


def test_a_silence_is_made_listed_and_ended(as_admin: tuple[str, ...]) -> None:
    words = ("service=shop", "--for", "2h", "--comment", "migration", "--json")
    made = run_command("alerts.cli:alert", "silence", *words, *as_admin)
    assert made.returncode == 0, made.stderr
    silence_id = json.loads(made.stdout)["id"]
    listed = run_command("alerts.cli:alert", "silences", *as_admin)
    (row,) = listed.stdout.splitlines()[1:]
    assert row.startswith(f"{silence_id}  active")
    assert "service=shop" in row
    assert row.endswith("migration")
    ended = run_command("alerts.cli:alert", "unsilence", silence_id, *as_admin)
    assert (ended.returncode, ended.stdout) == (0, f"ended silence {silence_id}\n")
    listed = run_command("alerts.cli:alert", "silences", *as_admin)
    assert (listed.returncode, listed.stdout) == (0, "no silences\n")
    everything = run_command("alerts.cli:alert", "silences", "--all", *as_admin)
    assert f"{silence_id}  expired" in everything.stdout
    gone = run_command("alerts.cli:alert", "unsilence", "nothing", *as_admin)
    assert gone.returncode == 1
    assert "expected the id of a silence, got 'nothing'" in gone.stderr


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (20, "20s"), (60, "1m"), (90, "1m30s"), (2460, "41m"), (8040, "2h14m")],
)
def test_a_short_time_is_not_rounded_away(seconds: float, text: str) -> None:
    assert _hours(seconds) == text
