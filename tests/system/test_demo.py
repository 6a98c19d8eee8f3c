"""The demo as a newcomer runs it: every request counted, one sentence at the end, nothing left."""

import json
import signal
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from support.processes.servers import Proc, wait_for

SERVICES = {"shop", "library", "records"}


def demo(directory: Path, *words: str) -> Proc:
    """Return the demo, with its own temporary directory inside ours."""
    command = [sys.executable, "-m", "examples.demo", *words]
    return Proc("demo", command, directory, {"TMPDIR": str(directory)})


def test_every_request_of_the_demo_is_counted_and_the_inside_of_the_shop_is_seen(
    tmp: Path, redis_url: str
) -> None:
    # The fixture skips where there is no Redis; the demo starts one of its own.
    result = tmp / "result.json"
    words = ["--seconds", "6", "--check", "--rate", "150", "--json", str(result)]
    names = "slow-query,n-plus-one,cache,redis,queue"
    with demo(tmp, *words, "--expect", names) as run:
        code = run.start().wait_exit(timeout_s=110)
        last = run.output().splitlines()[-1]
    assert code == 0, run.stdout.read_text() + run.stderr.read_text()
    assert last.startswith("demo: check passed: all ")
    rows = {row["service"]: row for row in json.loads(result.read_text())["services"]}
    assert set(rows) == SERVICES
    said = run.output()
    assert all(f"demo: {name}: " in said for name in names.split(","))
    assert "expected, and not seen" not in said
    assert all(row["sent"] == row["counted"] > 0 for row in rows.values())
    assert all(row["p99_ms"] > 0 for row in rows.values())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda n: n.name)
def test_a_signal_stops_everything_and_says_so(tmp: Path, number: signal.Signals) -> None:
    with demo(tmp) as run:
        run.start().wait_line("all ready after", timeout_s=40)
        parts = psutil.Process(run.pid).children(recursive=True)
        assert len(parts) >= 5
        assert run.stop(number) == 0
        assert "everything is stopped" in run.output().splitlines()[-1]
    gone = wait_for(lambda: not [part for part in parts if part.is_running()], "all to be gone")
    assert gone
    assert not list(tmp.glob(f"{tempfile.gettempprefix()}*"))
    assert not list(tmp.glob("trimtab-*"))


def part_of(run: Proc, word: str) -> psutil.Process:
    """Return the first process of the demo whose command line ends with a word."""
    return next(
        part
        for part in psutil.Process(run.pid).children(recursive=True)
        if word in part.cmdline()[-1:]
    )


def test_a_part_that_dies_is_named_and_the_rest_goes_on_until_the_collector_dies(
    tmp: Path,
) -> None:
    with demo(tmp) as run:
        run.start().wait_line("all ready after", timeout_s=40)
        part_of(run, "agent").kill()
        run.wait_line("demo: agent ended with -9; the rest goes on")
        collector = part_of(run, "collector")
        assert run.alive
        collector.kill()
        assert run.wait_exit() == 1
        assert "demo: collector ended with -9" in run.output().splitlines()[-1]


def test_a_part_that_dies_fails_the_check_with_its_name_and_its_log(tmp: Path) -> None:
    with demo(tmp, "--check", "--seconds", "60") as run:
        run.start().wait_line("all ready after", timeout_s=40)
        part_of(run, "agent").kill()
        assert run.wait_exit() == 1
        assert "demo: agent ended with -9" in run.output().splitlines()[-1]
