"""While the collector is away, whoever writes most has what the others leave of the spool."""

import itertools
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_agent.admission import Admission, fair_shares
from trimtab_agent.aggregator import Aggregator
from trimtab_agent.app import App
from trimtab_agent.contents import Contents
from trimtab_agent.faults import Faults
from trimtab_agent.gathered import Gathered
from trimtab_agent.peers import Holder, Peer
from trimtab_agent.spool import Spool
from trimtab_agent.spool.regroup import points_of
from trimtab_agent.window import accounting_of, gauges_of
from trimtab_agent.writer import BatchWriter
from trimtab_core.batches import Batch, decode
from trimtab_core.deltas import Deltas, Events
from trimtab_core.measures import HISTOGRAM, Delta, MeasureKey
from trimtab_core.messages import Hello, Samples
from trimtab_core.records import RECORD_SIZE, Record, pack
from trimtab_core.rows import unpack_rows

BEGIN_S = 1_700_006_400

HOLDERS = st.tuples(
    st.sampled_from(["0", "1000", "1001"]),
    st.booleans(),
    st.tuples(st.integers(0, 3), st.just(""), st.just("")),
)


@given(st.dictionaries(HOLDERS, st.integers(0, 10**7), min_size=1), st.integers(0, 10**7))
def test_shares_of_a_budget_are_fair(wanted: dict[Holder, int], budget: int) -> None:
    shares = fair_shares(wanted, budget)
    assert shares.keys() == wanted.keys()
    assert sum(shares.values()) <= budget
    assert all(shares[holder] <= size for holder, size in wanted.items())
    # Nearly all is given away: a part of a byte may be left at each division.
    assert sum(shares.values()) >= min(budget, sum(wanted.values())) - 3 * len(wanted)
    # Whoever gets less than he wants has no less than another process of the same user.
    for holder, other in itertools.permutations(wanted, 2):
        if holder[:2] == other[:2] and shares[holder] < wanted[holder]:
            assert shares[holder] >= shares[other] - len(wanted)


def test_a_user_of_many_processes_has_no_more_than_one_of_a_single_process() -> None:
    many: dict[Holder, int] = {("1", True, (n, "", "")): 1000 for n in range(100)}
    one: Holder = ("2", True, (7, "", ""))
    shares = fair_shares(many | {one: 1000}, 2000)
    assert shares[one] == 1000
    assert sum(shares[holder] for holder in many) == 1000
    few = fair_shares(many | {one: 5000}, 2000)
    assert few[one] == 1000


