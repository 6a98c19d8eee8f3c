"""What a key may write, and whose numbers it can use up: a running collector and its store."""

import http.client
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from support.clock import Clock
from support.processes.servers import Collector, wait_for
from support.stores import checkedstore
from support.stores.appending import append, received
from support.stores.batches import (
    Connect,
    Sender,
    a_batch,
    accounting_of,
    key_of,
    point_of,
)
from support.stores.rowbatches import delta_of
from support.stores.version4 import to_version_4
from trimtab_collector.auth.keys import KeyFile
from trimtab_collector.storage.memory.engine import MemoryStore
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.upkeep.backup import backup
from trimtab_collector.storage.sqlite.upkeep.restore import restore
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import HELD_HEADER, GaugeRow, encode
from trimtab_core.measures import COUNTER, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

HOUR_S = 3600
NOW = checkedstore.NOW


def code(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["code"]


def of_service(name: str) -> dict[Any, Any]:
    return {key_of(service=name): point_of([5])}


# ---------------------------------------------------------------- names


def test_a_new_key_is_of_its_first_agent_for_batches_and_commands(
    collector: Collector, connect: Connect
) -> None:
    mine = connect(collector.new_key(agents=()))
    fresh = connect(collector.new_key(agents=()))
    assert mine.commands("own-1")[0] == 200
    assert mine.post(a_batch(0, of_service("own"), agent="own-1"))[0] == 202
    # Neither a name of its own choice, nor with a key that nobody has used the name of another.
    assert code(mine.post(a_batch(0, of_service("own"), agent="own-2"))) == (403, "forbidden")
    assert code(fresh.post(a_batch(1, of_service("own"), agent="own-1"))) == (403, "forbidden")
    assert code(fresh.commands("own-1")) == (403, "forbidden")
    assert code(mine.commands("own-2")) == (403, "forbidden")
    live = a_batch(0, of_service("own"), agent="own-1", step_s=1, live=True)
    assert code(fresh.post(live)) == (403, "forbidden")
    assert fresh.post(a_batch(0, of_service("own"), agent="own-2"))[0] == 202
    assert mine.post(a_batch(1, of_service("own"), agent="own-1"))[0] == 202


def test_what_a_key_is_bound_to_outlives_a_kill(tmp: Path) -> None:
    with Collector(tmp) as collector:
        collector.start()
        key, other = collector.new_key(agents=()), collector.new_key(agents=())
        with Sender(collector.port, key) as sender:
            assert sender.post(a_batch(0, agent="web-1"))[0] == 202
        file = KeyFile(collector.data)
        wait_for(lambda: "web-1" in [each.agent for each in file.list()], "the binding on disk")
        collector.kill9()
        collector.start()
        with Sender(collector.port, other) as sender:
            assert code(sender.post(a_batch(1, agent="web-1"))) == (403, "forbidden")


def test_a_poll_that_waits_is_told_nothing_once_its_key_is_revoked(
    collector: Collector, connect: Connect
) -> None:
    key = collector.new_key(agents=())
    sender = connect(key)
    assert sender.post(a_batch(0, of_service("polled"), agent="polled"))[0] == 202
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
    headers = {"Authorization": f"Bearer {key}"}
    with closing(connection):
        connection.request("GET", "/agent/v1/commands?agent=polled&wait=1", headers=headers)
        KeyFile(collector.data).revoke(key)
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]["code"]) == (401, "unauthorized")


def test_a_body_that_is_on_its_way_when_its_key_is_revoked_is_refused(
    collector: Collector,
) -> None:
    key = collector.new_key(agents=())
    body = encode(a_batch(0, of_service("slow-body"), agent="slow-body"))
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=20)
    with closing(connection):
        connection.putrequest("POST", "/agent/v1/batches")
        connection.putheader("Authorization", f"Bearer {key}")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body[:10])
        KeyFile(collector.data).revoke(key)
        with Sender(collector.port, key) as sender:
            wait_for(lambda: sender.commands("slow-body")[0] == 401, "the revocation to count")
        connection.send(body[10:])
        assert connection.getresponse().status == 401


# ---------------------------------------------------------------- scopes


def measure(environment: str, service: str) -> MeasureRow:
    key = MeasureKey("orders", COUNTER, "")
    return MeasureRow(environment, service, "redis:one", key, delta_of([1.0]))


