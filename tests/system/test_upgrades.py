"""Agents that are replaced under load, machines that stand still, versions that differ."""

import struct
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard

from support.processes.load import Load
from support.processes.servers import Collector, wait_for
from support.processes.stack import Stack, connected, gunicorn, stack, uvicorn
from support.stores.batches import Sender, a_batch, accounting_of, coded, key_of, point_of
from trimtab_core.batches import VERSION
from trimtab_core.batches import encode as encode_batch
from trimtab_core.frames import encode
from trimtab_core.messages import Hello
from trimtab_core.records import Record, pack


def more(load: Load, answers: int) -> None:
    before = load.answered
    wait_for(lambda: load.answered > before + answers, f"{answers} more answers", 20)


def exact(system: Stack, service: str, sent: int) -> None:
    system.wait_booked(service, sent, timeout_s=30)
    account_ = system.collector.api.accounting(service)
    assert (account_["requests"], account_["agentLost"], account_["dropped"]) == (sent, 0, {})


@pytest.mark.parametrize(
    "command", [uvicorn("--workers", "2"), gunicorn("-w", "2")], ids=["uvicorn", "gunicorn"]
)
def test_an_agent_replaced_three_times_under_load_loses_nothing(
    tmp: Path, command: list[str]
) -> None:
    with stack(tmp) as system:
        app = system.app("shop", command)
        load = Load([f"{app.url}/items/1"], connections=4).start()
        for _ in range(3):
            more(load, 300)
            assert system.agent.stop() == 0
            system.agent.start()
        more(load, 300)
        load.stop()
        assert load.failed == 0
        exact(system, "shop", load.sent)
        (service,) = system.collector.api.get("/services", service="shop")["services"]
        # Worker numbers stay what they were: an upgrade makes no new series.
        assert len(service["instances"]) <= 2


@pytest.mark.alone
def test_an_app_that_stands_still_does_not_keep_its_agent_from_ending(tmp: Path) -> None:
    with stack(tmp) as system:
        app = system.app("shop", uvicorn())
        load = Load([f"{app.url}/items/1"]).start()
        more(load, 100)
        load.stop()
        exact(system, "shop", load.sent)
        app.freeze()
        begun = time.monotonic()
        assert system.agent.stop() == 0
        assert time.monotonic() - begun < 10
        app.thaw()
        system.agent.start()
        again = Load([f"{app.url}/items/1"], 100).start().join()
        assert again.failed == 0
        exact(system, "shop", load.sent + 100)


def batches(system: Stack) -> int:
    return int(system.collector.api.get("/health")["store"]["batches"])


def test_a_machine_that_stood_still_goes_on_without_a_burst(tmp: Path) -> None:
    with stack(tmp) as system:
        app = system.app("shop", uvicorn())
        load = Load([f"{app.url}/items/1"], connections=2).start()
        more(load, 300)
        load.stop()
        parts = (app, system.agent, system.collector)
        for part in parts:
            part.freeze()
        thaw_at = time.monotonic() + 8
        wait_for(lambda: time.monotonic() > thaw_at, "eight seconds to pass", 12)
        for part in parts:
            part.thaw()
        before = batches(system)
        load_after = Load([f"{app.url}/items/1"], 300).start().join()
        assert load_after.failed == 0
        exact(system, "shop", load.sent + 300)
        # Windows that nobody lived through are not made up afterwards.
        assert batches(system) - before <= 8


def test_an_app_of_a_newer_version_is_understood(tmp: Path) -> None:
    with stack(tmp) as system, connected(system.agent) as opened:
        hello = Hello("test", "newer", "", "host", 1, b"12345678").frame()
        hello[1] |= {"protocol": 9, "colour": "blue", "record_size": 56, "facts": {"new": "fact"}}
        records = (pack(Record(0, 1, 0, 200, 1000)) + bytes(8)) * 10
        now_us = time.time_ns() // 1000
        for message in (
            [*hello, "more"],
            ["weather", {"sun": True}],
            ["samples", now_us, 0, 0, {}, 56, records, "more"],
            ["gauges", now_us, 10, {}, {"colour.depth": 3}, "more"],
            ["bye", 10, {}, "more"],
        ):
            opened.sendall(encode(message))
        exact(system, "newer", 10)
        assert system.agent.alive


def changed(raw: bytes, **fields: Any) -> bytes:
    """Return a batch with other fields in its header."""
    body = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
    (length,) = struct.unpack_from("<I", body)
    header = msgpack.unpackb(body[4 : 4 + length])
    columns = body[4 + length :]
    extra = fields.pop("extra_column", b"")
    if extra:
        header["columns"].append(["weather", "B", len(extra)])
    packed = msgpack.packb(header | fields)
    return zstandard.compress(struct.pack("<I", len(packed)) + packed + columns + extra)


def test_a_batch_of_a_newer_agent_is_understood_and_of_a_newer_form_refused(tmp: Path) -> None:
    with Collector(tmp).start() as collector, Sender(collector.port, collector.new_key()) as sender:
        points = {key_of(service="mixed"): point_of([1_000] * 5)}
        covers = accounting_of([(0, 5)], 5, process=b"mixedpid", service="mixed")
        raw = encode_batch(a_batch(1, points, agent="newer", processes=[covers]))
        assert sender.post(changed(raw, weather="fine", extra_column=b"\1"))[0] == 202
        status, body = sender.post(changed(raw, v=VERSION + 1))
        assert (status, body["error"]["code"]) == (400, "bad_batch")
        assert f"version {VERSION}" in body["error"]["message"]
        assert collector.api.counted("mixed") == 5
        # What an older agent does not send yet is not missed.
        body_of_older = changed(raw, seq=2)
        assert sender.post(body_of_older)[0] == 202


def test_requests_of_an_agent_that_tells_no_codes_are_unknown_and_lose_nothing(tmp: Path) -> None:
    with Collector(tmp).start() as collector, Sender(collector.port, collector.new_key()) as sender:
        key = key_of(service="mixed", status_class="4xx")
        older = a_batch(1, {key: point_of([1_000] * 5)}, agent="older")
        assert not {name for name in older.columns if name.startswith("status")}
        newer = {key: coded(point_of([1_000] * 4), {404: 3, 429: 1})}
        assert sender.post(older)[0] == 202
        assert sender.post(a_batch(1, newer, agent="newer"))[0] == 202
        found = collector.api.get("/status-codes", service="mixed", statusClass="4xx")
        assert found["statusCodes"] == {"404": 3, "429": 1, "unknown": 5}
        (row,) = collector.api.get("/routes", service="mixed")["routes"]
        assert (row["requests"], row["statusCodes"]) == (9, found["statusCodes"])
