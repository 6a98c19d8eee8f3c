"""What every store must keep to with batches: names, limits, repeats, and who hears of a commit."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append, received
from support.stores.batches import a_batch, accounting_of, key_of, point_of
from support.stores.engines import NOON, Engine, Pair
from trimtab_collector.storage.store import Received, Selection, Store, UnavailableError
from trimtab_core.batches import Batch, SeriesKey
from trimtab_core.columns import Column
from trimtab_core.errors import BatchError

DAY_S = 86_400
Make = Callable[[], Engine]


@contextmanager
def opened(
    make: Make,
    directory: Path,
    clock: Clock,
    max_series: int = 200_000,
    most_bytes: int = 1024**3,
) -> Iterator[Engine]:
    engine = make()
    engine.open(directory, clock, max_series=max_series, most_bytes=most_bytes)
    try:
        yield engine
    finally:
        engine.close()


def read(store: Store, *group_by: str, days: int = 400) -> dict[tuple[str, ...], int]:
    """Return the requests of each group, over all time."""
    rows = store.read(Selection((NOON - days * DAY_S, NOON + days * DAY_S), group_by))
    requests = rows.columns.value("requests").tolist()
    return {rows.groups[group]: n for group, n in zip(rows.group.tolist(), requests, strict=True)}


# ---------------------------------------------------------------- repeats


def test_a_number_is_one_batch_of_one_start_of_one_agent(pair: Pair) -> None:
    store = pair.engine.store
    same = a_batch(1, window_s=NOON - 10)
    others = [replace(same, agent="agent-2"), replace(same, boot=b"boot-two"), replace(same, seq=2)]
    assert append(store, same, *others) == [False] * 4
    # Named the same, it is the same: its content is not looked at.
    again = a_batch(1, {key_of("/other"): point_of([1] * 9)}, window_s=NOON - 600)
    assert append(store, again, same) == [True, True]
    assert read(store) == {(): 4}
    assert (store.health().batches, store.health().duplicates) == (4, 2)


def test_of_repeats_at_the_same_time_one_counts(pair: Pair) -> None:
    batch = a_batch(7, window_s=NOON - 10, processes=[accounting_of([(0, 1)], 1)])
    assert sorted(append(pair.engine.store, *[batch] * 20)) == [False] + [True] * 19
    assert read(pair.engine.store) == {(): 1}
    (services,) = pair.engine.store.accounting()
    assert (services.counted, services.requests) == (1, 1)


def test_numbers_that_were_left_out_may_still_come(pair: Pair) -> None:
    store = pair.engine.store
    append(store, *[a_batch(n, window_s=NOON - 10) for n in (1, 2, 7)])
    for _ in range(2):
        pair.clock.now_s += DAY_S
        pair.engine.settle()
        pair.reopen()
    store = pair.engine.store
    found = append(store, *[a_batch(n, window_s=NOON - 10) for n in range(9)])
    assert found == [False, True, True, False, False, False, False, True, False]
    assert read(store) == {(): 9}


# ---------------------------------------------------------------- names


class RefusedError(Exception):
    """What `admit` raises here."""


def refuse(_services: Iterable[tuple[str, str]]) -> None:
    raise RefusedError


def test_services_are_shown_before_a_name_is_kept_and_each_time(pair: Pair) -> None:
    store = pair.engine.store
    keys = [key_of("/a"), key_of("/b"), key_of(service="bank"), key_of(environment="prod")]
    batch = a_batch(0, {key: point_of([1]) for key in keys}, window_s=NOON - 10)
    with pytest.raises(RefusedError):
        store.number(batch, NOON - 10, refuse)
    assert store.health().series == 0
    shown: list[set[tuple[str, str]]] = []
    for _ in range(2):
        numbered = store.number(batch, NOON - 10, lambda services: shown.append(set(services)))
    assert shown == [{("test", "shop"), ("test", "bank"), ("prod", "shop")}] * 2
    assert [numbered.services[place] for place in numbered.service.tolist()] == [
        key[:2] for key in keys
    ]
    assert store.health().series == 4
    with pytest.raises(RefusedError):
        store.number(batch, NOON - 10, refuse)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("series", b"\xff"),
        ("series", b"\x91\x91\xa1x"),
        ("series", b"\x90"),
        ("indexes", Column("H", (5000).to_bytes(2, "little"))),
        ("counts", Column("B", b"\0")),
    ],
    ids=["garbage", "one text", "no series", "no such bucket", "an empty bucket"],
)
def test_a_malformed_batch_keeps_no_name(pair: Pair, name: str, damage: bytes | Column) -> None:
    store, batch = pair.engine.store, a_batch(0, window_s=NOON - 10)
    if isinstance(damage, bytes):
        broken = replace(batch, series=damage)
    else:
        broken = replace(batch, columns={**batch.columns, name: damage})
    with pytest.raises(BatchError):
        store.number(broken, NOON - 10, lambda _: None)
    assert store.health().series == 0
    assert append(store, batch) == [False]


def test_series_over_the_limit_are_other_and_none_is_lost(make: Make, tmp: Path) -> None:
    clock = Clock(NOON)
    with opened(make, tmp, clock, max_series=3) as engine:
        for n in range(6):
            points = {key_of(f"/{n}", status_class=text): point_of([1]) for text in ("2xx", "5xx")}
            append(engine.store, a_batch(n, points, window_s=NOON - 10))
        named = {("/0", "2xx"): 1, ("/0", "5xx"): 1, ("/1", "2xx"): 1}
        for _ in range(2):
            found = read(engine.store, "route", "status_class")
            assert sum(found.values()) == 12
            assert {name: found[name] for name in named} == named
            assert {name[0] for name in found} == {"/0", "/1", "other"}
            assert found["other", "2xx"] + found["other", "5xx"] == 9
            clock.now_s += 3_600
            engine.settle()
        assert read(engine.store, "service") == {("shop",): 12}


def test_names_of_what_is_gone_make_room_for_new_ones(make: Make, tmp: Path) -> None:
    """A year with a deploy a month: 104 series in all, under a limit of 40."""
    clock = Clock(NOON)
    with opened(make, tmp, clock, max_series=40) as engine:
        for month in range(13):
            clock.now_s = NOON + month * 30 * DAY_S
            keys = [key_of(f"/{n}", version=str(month), instance=f"pod-{month}") for n in range(8)]
            points = {key: point_of([1]) for key in keys}
            window_s = int(clock.now_s) - 10
            append(engine.store, a_batch(month, points, window_s=window_s))
            selection = Selection((window_s, window_s + 10), ("route", "instance"))
            rows = engine.store.read(selection)
            found = {rows.groups[group] for group in rows.group.tolist()}
            assert found == {(key.route, key.instance) for key in keys}
            clock.now_s += 7200
            engine.settle()


def test_a_batch_that_was_numbered_before_names_went_has_its_own_names(
    make: Make, tmp: Path
) -> None:
    clock = Clock(NOON)
    with opened(make, tmp, clock, max_series=6) as engine:
        store = engine.store
        points = {key_of(f"/{n}"): point_of([1] * n) for n in (3, 1, 2)}
        old = {key_of(f"/old/{n}"): point_of([1]) for n in range(2)}
        append(store, a_batch(0, {**points, **old}, window_s=NOON - 10))
        clock.now_s += 100 * DAY_S
        window_s = int(clock.now_s) - 10
        live = a_batch(1, {key_of("/1"): point_of([1])}, window_s=window_s, step_s=1, live=True)
        late = [received(store, a_batch(2, points, window_s=window_s)), received(store, live)]
        append(store, a_batch(3, {key_of("/4"): point_of([1] * 4)}, window_s=window_s))
        engine.settle()
        # By now other series have the numbers that these were given.
        append(store, a_batch(4, {key_of("/5"): point_of([1] * 5)}, window_s=window_s))
        assert asyncio.run(_append(store, late[0])) is False
        store.show(late[1])
        edges = (window_s, window_s + 10)
        for is_live, expected in ((False, "12345"), (True, "1")):
            rows = store.read(Selection(edges, ("route",), live=is_live))
            found = [rows.groups[group] for group in rows.group.tolist()]
            counts = rows.columns.value("requests").tolist()
            assert dict(zip(found, counts, strict=True)) == {(f"/{n}",): int(n) for n in expected}


# ---------------------------------------------------------------- room


def test_what_there_is_no_room_for_is_refused_and_taken_when_there_is(
    make: Make, tmp: Path
) -> None:
    clock = Clock(NOON)
    with opened(make, tmp, clock, most_bytes=40_000) as engine:
        store = engine.store
        routes = [SeriesKey("test", "shop", "1", "h", f"/{n}", "GET", "2xx") for n in range(50)]
        points = {key: point_of([n]) for n, key in enumerate(routes, 1)}
        batches = [
            a_batch(
                n, points, window_s=NOON - 10 - 10 * n, processes=[accounting_of([(n, 1)], n + 1)]
            )
            for n in range(200)
        ]
        taken = 0

        async def fill() -> None:
            nonlocal taken
            for batch in batches:
                await store.append(received(store, batch))
                taken += 1

        with pytest.raises(UnavailableError, match="send the batch again") as refused:
            asyncio.run(fill())
        assert refused.value.retry_after_s > 0
        assert 0 < taken < 200
        assert store.health().trouble
        assert read(store) == {(): 50 * taken}
        assert store.accounting()[0].counted == taken
        clock.now_s += 7200 if engine.persists else engine.tiers[-1].kept_s
        engine.settle()
        assert not store.health().trouble
        assert append(store, batches[taken]) == [False]


def test_a_store_that_is_closed_takes_nothing(make: Make, tmp: Path) -> None:
    with opened(make, tmp, Clock(NOON)) as engine:
        store, batch = engine.store, a_batch(0, window_s=NOON - 10)
        waiting = received(store, batch)
    with pytest.raises(UnavailableError, match="stopping"):
        asyncio.run(_append(store, waiting))


async def _append(store: Store, waiting: Received) -> bool:
    return await store.append(waiting)


# ---------------------------------------------------------------- commits


def test_new_batches_are_told_once_in_order_and_before_their_answer(make: Make, tmp: Path) -> None:
    told: list[tuple[int, dict[tuple[str, ...], int]]] = []
    threads: set[str] = set()
    sizes: list[int] = []
    with opened(make, tmp, Clock(NOON)) as engine:
        store = engine.store

        def listen(new: Sequence[Received]) -> None:
            sizes.append(len(new))
            threads.add(threading.current_thread().name)
            # What is told is in every read already.
            told.extend((each.batch.seq, read(store, "route")) for each in new)

        store.on_commit(listen)
        answered: list[tuple[int, bool, list[int]]] = []

        async def send(batch: Batch) -> None:
            duplicate = await store.append(received(store, batch))
            answered.append((batch.seq, duplicate, [seq for seq, _ in told]))

        async def work() -> None:
            for seq in (0, 1, 1, 2, 0):
                await send(a_batch(seq, {key_of(f"/{seq}"): point_of([1])}, window_s=NOON - 10))
            await asyncio.gather(*[send(a_batch(n, window_s=NOON - 10)) for n in (5, 4, 5, 3)])

        asyncio.run(work())
        assert [seq for seq, _ in told] == [0, 1, 2, 5, 4, 3]
        assert all((f"/{seq}",) in routes for seq, routes in told[:3])
        assert all(("/",) in routes for _, routes in told[3:])
        assert all(seq in told_by_then for seq, _, told_by_then in answered)
        assert [(seq, duplicate) for seq, duplicate, _ in answered][:5] == [
            (0, False),
            (1, False),
            (1, True),
            (2, False),
            (0, True),
        ]
        assert min(sizes) > 0
        assert threading.current_thread().name not in threads


def test_a_listener_that_fails_harms_nobody(
    make: Make, tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[int] = []
    with opened(make, tmp, Clock(NOON)) as engine:

        def fail(_new: Sequence[Received]) -> None:
            raise ValueError("not now")

        engine.store.on_commit(fail)
        engine.store.on_commit(lambda new: heard.extend(each.batch.seq for each in new))
        batches = [a_batch(n, window_s=NOON - 10) for n in range(3)]
        assert append(engine.store, *batches) == [False] * 3
        assert heard == [0, 1, 2]
        assert read(engine.store) == {(): 3}
        assert append(engine.store, *batches) == [True] * 3
        assert heard == [0, 1, 2]
    assert "a listener of commits failed" in caplog.text


def test_live_summaries_are_no_commits(pair: Pair) -> None:
    heard: list[int] = []
    store = pair.engine.store
    store.on_commit(lambda new: heard.extend(each.batch.seq for each in new))
    store.show(received(store, a_batch(1, window_s=NOON - 1, step_s=1, live=True)))
    append(store, a_batch(2, window_s=NOON - 10))
    assert heard == [2]