@pytest.mark.parametrize(
    ("scope", "environment", "service"),
    [
        (scope, *place)
        for scope in ((("test",), ("mine",)), (("test",), ()), ((), ("mine",)))
        for place in (("", ""), ("", "mine"), ("test", ""), ("prod", "mine"))
        if scope[0] or place != ("prod", "mine")
    ],
)
def test_a_key_with_a_scope_writes_no_row_outside_it_and_none_for_nobody(
    collector: Collector,
    connect: Connect,
    scope: tuple[Sequence[str], Sequence[str]],
    environment: str,
    service: str,
) -> None:
    sender = connect(collector.new_key(*scope, agents=()))
    agent = f"scoped {environment}/{service} {scope}"
    event = EventRow(environment, service, "i", {"kind": "slow", "at_us": 1})
    bodies = {
        "series": a_batch(
            0, {key_of(service=service, environment=environment): point_of([5])}, agent=agent
        ),
        "events": a_batch(1, {}, agent=agent, rows=pack_rows([], [event])[0]),
    }
    if environment or service:
        row = measure(environment, service)
        bodies["measures"] = a_batch(2, {}, agent=agent, rows=pack_rows([row], [])[0])
    if service:
        gauge = GaugeRow(environment, service, "i", "process.uptime", 1.0)
        bodies["gauges"] = a_batch(3, {}, agent=agent, gauges=[gauge])
    for what, body in bodies.items():
        assert code(sender.post(body)) == (403, "forbidden"), what


def test_measures_of_what_an_agent_looks_at_are_left_out_unless_its_key_is_for_them(
    collector: Collector, connect: Connect
) -> None:
    file = KeyFile(collector.data)
    for name, probes in (("looks", True), ("looks-not", False)):
        text, _ = file.new("", ["test"], [name], probes=probes)
        rows = [measure("test", name), measure("", "")._replace(instance=f"redis:{name}")]
        body = a_batch(0, of_service(name), agent=name, rows=pack_rows(rows, [])[0])
        # The batch is taken either way: such rows cost themselves.
        assert connect(text).post(body)[0] == 202
    with closing(sqlite3.connect(collector.data / "metrics.db")) as store:
        kept = {row[0] for row in store.execute("SELECT instance FROM measure")}
    assert "redis:looks" in kept
    assert "redis:looks-not" not in kept
    assert collector.api.get("/health")["store"]["overQuota"] == {"probes": 1}


# ---------------------------------------------------------------- numbers


def test_a_number_that_another_key_has_sent_is_not_used_up(tmp: Path) -> None:
    clock = Clock(NOW)
    t = NOW - 2 * HOUR_S
    false = checkedstore.batch(7, t, "evil")
    real = checkedstore.batch(7, t, "shop")
    with checkedstore.opened(tmp, clock) as store:
        assert append(store, false, key="thief") == [False]
        assert append(store, real, key="mine") == [False]
        assert append(store, real, key="mine") == [True]
    # Nor after a restart, nor once the batches are merged.
    with checkedstore.opened(tmp, clock) as store:
        assert append(store, real, key="mine") == [True]
        assert append(store, checkedstore.batch(8, t, "evil"), key="thief") == [False]
        assert store.compact(clock.now_s) > 0
        assert append(store, checkedstore.batch(8, t, "shop"), key="mine") == [False]
        assert append(store, real, checkedstore.batch(8, t, "shop"), key="mine") == [True, True]
    assert checkedstore.checked(tmp).sound


def test_a_batch_that_is_sent_again_with_a_new_key_is_a_repeat(tmp: Path) -> None:
    batch = a_batch(7, window_s=NOW - 10)
    with checkedstore.opened(tmp, Clock(NOW)) as store:
        assert append(store, batch, key="before") == [False]
        assert append(store, batch, key="after") == [True]
    with checkedstore.opened(tmp, Clock(NOW)) as store:
        assert append(store, batch, key="after") == [True]
        assert append(store, a_batch(8, window_s=NOW - 10), key="after") == [False]


