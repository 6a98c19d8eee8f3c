"""The log files: what is in them, who may read them, how they are kept small, and full disks."""

import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.clock import Clock
from support.disks.smalldisk import small_disk
from support.processes.servers import Collector, Proc, short_dir, trimtab, wait_for
from support.stores.batches import Sender, a_batch, key_of, point_of
from support.stores.engines import NOON, MemoryEngine, Sent, append
from trimtab_collector.logs.files import LogFiles
from trimtab_collector.logs.rotation import RotatedFile
from trimtab_collector.logs.sources import FailedRequests, MinuteFigures
from trimtab_collector.reads.reader import StoreReader
from trimtab_core.rows import EventRow, pack_rows

SECRETS = (
    "ttk_0123456789ab_" + "c" * 64,
    "ttr_" + "d" * 64,
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJl",
    "hunter2-in-a-dsn",
)
HOSTILE = "a\nb\r\x1b]0;title\x07\x9b31m\u202egnp.exe\u2066x\u2028y\u200bz"
#: not for what pytest captures, which sends it to another process
SURROGATE = "\ud800"


def lines_of(directory: Path, name: str) -> list[dict[str, Any]]:
    """Return the decoded lines of a log file."""
    text = (directory / f"{name}.log").read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    return [json.loads(line) for line in text.split("\n")[:-1]]


@pytest.fixture
def files(tmp: Path) -> Iterator[LogFiles]:
    """Log files that take what the root logger gets."""
    opened = LogFiles(tmp / "logs", 100_000, 3, Clock(NOON))
    opened.start()
    yield opened
    opened.close()


# ---------------------------------------------------------------- lines


def test_warnings_are_errors_and_everything_is_combined(files: LogFiles, tmp: Path) -> None:
    log = logging.getLogger("trimtab.test_log_files")
    log.setLevel(logging.INFO)
    log.info("a start of %s", "something")
    log.warning("a warning")
    try:
        raise ValueError("bad\nworse")
    except ValueError:
        log.exception("a failure")
    assert files.flush()
    first, *errors = lines_of(tmp / "logs", "combined")
    assert first == {
        "time": "2023-11-15T00:00:00.000Z", "level": "info", "kind": "log",
        "logger": "trimtab.test_log_files", "message": "a start of something",
    }  # fmt: skip
    assert errors == lines_of(tmp / "logs", "error")
    assert [line["level"] for line in errors] == ["warning", "error"]
    assert errors[1]["trace"][-2:] == ["ValueError: bad", "worse"]
    assert lines_of(tmp / "logs", "performance") == []
    assert (files.health().written, files.health().lost) == (3, 0)


def test_nothing_in_a_line_is_obeyed_by_a_terminal(files: LogFiles, tmp: Path) -> None:
    logging.getLogger("trimtab.test_log_files").warning("%s", HOSTILE)
    files.write("error", "error", "request", {"route": HOSTILE + SURROGATE, HOSTILE: [HOSTILE]})
    assert files.flush()
    raw = (tmp / "logs" / "error.log").read_bytes()
    assert raw.count(b"\n") == 2
    text = raw.decode()
    assert all(each == "\n" or (each.isprintable() and each != "\u200b") for each in text)
    shown = lines_of(tmp / "logs", "error")[0]["message"]
    assert shown == (r"a\nb\r\x1b]0;title\x07\x9b31m\u202egnp.exe\u2066x\u2028y\u200bz")


def test_secrets_are_left_out_of_every_text(files: LogFiles, tmp: Path) -> None:
    log = logging.getLogger("trimtab.test_log_files")
    log.warning("keys %s and %s and Authorization: Bearer %s", *SECRETS[:3])
    try:
        raise RuntimeError(f"redis://user:{SECRETS[3]}@host/0")
    except RuntimeError:
        log.exception("no connection")
    files.write("error", "error", "request", {"error": " ".join(SECRETS[:3])})
    assert files.flush()
    text = (tmp / "logs" / "combined.log").read_text(encoding="utf-8")
    assert [secret for secret in SECRETS if secret in text] == []
    assert "redis://user:...@host" in text


