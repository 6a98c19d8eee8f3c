"""Routes of a process: ids that go from one template to another, and no record misnamed by it."""

import os
import time
from collections.abc import Iterator
from typing import Any

import pytest

from support.clock import Clock
from support.processes.drive import Measured, call
from support.processes.peer import Peer
from trimtab.connection import Connections
from trimtab.emitter import Emitter
from trimtab.events import EventQueue
from trimtab.metrics.measures import Measures
from trimtab.pending import Pending
from trimtab.recorder import Recorder
from trimtab.routes import GRACE_S, RouteTable
from trimtab.runtime import PROCESS
from trimtab.tables import IDLE_S
from trimtab_core.config import parse_address
from trimtab_core.measures import COUNTER, MeasureKey
from trimtab_core.messages import Hello, Routes


@pytest.fixture
def seconds() -> Clock:
    return Clock()


class Held:
    """A recorder as the table sees it."""

    def __init__(self, seconds: Clock) -> None:
        self.sent_until = seconds.now_s


def idle(routes: RouteTable, seconds: Clock, *busy: str) -> None:
    """Let all templates become idle but the busy ones, whose ids are in records."""
    for _ in range(3):
        seconds.advance_s(IDLE_S)
        for template in busy:
            number = routes.of(template).id
            routes.mark(number.to_bytes(2, "little") + bytes(46))
        routes._table.age()


def test_a_template_that_is_asked_for_while_an_id_is_given_goes_by_another_name(
    seconds: Clock,
) -> None:
    class Asking:
        """A recorder during whose answer a signal handler or finalizer asks for a route."""

        @property
        def sent_until(self) -> float:
            asked.append(routes.of("/asked"))
            return seconds.now_s

    asked: list[Any] = []
    holder = Asking()
    routes = RouteTable(3, clock=seconds)
    routes.add_holder(holder)
    for template in ("/a", "/b", "/c"):
        routes.of(template)
    idle(routes, seconds, "/a")
    for template in ("/d", "/e"):
        seconds.advance_s(GRACE_S + 1)
        routes.of(template)
        routes.of(template + "x")
    assert asked
    assert {route.is_other for route in asked} == {True}
    assert {route.template for route in asked} <= {"unmatched", "other"}
    _, announced = routes.after(0, 100)
    assert len(set(announced.values())) == len(announced)
    given = [routes.of(template) for template in ("/a", "/d", "/e")]
    assert all(announced[each.id] == each.template for each in given if not each.is_other)


def test_a_route_that_no_request_had_makes_room_and_a_busy_one_keeps_its_id(
    seconds: Clock,
) -> None:
    routes = RouteTable(3, clock=seconds)
    before = [routes.of(template) for template in ("/busy", "/b", "/c")]
    assert routes.of("/new").is_other
    idle(routes, seconds, "/busy")
    new = routes.of("/new")
    assert (new.template, new.is_other) == ("/new", False)
    assert routes.of("/busy") is before[0]
    # Who remembers it finds that it is no id any more.
    assert sorted(route.id for route in before)[0] == -1
    assert new.id not in (1, 2, 3, routes._of_others().id)


def test_an_id_has_a_new_meaning_only_when_nothing_bears_the_old_one(seconds: Clock) -> None:
    routes = RouteTable(2, clock=seconds)
    held = Held(seconds)
    routes.add_holder(held)
    old = routes.of("/old").id
    routes.of("/busy")
    idle(routes, seconds, "/busy")
    assert routes.of("/one").id not in (old, 2)
    assert routes.template(old) == "/old", "records that wait still have it"
    idle(routes, seconds, "/busy")
    # What was recorded before is not sent yet.
    two = routes.of("/two").id
    assert routes.template(old) == "/old"
    held.sent_until = seconds.now_s
    idle(routes, seconds, "/busy")
    held.sent_until = seconds.now_s
    three = routes.of("/three").id
    assert three == old
    assert routes.template(old) == "/three"
    assert two != three


def test_a_thread_that_has_read_an_id_has_a_minute_to_use_it(seconds: Clock) -> None:
    routes = RouteTable(1, clock=seconds)
    old = routes.of("/old").id
    idle(routes, seconds)
    routes.of("/one")
    idle(routes, seconds)
    retired = routes._retired[0][0]
    seconds.now_s = retired + GRACE_S - 1
    assert routes._free_id() != old
    seconds.now_s = retired + GRACE_S + 1
    assert routes._free_id() == old


def test_a_new_meaning_is_announced_behind_all_others_and_once(seconds: Clock) -> None:
    routes = RouteTable(2, clock=seconds)
    routes.of("/a")
    routes.of("/b")
    seq, known = routes.after(0, 10)
    assert known == {1: "/a", 2: "/b"}
    for n in range(6):
        idle(routes, seconds)
        routes.of(f"/{n}")
    heard: dict[int, str] = dict(known)
    while seq < routes.seq:
        seq, part = routes.after(seq, 2)
        assert 0 < len(part) <= 2
        heard.update(part)
    assert heard == routes.after(0, 100)[1]
    assert max(heard) <= 5, "ids are used again"