def test_what_an_earlier_version_has_taken_is_a_repeat_with_any_key(tmp: Path) -> None:
    clock = Clock(NOW)
    merged = [checkedstore.batch(seq, NOW - 2 * HOUR_S) for seq in (1, 2)]
    waiting = checkedstore.batch(5, NOW - 10)
    with checkedstore.opened(tmp, clock) as store:
        append(store, *merged, checkedstore.batch(4, NOW - 2 * HOUR_S))
        assert store.compact(clock.now_s) == 3
        append(store, waiting)
    to_version_4(tmp)
    with checkedstore.opened(tmp, clock) as store:
        lost = checkedstore.batch(3, NOW - 2 * HOUR_S)
        fresh = checkedstore.batch(6, NOW - 10)
        assert append(store, *merged, waiting, key="mine") == [True] * 3
        assert append(store, lost, fresh, key="thief") == [False, False]
        mine = [checkedstore.batch(3, NOW - 2 * HOUR_S, "own"), checkedstore.batch(6, NOW, "own")]
        assert append(store, *mine, key="mine") == [False, False]
        assert append(store, *merged, waiting, *mine, key="mine") == [True] * 5
        store.compact(clock.now_s + HOUR_S)
        assert append(store, *merged, waiting, *mine, key="mine") == [True] * 5
    assert checkedstore.checked(tmp).sound


def test_numbers_are_told_apart_by_key_after_a_restore_too(tmp: Path) -> None:
    t, clock = NOW - 2 * HOUR_S, Clock(NOW)
    merged, waiting = checkedstore.batch(1, t), checkedstore.batch(2, NOW - 10)
    with checkedstore.opened(tmp / "c", clock) as store:
        append(store, merged, key="mine")
        append(store, checkedstore.batch(3, t, "evil"), key="thief")
        assert store.compact(clock.now_s) == 2
        append(store, waiting, key="mine")
    backup(tmp / "c", tmp / "b", lambda _: None)
    restore(tmp / "b", tmp / "r", lambda _: None)
    with checkedstore.opened(tmp / "r", clock) as store:
        assert append(store, merged, waiting, key="mine") == [True, True]
        assert append(store, checkedstore.batch(3, t), key="mine") == [False]
    assert checkedstore.checked(tmp / "r").sound


@pytest.mark.parametrize("memory", [False, True], ids=["sqlite", "memory"])
def test_numbers_are_told_apart_by_key_in_live_summaries_too(tmp: Path, memory: bool) -> None:
    clock = Clock(NOW)
    store = MemoryStore(clock=clock) if memory else SQLiteStore(tmp, clock=clock)
    try:
        points = {key_of(): point_of([5])}
        stored, live = (
            a_batch(0, points, window_s=NOW - 10),
            a_batch(0, points, window_s=NOW - 1, step_s=1, live=True),
        )
        other = replace(stored, closed_us=stored.closed_us + 1)
        assert append(store, stored, key="one") == [False]
        assert append(store, other, key="other") == [False]
        assert append(store, stored, key="one") == [True]
        for key in ("one", "other", "other"):
            store.show(received(store, live, key=key))
        for is_live, requests in ((False, 2), (True, 2)):
            rows = store.read(Selection((NOW - 60, NOW + 60), live=is_live))
            assert rows.columns.value("requests").sum() == requests
    finally:
        store.close()


# ---------------------------------------------------------------- what an agent tells of itself


def test_what_an_agent_holds_hides_no_loss_of_another(
    collector: Collector, connect: Connect
) -> None:
    honest, liar = connect(collector.new_key(agents=())), connect(collector.new_key(agents=()))
    lost = accounting_of([(0, 10)], 100, process=b"lost-one", service="held")
    whole = accounting_of([(0, 10)], 10, process=b"whole-00", service="held")
    assert honest.post(a_batch(0, of_service("held"), agent="honest", processes=[lost]))[0] == 202
    for held in ("999999999999999999", "-5", "1e9", "9" * 40, "\xb2"):
        liar.more = {HELD_HEADER: held}
        body = a_batch(0, of_service("held"), agent="liar", processes=[whole])
        assert liar.post(body)[0] == 202
        (row,) = [
            each for each in collector.api.get("/services")["services"] if each["service"] == "held"
        ]
        told = row["accounting"]
        assert (told["held"], told["agentLost"]) == (0, 90), held


def test_no_key_is_in_the_log(tmp: Path) -> None:
    with Collector(tmp, TRIMTAB_COLLECTOR_LOG_LEVEL="debug") as collector:
        collector.start()
        keys = [collector.new_key(agents=()) for _ in range(2)]
        keys.append("ttk_" + "0" * 12 + "_" + "1" * 64)
        KeyFile(collector.data).revoke(keys[1])
        for key in keys:
            with Sender(collector.port, key) as sender:
                sender.post(a_batch(0, agent="web-1"))
                sender.post(b"nothing")
                sender.commands("web-2")
        collector.wait_line("request refused: expected an agent key")
        assert collector.stop() == 0
        said = collector.output()
        assert not [key for key in keys if key.rpartition("_")[2] in said]