def test_long_texts_are_cut(files: LogFiles, tmp: Path) -> None:
    files.write("error", "error", "log", {"message": "x" * 1_000_000})
    assert files.flush()
    assert len(lines_of(tmp / "logs", "error")[0]["message"]) < 5000


def test_only_owner_and_group_may_read(files: LogFiles, tmp: Path) -> None:
    assert files.flush()
    files.write("error", "error", "log", {})
    assert files.flush()
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp / "logs").iterdir()}
    assert modes == dict.fromkeys(("performance.log", "error.log", "combined.log"), 0o640)
    assert stat.S_IMODE((tmp / "logs").stat().st_mode) & 0o007 == 0


# ---------------------------------------------------------------- bounds


def test_a_full_file_is_put_aside_and_the_oldest_is_deleted(tmp: Path) -> None:
    file = RotatedFile(tmp / "x.log", 100, 2)
    for number in range(12):
        file.write(b"%030d\n" % number)
    file.close()
    found = {path.name: path.read_bytes().split() for path in tmp.iterdir()}
    assert {name: [int(each) for each in lines] for name, lines in found.items()} == {
        "x.log": [9, 10, 11], "x.log.1": [6, 7, 8], "x.log.2": [3, 4, 5]
    }  # fmt: skip
    again = RotatedFile(tmp / "x.log", 100, 2)
    again.write(b"x" * 500)
    assert (tmp / "x.log").read_bytes() == b"x" * 500
    again.close()


def test_lines_beyond_the_queue_are_counted_and_nobody_waits(tmp: Path) -> None:
    files = LogFiles(tmp / "logs", 10**7, 1)
    for _ in range(10_500):  # its thread does not run yet
        files.write("error", "error", "log", {})
    assert (files.health().waiting, files.health().lost) == (10_000, 500)
    files.start()
    files.close()
    assert files.health().written == 10_000
    files.write("error", "error", "log", {})
    assert files.health().lost == 501


def test_a_full_disk_costs_lines_and_writing_goes_on_when_there_is_room(tmp: Path) -> None:
    with small_disk(tmp / "disk", 1) as disk:
        files = LogFiles(disk.path / "logs", 10**7, 1)
        files.start()
        disk.leave(20_000)
        for _ in range(200):
            files.write("error", "error", "log", {"message": "y" * 1000})
        assert files.flush()
        assert files.health().lost > 0
        assert "No space left" in files.trouble
        disk.give_back()
        files.write("error", "error", "log", {"message": "room again"})
        assert files.flush()
        assert not files.trouble
        # No half line is left of those that did not fit.
        assert lines_of(disk.path / "logs", "error")[-1]["message"] == "room again"
        files.close()


def test_a_directory_that_cannot_be_used_ends_the_start_in_one_sentence(tmp: Path) -> None:
    (tmp / "file").touch()
    env = {
        "TRIMTAB_COLLECTOR_LOG_DIR": str(tmp / "file"),
        "TRIMTAB_COLLECTOR_DATA_DIR": str(tmp / "data"),
        "TRIMTAB_COLLECTOR_PORT": "0",
    }
    with Proc("collector", trimtab("collector"), tmp, env).start() as process:
        assert process.wait_exit() == 2
        assert "expected a directory for log files" in process.output()


# ---------------------------------------------------------------- what is written


def test_each_minute_has_a_line_for_each_service_with_requests(tmp: Path) -> None:
    clock, engine = Clock(NOON), MemoryEngine()
    engine.open(tmp, clock)
    files = LogFiles(tmp / "logs", 10**6, 1, clock)
    files.start()
    minutes = MinuteFigures(StoreReader(engine.store), files, clock)
    points = {
        key_of("/"): point_of([1_000] * 90),
        key_of("/slow", status_class="5xx"): point_of([100_000] * 10, errors=10),
        key_of("/", service="books"): point_of([7_000]),
    }
    clock.advance_s(70)
    append(engine, Sent(a_batch(0, points, window_s=NOON + 50), points))
    assert minutes.write_due() == 0  # later windows of that minute may still be on their way
    clock.advance_s(30)
    assert minutes.write_due() == 1
    assert minutes.write_due() == 0
    assert files.flush()
    books, shop = lines_of(tmp / "logs", "performance")
    assert (books["service"], books["requests"]) == ("books", 1)
    assert shop["from"] == "2023-11-15T00:00:00.000Z"
    assert (shop["requests"], shop["errors"], shop["seconds"]) == (100, 10, 60)
    assert 90 < shop["p95"] < 110 > shop["p99"] > 90 > 2 > shop["p50"]
    assert lines_of(tmp / "logs", "combined") == [books, shop]
    clock.advance_s(3600)
    assert minutes.write_due() == 5  # after a pause the latest minutes, not all
    files.close()
    engine.close()


