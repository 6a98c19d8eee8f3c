"""Old windows are merged before any is dropped, and nothing of their sums is lost by that."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.stores.batches import a_batch, accounting_of, key_of, point_of
from trimtab_agent.spool.regroup import halved, is_only_of, merged, parted, points_of
from trimtab_agent.spool.spool import Spool, SpooledBatch
from trimtab_core.batches import Batch, GaugeRow, Point, SeriesKey, decode, encode
from trimtab_core.columns import POINT_COLUMNS
from trimtab_core.errors import BatchError, TooLargeError

START_S = 1_799_999_400  # a whole ten minutes, not a whole hour
SUMS = [name for name in POINT_COLUMNS[1:-1] if name != "max_us"]
CODES = st.sampled_from((0, 200, 201, 404, 499))


def sums(batches: list[Batch]) -> dict[SeriesKey, Counter[str | int]]:
    """Return all that adds up, by series: columns by name, the sketch by bucket, codes."""
    found: dict[SeriesKey, Counter[str | int]] = {}
    for batch in batches:
        for key, point in points_of(batch):
            counter = found.setdefault(key, Counter())
            counter.update({name: getattr(point, name) for name in SUMS})
            counter.update(point.buckets)
            counter.update({f"status {code}": n for code, n in point.statuses.items()})
    return {key: +counter for key, counter in found.items()}


def most_us(batches: list[Batch]) -> dict[SeriesKey, int]:
    found: dict[SeriesKey, int] = {}
    for batch in batches:
        for key, point in points_of(batch):
            found[key] = max(found.get(key, 0), point.max_us)
    return found


def claimed_by(batches: list[Batch]) -> dict[bytes, tuple[set[int], int, dict[str, int]]]:
    """Return per process: numbers claimed, the highest sent, the most dropped by reason."""
    found: dict[bytes, tuple[set[int], int, dict[str, int]]] = {}
    for batch in batches:
        for each in batch.processes:
            numbers, sent, dropped = found.get(each.process, (set(), 0, {}))
            claimed = [n for first, count in each.ranges for n in range(first, first + count)]
            assert numbers.isdisjoint(claimed)
            reasons = {*dropped, *each.dropped}
            found[each.process] = (
                numbers | set(claimed),
                max(sent, each.sent),
                {r: max(dropped.get(r, 0), each.dropped.get(r, 0)) for r in reasons},
            )
    return found


@st.composite
def windows(draw: st.DrawFn, instances: int = 3) -> list[Batch]:
    """Draw the windows of some minutes of one agent, with accounting that matches the points."""
    batches = []
    taken: Counter[int] = Counter()
    sizes = st.integers(0, 2**32 - 1)
    for index in range(draw(st.integers(1, 8))):
        points: dict[SeriesKey, Point] = {}
        processes = []
        for instance in draw(st.sets(st.integers(0, instances - 1), min_size=1)):
            before = taken[instance]
            for route in draw(st.sets(st.sampled_from("abc"), min_size=1)):
                durations = draw(st.lists(st.integers(0, 2**32 - 1), max_size=4))
                key = key_of(f"/{route}", instance=f"host#{instance}")
                points[key] = point_of(
                    durations, bytes=draw(sizes), db_us=draw(sizes), backgrounds=draw(st.just(2))
                )
                for code in draw(st.lists(CODES, max_size=len(durations))):
                    points[key].statuses[code] = points[key].statuses.get(code, 0) + 1
                taken[instance] += len(durations) + 2
            claim = accounting_of(
                [(before, taken[instance] - before)],
                sent=taken[instance],
                dropped={draw(st.sampled_from(("agent_away", "slow"))): draw(st.integers(0, 9))},
                process=b"process%d" % instance,
            )
            processes.append(claim._replace(instance=f"host#{instance}"))
        gauges = [GaugeRow("test", "shop", "host#0", "cpu", draw(st.floats(0, 1)))]
        batches.append(
            a_batch(
                index + 5,
                points,
                window_s=START_S + index * 10,
                closed_us=index,
                processes=processes,
                gauges=gauges,
            )
        )
    return batches


@settings(max_examples=60, deadline=None)
@given(windows(), st.sampled_from((60, 600, 3600)), st.randoms())
def test_a_merged_batch_is_the_sum_of_its_parts(
    parts: list[Batch], step_s: int, order: object
) -> None:
    parts = [part for part in parts if part.window_s // step_s == START_S // step_s]
    shuffled = list(parts)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    whole = decode(encode(merged(shuffled, step_s)))
    assert (whole.agent, whole.boot, whole.seq) == (parts[0].agent, parts[0].boot, 5)
    assert (whole.window_s, whole.step_s) == (START_S // step_s * step_s, step_s)
    assert sums([whole]) == sums(parts)
    assert most_us([whole]) == most_us(parts)
    assert claimed_by([whole]) == claimed_by(parts)
    assert list(whole.gauges) == list(parts[-1].gauges)
    assert whole.closed_us == parts[-1].closed_us


@settings(max_examples=60, deadline=None)
@given(windows(), st.integers(1, 6))
def test_halves_are_together_what_the_whole_was_and_each_claims_what_it_holds(
    parts: list[Batch], depth: int
) -> None:
    whole = merged(parts, 3600)
    samples = sum(sum(point.buckets.values()) for _, point in points_of(whole))
    pieces = [(encode(whole), samples)]
    for _ in range(depth):
        pieces = [half for piece in pieces for half in halved(*piece) or [piece]]
    cut = [decode(payload) for payload, _ in pieces]
    assert len({batch.seq for batch in cut}) == len(cut)
    assert sums(cut) == sums([whole])
    assert claimed_by(cut) == claimed_by([whole])
    assert sorted(gauge for batch in cut for gauge in batch.gauges) == sorted(whole.gauges)
    assert sum(count for _, count in pieces) == samples
    for batch in cut:
        held = sum(sum(p.buckets.values()) + p.backgrounds for _, p in points_of(batch))
        claimed = sum(count for each in batch.processes for _, count in each.ranges)
        assert held == claimed


def test_halves_are_cut_between_instances_and_cutting_again_makes_the_same() -> None:
    points = {
        key_of(f"/{route}", instance=f"host#{instance}"): point_of([1000])
        for instance, routes in enumerate(("abcd", "efg", "h"))
        for route in routes
    }
    claims = [
        accounting_of([(0, len(routes))], process=b"process%d" % n)._replace(instance=f"host#{n}")
        for n, routes in enumerate(("abcd", "efg", "h"))
    ]
    payload = encode(a_batch(7, points, processes=claims))
    first = halved(payload, 8)
    assert first is not None
    assert first == halved(payload, 8)
    left, right = (decode(data) for data, _ in first)
    assert [count for _, count in first] == [4, 4]
    assert {key.instance for key, _ in points_of(left)} == {"host#0"}
    assert [each.instance for each in left.processes] == ["host#0"]
    assert [each.instance for each in right.processes] == ["host#1", "host#2"]
    assert left.seq == 7
    assert right.seq != 7


def test_what_is_of_one_service_parts_from_the_rest_with_all_that_is_its() -> None:
    points = {
        key_of(f"/{n}", service=service, instance=f"{service}#0"): point_of([1000])
        for service in ("good", "evil")
        for n in range(2)
    }
    claims = [
        accounting_of([(0, 2)], process=service.encode().ljust(8))._replace(
            service=service, instance=f"{service}#0"
        )
        for service in ("good", "evil")
    ]
    gauges = [GaugeRow("test", "evil", "evil#0", "x", 1.0), GaugeRow("", "", "host", "y", 2.0)]
    payload = encode(a_batch(7, points, processes=claims, gauges=gauges))
    parts = parted(payload, 4, "test", "evil")
    assert parts is not None
    assert parts == parted(payload, 4, "test", "evil")
    rest, its = (decode(data) for data, _ in parts)
    assert [count for _, count in parts] == [2, 2]
    assert {key.service for key, _ in points_of(rest)} == {"good"}
    assert ([each.service for each in rest.processes], rest.gauges) == (["good"], gauges[1:])
    assert ([each.service for each in its.processes], its.gauges) == (["evil"], gauges[:1])
    assert rest.seq == 7 != its.seq
    assert is_only_of(parts[1][0], "test", "evil")
    assert not is_only_of(parts[0][0], "test", "evil")
    assert parted(*parts[1], "test", "evil") is None
    assert parted(*parts[0], "test", "evil") is None
    assert parted(b"garbage", 1, "test", "evil") is None


def test_a_batch_of_one_point_and_what_is_no_batch_have_no_halves() -> None:
    assert halved(encode(a_batch(1)), 1) is None
    assert halved(b"garbage", 1) is None


def test_what_is_over_the_bounds_of_a_batch_or_malformed_is_not_merged() -> None:
    many = [
        a_batch(n, {key_of(f"/{n}/{route}"): point_of([1]) for route in range(2100)})
        for n in range(2)
    ]
    with pytest.raises(TooLargeError):
        merged(many, 60)
    long = [
        a_batch(
            n, processes=[accounting_of([(2 * i, 1) for i in range(8000 * n, 8000 * n + 8000)])]
        )
        for n in range(2)
    ]
    with pytest.raises(TooLargeError):
        merged(long, 60)
    whole = a_batch(1)
    broken = Batch("a", b"bootboot", 1, whole.window_s, 10, 1, b"\x90", 1, whole.columns)
    with pytest.raises(BatchError):
        merged([broken, broken], 60)


# In the spool


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool", 200_000)
    yield opened
    opened.close()


def put(spool: Spool, number: int, parts: int = 1) -> None:
    """Append a window of ten seconds: a batch for each part, of an instance of its own."""
    for part in range(parts):
        instance = f"host#{part}"
        points = {key_of(f"/{n}", instance=instance): point_of([n, number]) for n in range(40)}
        batch = a_batch(
            number * parts + part,
            points,
            window_s=START_S + 10 * number,
            processes=[accounting_of([(80 * number, 80)])._replace(instance=instance)],
        )
        spool.append(encode(batch), samples=80, window_s=batch.window_s)


def drain(spool: Spool, *, newest: bool = False) -> list[Batch]:
    entries: list[SpooledBatch] = []
    while entry := spool.next(newest=newest):
        entries.append(entry)
    for entry in entries:
        spool.release(entry, tried=False)
    return [decode(entry.payload) for entry in entries]


def test_near_its_bound_a_spool_gives_up_resolution_and_no_data(spool: Spool) -> None:
    count = 1400
    for number in range(count):
        put(spool, number)
    batches = drain(spool)
    assert not spool.stats.dropped_batches
    assert spool.stats.disk_bytes <= 200_000
    assert (
        sum(sum(point.buckets.values()) for b in batches for _, point in points_of(b)) == 80 * count
    )
    assert claimed_by(batches)[b"process1"][0] == set(range(80 * count))
    assert count == spool.stats.held_batches + spool.stats.coarsened
    assert {600, 60, 10} <= {batch.step_s for batch in batches}
    assert len({batch.seq for batch in batches}) == len(batches)
    windows_s = [batch.window_s for batch in batches]
    assert windows_s == sorted(windows_s)


def test_the_newest_batch_is_still_the_first_of_the_fresh_lane(spool: Spool) -> None:
    for number in range(500):
        put(spool, number)
    assert spool.stats.coarsened
    newest, oldest = spool.next(newest=True), spool.next(newest=False)
    assert newest is not None
    assert oldest is not None
    assert newest.window_s == START_S + 4990
    assert oldest.window_s // 600 == START_S // 600


def test_parts_of_a_window_are_merged_with_their_like(spool: Spool) -> None:
    for number in range(200):
        put(spool, number, parts=3)
    coarse = [batch for batch in drain(spool) if batch.step_s == 60]
    assert coarse
    for batch in coarse:
        assert len({key.instance for key, _ in points_of(batch)}) == 1


def test_a_batch_that_may_have_arrived_is_never_merged(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 400_000)
    sent = set()
    for number in range(800):
        put(spool, number)
        if number % 20 == 0:
            entry = spool.next(newest=True)
            assert entry is not None
            sent.add(decode(entry.payload).seq)
            spool.release(entry)
    assert spool.stats.coarsened
    fine = {batch.seq for batch in drain(spool) if batch.step_s == 10}
    assert sent <= fine
    assert not spool.stats.dropped_batches
    # A clean stop keeps the marks: the same ones are left alone by the next agent.
    spool.close()
    spool = Spool(tmp_path / "spool", 400_000)
    before = spool.stats.held_batches
    for number in range(800, 1100):
        put(spool, number)
    assert before + 300 == spool.stats.held_batches + spool.stats.coarsened
    fine = {batch.seq for batch in drain(spool) if batch.step_s == 10}
    assert sent <= fine
    spool.close()


def test_what_a_killed_agent_left_is_not_merged(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 400_000)
    for number in range(60):
        put(spool, number)
    spool.close()
    (tmp_path / "spool" / "untried").unlink()
    spool = Spool(tmp_path / "spool", 60_000)
    before = {batch.seq for batch in drain(spool)}
    while spool.coarsen():
        pass
    assert {batch.seq for batch in drain(spool)} == before
    assert not spool.stats.coarsened
    spool.close()


def test_a_list_of_marks_that_is_not_whole_is_not_believed(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 40_000)
    put(spool, 1)
    spool.close()
    marks = tmp_path / "spool" / "untried"
    data = bytearray(marks.read_bytes())
    data[-1] ^= 1
    marks.write_bytes(data)
    spool = Spool(tmp_path / "spool", 40_000)
    assert not marks.exists()
    entry = spool.next(newest=True)
    assert entry is not None
    assert entry.tried
    spool.close()


def test_a_restart_after_merging_finds_each_record_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 400_000)
    for number in range(700):
        put(spool, number)
    assert spool.stats.coarsened
    for companion in (tmp_path / "spool").glob("*.acks"):
        companion.unlink()  # only the names in the merged batches tell what they stand in for
    spool.close()
    spool = Spool(tmp_path / "spool", 400_000)
    assert claimed_by(drain(spool))[b"process1"][0] == set(range(80 * 700))
    spool.close()