class World:
    """An agent's windows, one after the other, into a spool; two apps of one user."""

    def __init__(self, directory: Path, spool_bytes: int) -> None:
        self.spool = Spool(directory / "spool", spool_bytes)
        self.aggregator, self.gathered = Aggregator(10, 10_000), Gathered()
        self.now_s = float(BEGIN_S)
        # What is the same again and again, or all alike, takes next to no room.
        self.random = random.Random(13)
        #: what was added to histograms, by service
        self.measured = Counter[str]()
        self.apps: dict[bytes, App] = {}
        self.quiet, self.flood = self._app("quiet", 1), self._app("flood", 2)
        self.writer = BatchWriter(
            self.spool, "agent", os.urandom(8), 10, lambda: None, Faults(), self.apps
        )
        self.writer.admission = Admission(self.spool, 10, lambda: self.now_s)

    def _app(self, service: str, process: int) -> App:
        hello = Hello("test", service, "1", "host", process, process.to_bytes(8, "big"))
        peer = Peer("1000", is_here=True, process=process)
        app = self.apps[hello.process] = App(hello, process, who="1000", peer=peer)
        return app

    def samples(self, app: App, routes: int, each: int = 1) -> None:
        """Have an app serve so many requests on each of so many routes."""
        app.routes = {n: f"/{app.hello.service}/{n}" for n in range(routes)}
        wall_us = int(self.now_s * 1e6)
        durations = [self.random.randrange(100, 10**6) for _ in range(each)]
        records = b"".join(
            pack(Record(n, 1, 0, 200, (n + 1) * duration // (n + 2)))
            for n in range(routes)
            for duration in durations
        )
        samples = Samples(wall_us, 0, app.end, {}, RECORD_SIZE, records)
        self.aggregator.add(app, samples, self.now_s)
        app.end += routes * each

    def histograms(self, app: App, count: int, buckets: int) -> None:
        """Have an app add to so many histograms, each of so many buckets."""
        app.measures = {
            n: MeasureKey("size", HISTOGRAM, "By", (("n", str(n)),)) for n in range(1, count + 1)
        }
        random = self.random.randrange
        wide = [{bucket: random(1, 2**20) for bucket in range(buckets)} for _ in app.measures]
        deltas = [
            (number, Delta(sum(each.values()), 1.0, 1.0, 1.0, 1.0, buckets=each))
            for number, each in zip(app.measures, wide, strict=True)
        ]
        self.measured[app.hello.service] += sum(delta.count for _, delta in deltas)
        self.gathered.add(app, Deltas(deltas), [int(self.now_s)])

    def events(self, app: App, count: int, size: int) -> None:
        """Have an app send so many events of a size."""
        events = [
            {"kind": "request", "at_us": n, "text": self.random.randbytes(size // 2).hex()}
            for n in range(count)
        ]
        self.gathered.note(app, Events(events), [1] * count)

    async def close(self) -> None:
        """Write the window, and begin the next one."""
        self.now_s += 10
        (window,) = self.aggregator.close(self.now_s)
        rows = self.gathered.take(window.start_s)
        accounting = accounting_of(window, self.apps, {})
        gauges = gauges_of(self.apps, "host", {"cpu": 1.0}, self.gathered.names.gauges)
        await self.writer.write(Contents(window, rows, accounting, gauges))

    def batches(self) -> Iterator[Batch]:
        """Yield what a collector gets, and take it from the spool."""
        while (entry := self.spool.next(newest=False)) is not None:
            yield decode(entry.payload)
            self.spool.acknowledge(entry)


def requests_in(batches: list[Batch]) -> Counter[str]:
    """Return the records that processes claim, by service."""
    claimed = Counter[str]()
    for batch in batches:
        for process in batch.processes:
            claimed[process.service] += sum(count for _, count in process.ranges)
    return claimed


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "size"), [("histograms", 16 * 2**20), ("events", 16 * 2**20), ("routes", 2**19)]
)
async def test_what_one_app_floods_pushes_nothing_of_others_out_of_the_spool(
    tmp: Path, kind: str, size: int
) -> None:
    world = World(tmp, size)
    windows = 60
    for _ in range(windows):
        world.samples(world.quiet, 20)
        world.histograms(world.quiet, 5, 20)
        world.samples(world.flood, *((3000, 8) if kind == "routes" else (1,)))
        if kind == "histograms":
            world.histograms(world.flood, 300, 600)
        elif kind == "events":
            world.events(world.flood, 120, 8000)
        await world.close()
    stats = world.spool.stats
    # Not requests: they are counted under fewer names.
    assert stats.dropped_batches.keys() == ({"share"} if kind != "routes" else set())
    assert not stats.dropped_samples.total()
    batches = list(world.batches())
    points = [each for batch in batches for each in points_of(batch)]
    for app in (world.quiet, world.flood):
        own = [(key, point) for key, point in points if key.service == app.hello.service]
        assert sum(sum(point.buckets.values()) for _, point in own) == app.end
        names = {key.route for key, _ in own}
        # Where its share is used up, even the routes of the flood are `other`.
        assert names - {"other"} == set(app.routes.values())
        assert app is world.flood or "other" not in names
    assert requests_in(batches) == {"quiet": world.quiet.end, "flood": world.flood.end}
    rows = [row for batch in batches for row in unpack_rows(batch.rows)[0]]
    kept = Counter[str]()
    for row in rows:
        kept[row.service] += row.delta.count
    assert kept["quiet"] == world.measured["quiet"]
    # What the others leave is the flood's, in each of its kinds.
    assert kept["flood"] > 0 or kind != "histograms"
    events = sum(len(unpack_rows(batch.rows)[1]) for batch in batches)
    assert events > windows or kind != "events"
    world.spool.close()


@pytest.mark.asyncio
async def test_nobody_is_cut_while_the_collector_answers(tmp: Path) -> None:
    world = World(tmp, 8 * 2**20)
    for _ in range(20):
        world.samples(world.flood, 1)
        world.histograms(world.flood, 200, 600)
        await world.close()
        assert sum(len(unpack_rows(batch.rows)[0]) for batch in world.batches()) == 200
    assert not world.spool.stats.dropped_batches
    world.spool.close()


def test_the_last_eighth_is_for_those_who_have_less_than_a_fair_share(tmp: Path) -> None:
    now_s = 0.0
    size = 4 * 2**20
    spool = Spool(tmp / "spool", size)
    admission = Admission(spool, 10, lambda: now_s)
    flood: Holder = ("1000", True, (2, "", ""))
    quiet: Holder = ("1000", True, (1, "", ""))
    limit = 0
    for _ in range(100):
        now_s += 10
        wanted = {flood: 100_000, quiet: 1000}
        limits = admission.limits(wanted) if admission.look() else {}
        assert quiet not in limits
        limit = limits.get(flood, 100_000)
        spool.append(os.urandom(limit + 1000), samples=0, window_s=BEGIN_S)
        admission.note({flood: limit, quiet: 1000}, limit + 1000)
    # In any case a little.
    assert limit == size // 2**14
    assert 0.86 < spool.stats.disk_bytes / size < 0.91
    assert admission.limits({flood: 100}) == {flood: 0}
    now_s += 10
    assert admission.limits({flood: 100}) == {}
    assert not spool.stats.dropped_batches
    # A user of his own has half of all, whatever the processes of the other one are.
    assert not admission.limits({("0", True, (9, "", "")): 2**20})
    spool.close()
