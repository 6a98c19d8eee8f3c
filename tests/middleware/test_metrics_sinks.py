"""Where own metrics go: a sink has what was stored, says what it has not, and never raises."""

import base64
import errno
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.processes.pushing import Pushgateway, serving
from support.processes.servers import free_port, wait_for
from trimtab.metrics.counter import Counter
from trimtab.metrics.gauge import Gauge
from trimtab.metrics.histogram import Histogram
from trimtab.metrics.metric import Distribution, Metric, MetricRow, collect
from trimtab.metrics.summary import Summary
from trimtab.sinks import (
    FileSink,
    MemorySink,
    PushgatewaySink,
    Sink,
    Stored,
    collect_and_store,
    export_json,
    exposition,
)
from trimtab.sinks.sink import json_of


def some(word: str) -> list[Metric]:
    """Return a metric of each kind with values, names beginning with the word."""
    orders = Counter(f"{word}.orders", "Orders\nplaced.", "{order}", ["country"])
    orders.inc(3, country='s"e\\\n')
    orders.inc(2.5, country="no")
    depth = Gauge(f"{word}.depth", unit="By")
    depth.set(-4)
    sketched = Histogram(f"{word}.sketched", unit="s")
    waits = Histogram(f"{word}.waits", unit="s", buckets=[0.5, 2])
    recent = Summary(f"{word}.recent")
    for value in (0.25, 1, 4):
        for metric in (sketched, waits, recent):
            metric.observe(value)
    return [orders, depth, sketched, waits, recent]


def a_row(name: str = "row", value: float | Distribution = 1.0, at: float = 5e9) -> MetricRow:
    return MetricRow(name, "gauge", "1", "", {}, value, at)


# ---------------------------------------------------------------- export


def test_all_is_exported_as_what_json_can_hold() -> None:
    metrics = some("sinks.json")
    rows = json.loads(json.dumps(export_json(metrics), allow_nan=False))
    assert [row["value"] for row in rows[:3]] == [3, 2.5, -4]
    first = rows[0]
    assert first.pop("timestamp") == pytest.approx(collect(metrics)[0].timestamp, abs=60)
    assert first == {
        "name": "sinks.json.orders", "type": "counter", "unit": "{order}", "value": 3,
        "labels": {"country": 's"e\\\n'}, "description": "Orders\nplaced.",
    }  # fmt: skip
    assert [row["type"] for row in rows[2:]] == ["gauge", "histogram", "histogram", "summary"]
    sketched, waits, recent = (row["value"] for row in rows[3:])
    assert (sketched["count"], sketched["sum"]) == (3, 5.25)
    assert sketched["quantiles"]["0.99"] == 4
    assert waits["buckets"] == {"0.5": 1, "2.0": 2, "+Inf": 3}
    assert recent["quantiles"] == {"0.5": 1, "0.9": 4, "0.95": 4, "0.99": 4}
    names = {row["name"] for row in export_json()}
    assert {metric.name for metric in metrics} <= names


def test_prometheus_reads_the_exposition_back() -> None:
    text = exposition(collect(some("sinks.text")))
    families = {family.name: family for family in text_string_to_metric_families(text)}
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in families.values()
        for sample in family.samples
    }
    assert {name: family.type for name, family in families.items()} == {
        "sinks_text_orders": "counter", "sinks_text_depth_bytes": "gauge",
        "sinks_text_sketched_seconds": "summary", "sinks_text_waits_seconds": "histogram",
        "sinks_text_recent": "summary",
    }  # fmt: skip
    assert families["sinks_text_orders"].documentation == "Orders\nplaced."
    assert found["sinks_text_orders_total", 's"e\\\n'] == 3
    assert found["sinks_text_orders_total", "no"] == 2.5
    assert found["sinks_text_depth_bytes",] == -4
    assert found["sinks_text_waits_seconds_bucket", "0.5"] == 1
    assert found["sinks_text_waits_seconds_bucket", "+Inf"] == 3
    assert found["sinks_text_recent", "0.5"] == 1
    for name in ("sketched_seconds", "waits_seconds", "recent"):
        assert found[f"sinks_text_{name}_count",] == 3
        assert found[f"sinks_text_{name}_sum",] == 5.25


def test_series_of_a_metric_that_stand_apart_are_one_family() -> None:
    rows = [a_row("a"), a_row("b"), a_row("a")._replace(labels={"x": "y"})]
    assert exposition(rows).count("# TYPE a gauge") == 1
    assert exposition([]) == ""


def test_a_sink_that_fails_is_told_and_raises_nothing() -> None:
    class Failing:
        def store(self, rows: Sequence[MetricRow]) -> Stored:
            raise LookupError("nowhere")

    assert collect_and_store(Failing()) == Stored(0, "LookupError: nowhere")