def test_when_all_ids_are_given_new_templates_are_other_until_one_is_free(
    seconds: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.routes.MAX_U16", 3)
    monkeypatch.setattr(RouteTable._free_id, "__defaults__", (3,))
    routes = RouteTable(3, clock=seconds)
    assert [routes.of(f"/{n}").id for n in range(2)] == [1, 2]
    assert [routes.of(template).is_other for template in ("/late", "/late", "/1")] == [
        True, True, False,
    ]  # fmt: skip
    routes._table.discard("/0")
    routes._retire(routes._routes[1])
    seconds.advance_s(GRACE_S + 1)
    assert not routes.of("/late").is_other


@pytest.fixture
def sending(measured: Measured, seconds: Clock) -> Iterator["Sending"]:
    found = Sending(measured.peer, seconds)
    yield found
    found.emitter.stop(5)


class Sending:
    """A recorder with a small table of routes, and an emitter that sends to a peer."""

    def __init__(self, peer: Peer, seconds: Clock, **options: Any) -> None:
        self.peer, self.seconds = peer, seconds
        self.routes = RouteTable(3, clock=time.monotonic)
        self.recorder = Recorder(1 << 20, self.routes)
        self.recorder.asleep = False
        self.measures = Measures(seconds)
        self.emitter = Emitter(
            self.recorder, parse_address(peer.address),
            lambda sent, worker: Hello("e", "s", "", "h", os.getpid(), b"8 bytes!", sent, worker),
            None,
            connections=Connections(),
            pending=Pending(self.measures, EventQueue(), most_numbers=4),
            interval_s=0.02, backlog_bytes=1 << 20, peer_uids=frozenset({os.getuid()}),
        )  # fmt: skip
        self.emitter.start()

    def nothing_is_used(self) -> None:
        """Have all templates of the table be idle."""
        table = self.routes._table
        with table._lock:
            table._idle.update(table._young | table._old)
            table._young, table._old = {}, {}
            for route in table._idle.values():
                route.was_used = False

    def record(self, template: str, status: int) -> None:
        self.recorder.append(self.routes.of(template).id, 1, 0, status, 1, 1, 0, 0, None)


def test_records_of_many_templates_each_arrive_under_their_own(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More templates than places, one after the other, over connections that break."""
    monkeypatch.setattr("trimtab.routes.GRACE_S", 0.0)
    total = 0
    for n in range(60):
        for status in (n, n):
            sending.record(f"/{n}", status)
            total += 1
        if n % 7 == 3:
            sending.peer.cut()
        if n % 3 == 2:
            assert sending.emitter.flush(5)
            before = sending.recorder.held_since
            sending.peer.wait_records(total)
            # Another visit of the emitter: it knows that nothing from before is left.
            while sending.recorder.held_since <= before:
                assert sending.emitter.flush(5)
            sending.nothing_is_used()
    seen = sending.peer.wait_records(total)
    assert [(each.template, each.record.status) for each in seen] == [
        (f"/{n}", n) for n in range(60) for _ in (0, 1)
    ]
    ids = {each for message in sending.peer.messages(Routes) for each in message.routes}
    assert max(ids) <= 8, "ids were used again"


def test_records_that_wait_for_an_agent_keep_their_ids(
    sending: Sending, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab.routes.GRACE_S", 0.0)
    sending.record("/known", 200)
    sending.peer.wait_records(1)
    sending.peer.stop()
    for n in range(20):
        sending.record(f"/away/{n}", n)
        sending.emitter.flush(5)
        sending.nothing_is_used()
    sending.peer.start()
    seen = sending.peer.wait_records(21, 10)
    assert [each.template for each in seen[1:]] == [f"/away/{n}" for n in range(20)]


def test_more_measures_than_numbers_arrive_each_under_its_own_key(sending: Sending) -> None:
    family = sending.measures.family("many", COUNTER)

    def arrived(rounds: int) -> bool:
        wanted = {
            MeasureKey("many", COUNTER, "1", (("name", str(n)),)): rounds * (n + 1)
            for n in range(20)
        }
        return {key: delta.sum for key, delta in sending.peer.measures().items()} == wanted

    for round_ in range(3):
        for n in range(20):
            family.at((("name", str(n)),)).add(n + 1)
            if n % 5 == 4:
                assert sending.emitter.flush(5)
        sending.peer.wait(lambda round_=round_: arrived(round_ + 1), "all measures")  # type: ignore[misc]
        # Numbers begin anew with each connection.
        sending.peer.cut()


def test_a_remembered_route_that_was_let_go_of_is_asked_for_again(measured: Measured) -> None:
    class Route:
        path_format = path = "/items/{id}"

    route = Route()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["route"] = route
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    wrapped = measured.asgi(app)
    call(wrapped)
    known = route.trimtab_route[1]  # type: ignore[attr-defined]
    assert known.id > 0
    measured.peer.wait_records(1)
    before = known.id
    PROCESS.routes._table.discard("/items/{id}")
    PROCESS.routes._retire(known)
    for _ in range(3):
        call(wrapped)
    seen = measured.records(4)
    assert [each.template for each in seen] == ["/items/{id}"] * 4
    assert route.trimtab_route[1].id not in (-1, before)  # type: ignore[attr-defined]