def test_a_failed_request_with_impossible_figures_costs_nothing_else(tmp: Path) -> None:
    clock, engine = Clock(NOON), MemoryEngine()
    engine.open(tmp, clock)
    files = LogFiles(tmp / "logs", 10**6, 1, clock)
    files.start()
    engine.store.on_commit(FailedRequests(files, clock).committed)
    event = {"kind": "request", "reason": "failed", "status": 500, "at_us": NOON * 10**6}
    odd = {**event, "at_us": 2**53, "status": 2**53, "route": "/odd"}
    rows = [EventRow("test", "shop", "a", each) for each in (odd, {**event, "route": "/pay"})]
    (packed,) = pack_rows([], rows)
    append(engine, Sent(a_batch(0, {}, window_s=NOON, rows=packed), {}))
    assert files.flush()
    lines = lines_of(tmp / "logs", "error")
    assert [(each["route"], each["at"][:4]) for each in lines] == [
        ("/odd", "2255"),
        ("/pay", "2023"),
    ]
    files.close()
    engine.close()


def test_failed_requests_are_written_and_too_many_are_counted(tmp: Path) -> None:
    clock, engine = Clock(NOON), MemoryEngine()
    engine.open(tmp, clock)
    files = LogFiles(tmp / "logs", 10**6, 1, clock)
    files.start()
    failed = FailedRequests(files, clock)
    engine.store.on_commit(failed.committed)

    def send(seq: int, count: int) -> None:
        event = {
            "kind": "request", "at_us": NOON * 10**6, "reason": "failed", "route": "/pay\n",
            "method": "POST", "status": 500, "duration_us": 12_500,
            "error": "ValueError", "error_site": "shop/pay.py:40 in charge", "trace": "",
        }  # fmt: skip
        others = [{**event, "reason": "slow"}, {**event, "kind": "query"}]
        rows = [EventRow("test", "shop", "host#0", each) for each in [event] * count + others]
        (packed,) = pack_rows([], rows)
        append(engine, Sent(a_batch(seq, {}, window_s=NOON, rows=packed), {}))

    send(0, 1)
    assert files.flush()
    (line,) = lines_of(tmp / "logs", "error")
    assert line == {
        "time": "2023-11-15T00:00:00.000Z", "level": "error", "kind": "request",
        "at": "2023-11-15T00:00:00.000Z", "environment": "test", "service": "shop",
        "instance": "host#0", "route": "/pay ", "method": "POST", "status": 500,
        "duration": 12.5, "error": "ValueError", "errorSite": "shop/pay.py:40 in charge",
        "trace": "",
    }  # fmt: skip
    send(1, 150)
    assert failed.left_out == 51
    clock.advance_s(1)
    send(2, 1)
    assert files.flush()
    assert "51 more failed requests" in lines_of(tmp / "logs", "error")[-2]["message"]
    files.close()
    engine.close()


def test_a_collector_writes_its_log_there_and_shows_it_in_health() -> None:
    with short_dir() as directory:
        logs = directory / "logs"
        with Collector(directory, TRIMTAB_COLLECTOR_LOG_DIR=str(logs)) as collector:
            collector.start()
            with Sender(collector.port, collector.new_key()) as sender:
                sender.insist(a_batch(0, {}, agent="agent\x1b[31m", closed_us=1))
            health = wait_for(
                lambda: collector.api.get("/health").get("logs"), "figures of the log files"
            )
            assert (health["lost"], health["trouble"]) == (0, None)
            assert collector.stop() == 0
        messages = [line["message"] for line in lines_of(logs, "combined")]
        assert any("Application startup complete" in each for each in messages)
        assert os.path.exists(logs / "error.log")
        assert "\x1b" not in collector.output()