# ---------------------------------------------------------------- memory


def test_memory_keeps_rows_within_a_count() -> None:
    sink = MemorySink(max_rows=3)
    assert sink.store([a_row("a"), a_row("b")]) == Stored(2)
    assert sink.store([a_row("c"), a_row("d")]) == Stored(2)
    assert [row.name for row in sink.rows()] == ["b", "c", "d"]
    assert [row.name for row in sink.rows("c")] == ["c"]
    stored = sink.store([a_row(str(number)) for number in range(5)])
    assert stored == Stored(3, "expected at most 3 rows, got 5: raise max_rows")
    assert [row.name for row in sink.rows()] == ["2", "3", "4"]


def test_memory_forgets_rows_of_an_age(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("trimtab.sinks.memory.time.time", lambda: now[0])
    sink = MemorySink(max_age_s=60)
    sink.store([a_row("old", at=1000)])
    now[0] = 1030
    sink.store([a_row("new", at=1030)])
    now[0] = 1061
    assert [row.name for row in sink.rows()] == ["new"]


# ---------------------------------------------------------------- files


def lines(path: Path) -> list[str]:
    return [json.loads(line)["name"] for line in path.read_text().splitlines()]


def test_a_file_has_a_line_a_series(tmp: Path) -> None:
    sink: Sink = FileSink(tmp / "metrics.jsonl")
    metrics = some("sinks.file")
    assert collect_and_store(sink, metrics) == Stored(6)
    assert collect_and_store(sink, metrics) == Stored(6)
    stored = [json.loads(line) for line in (tmp / "metrics.jsonl").read_text().splitlines()]
    shown = export_json(metrics) * 2
    assert [row | {"timestamp": 0} for row in stored] == [row | {"timestamp": 0} for row in shown]


@pytest.mark.parametrize("files", [1, 2, 4])
def test_a_file_is_rotated_by_size_and_the_oldest_goes(tmp: Path, files: int) -> None:
    path = tmp / "m"
    line = len(json.dumps(json_of(a_row("00")))) + 1
    sink = FileSink(path, max_bytes=line * 3, files=files)
    names = [f"{number:02d}" for number in range(20)]
    for start in range(0, 20, 5):
        assert sink.store([a_row(name) for name in names[start : start + 5]]) == Stored(5)
    kept = sorted(tmp.glob("m*"), key=lambda each: each.name)
    assert {each.name for each in kept} == {
        "m", "m.lock", *(f"m.{number}" for number in range(1, files)),
    }  # fmt: skip
    assert lines(path) == ["18", "19"]
    if files > 1:
        assert lines(tmp / "m.1") == ["15", "16", "17"]
    assert all(each.stat().st_size <= line * 3 for each in kept)


def test_a_line_longer_than_a_file_has_one_of_its_own(tmp: Path) -> None:
    sink = FileSink(tmp / "m", max_bytes=10, files=3)
    assert sink.store([a_row("a"), a_row("b")]) == Stored(2)
    assert (lines(tmp / "m"), lines(tmp / "m.1")) == (["b"], ["a"])


def test_half_a_line_of_one_who_was_killed_costs_itself(tmp: Path) -> None:
    (tmp / "m").write_text('{"name": "ha')
    assert FileSink(tmp / "m").store([a_row("whole")]) == Stored(1)
    half, whole = (tmp / "m").read_text().splitlines()
    assert half == '{"name": "ha'
    assert json.loads(whole)["name"] == "whole"


def test_a_file_that_cannot_be_written_is_told(tmp: Path) -> None:
    stored = FileSink(tmp / "missing" / "m").store([a_row()])
    assert stored.stored == 0
    assert os.strerror(errno.ENOENT) in stored.failed
    assert str(tmp / "missing" / "m") in stored.failed


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_full_disk_keeps_whole_lines_alone(tmp: Path) -> None:
    pid = os.fork()
    if pid == 0:
        # Writes beyond it are short, and then fail: as on a full disk.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        sink = FileSink(tmp / "m")
        said = [sink.store([a_row(f"{n}")] * 4) for n in range(3)]
        (tmp / "said").write_text(repr([(each.stored, bool(each.failed)) for each in said]))
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    assert (tmp / "said").read_text() == "[(4, False), (4, False), (0, True)]"
    assert lines(tmp / "m") == ["0"] * 4 + ["1"] * 4


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_processes_share_a_file(tmp: Path) -> None:
    path = tmp / "m"
    children = []
    for child in range(4):
        pid = os.fork()
        if pid == 0:
            sink = FileSink(path, max_bytes=5000, files=100)
            stored = sum(sink.store([a_row(f"{child}")] * 5).stored for _ in range(20))
            os._exit(0 if stored == 100 else 1)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    found = [name for each in tmp.glob("m*") if each.suffix != ".lock" for name in lines(each)]
    assert sorted(found) == sorted("0123" * 100)


# ---------------------------------------------------------------- Pushgateway


@pytest.fixture
def gateway() -> Iterator[Pushgateway]:
    with serving() as found:
        yield found


def test_a_push_replaces_the_group_of_this_process(gateway: Pushgateway) -> None:
    metrics = some("sinks.push")
    sink = PushgatewaySink(gateway.url + "/", "shop")
    assert collect_and_store(sink, metrics) == Stored(6)
    orders = metrics[0]
    assert isinstance(orders, Counter)
    orders.inc(country="no")
    assert collect_and_store(sink, metrics) == Stored(6)
    name = f"{os.uname().nodename}:{os.getpid()}"
    [(group, found)] = gateway.groups.items()
    assert group == (("job", "shop"), ("instance", name))
    assert found["sinks_push_orders_total", "no"] == 3.5
    assert found["sinks_push_waits_seconds_bucket", "2.0"] == 2
    assert gateway.headers[0]["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert sink.forget() == Stored(0)
    assert gateway.groups == {}


@pytest.mark.parametrize(
    "value", ["a b", "a/b", "", ".", "..", "ü%2F?#&+", "=", "//", "x" * 300], ids=repr
)
def test_a_group_may_be_called_anything(gateway: Pushgateway, value: str) -> None:
    job = value or "job"
    sink = PushgatewaySink(gateway.url, job, group={"path": value, "z": "last"})
    assert sink.store([a_row("grouped")]) == Stored(1)
    assert list(gateway.groups) == [(("job", job), ("path", value), ("z", "last"))]


def test_what_the_pushgateway_refuses_is_told(gateway: Pushgateway) -> None:
    gateway.answer = 503
    sink = PushgatewaySink(gateway.url, "shop")
    assert sink.store([a_row()]) == Stored(0, "the Pushgateway answered 503: not today")


def test_an_absent_pushgateway_is_told_without_the_password() -> None:
    sink = PushgatewaySink(f"http://user:hunter2@127.0.0.1:{free_port()}", "shop")
    stored = collect_and_store(sink)
    assert stored.stored == 0
    assert stored.failed.startswith("no Pushgateway at 127.0.0.1: ConnectionRefusedError")
    assert "hunter2" not in stored.failed


def test_user_and_password_of_the_url_are_sent(gateway: Pushgateway) -> None:
    url = gateway.url.replace("://", "://us%40er:p%3Aw@")
    assert PushgatewaySink(url, "shop").store([a_row()]) == Stored(1)
    sent = gateway.headers[0]["Authorization"].removeprefix("Basic ")
    assert base64.b64decode(sent) == b"us@er:p:w"


@pytest.mark.parametrize("url", ["", "gateway:9091", "ftp://host", "http://", "http://h:secret"])
def test_an_address_that_is_none_is_refused_without_a_secret(url: str) -> None:
    with pytest.raises(ValueError, match="write http://host:9091") as refused:
        PushgatewaySink(url, "shop")
    assert "secret" not in str(refused.value)


def test_a_job_and_a_group_have_names() -> None:
    with pytest.raises(ValueError, match="the name of a job"):
        PushgatewaySink("http://h", "")
    with pytest.raises(ValueError, match="write 'a_b'"):
        PushgatewaySink("http://h", "job", group={"a b": "c"})


def test_a_thread_pushes_every_interval_until_it_is_stopped(gateway: Pushgateway) -> None:
    before = threading.active_count()
    sink = PushgatewaySink(gateway.url, "shop", group={}, interval_s=0.02)
    assert not [thread for thread in threading.enumerate() if thread.name == "trimtab-push"]
    counter = Counter("sinks.pushed.often")
    assert sink.start() is sink.start()
    wait_for(lambda: gateway.pushes >= 2, "two pushes")
    assert sum(thread.name == "trimtab-push" for thread in threading.enumerate()) == 1
    counter.inc(7)
    assert sink.stop().stored > 0
    assert gateway.groups[(("job", "shop"),)]["sinks_pushed_often_total",] == 7
    wait_for(lambda: threading.active_count() <= before, "the end of the threads")


def test_a_thread_outlives_a_pushgateway_that_is_away(
    gateway: Pushgateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.answer = 500
    sink = PushgatewaySink(gateway.url, "shop", group={}, interval_s=0.02).start()
    try:
        wait_for(lambda: gateway.pushes >= 3, "three pushes that fail")
        gateway.answer = 200
        wait_for(lambda: gateway.groups, "a push that does not")
    finally:
        sink.stop()
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("the Pushgateway answered 500: not today")
