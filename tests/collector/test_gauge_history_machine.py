"""The history of gauges against every value that was sent, whatever is done to the store.

Batches arrive late, twice and out of order; compaction is cut short before its commits, between
them and before the journal has changed; the store is reopened with much memory and with little.
12 histories in every run; TEST_DEPTH multiplies them (support/laws.py).
"""

import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from support.clock import Clock
from support.laws import histories
from support.stores.appending import append
from support.stores.batches import a_batch
from support.stores.gaugeoracle import GaugeOracle, ask, check
from trimtab_collector.storage import steps
from trimtab_collector.storage.gaugepoints import GaugeKey
from trimtab_collector.storage.sqlite import compactor, gaugefile
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_collector.storage.store import GaugeSelection
from trimtab_core.batches import Batch, GaugeRow

DAY = 86_400
HOUR = 3600
STARTS = (1_700_006_400, 1_704_067_207, 1_709_251_199)
WHERE = ("environment", "service", "instance", "agent")
NAMES = ("memory", "cpu", "load")
FINE_S = 2 * DAY
#: gauges are compared when all tiers that may answer have windows that lie in one hour
LATE_S = 7 * DAY

gauges = st.builds(
    GaugeRow,
    st.sampled_from(("prod", "")),
    st.sampled_from(("shop", "")),
    st.sampled_from(("host#0", "host#1")),
    st.sampled_from(NAMES),
    # Sums of these are exact, whatever is added first.
    st.one_of(st.integers(-5, 5), st.integers(-(2**30), 2**30)).map(lambda value: value / 4),
)


# Functions with names: of a lambda, Hypothesis parses the source at every step, and ast.parse of
# CPython 3.11 may fail ("recursion depth mismatch") while another thread is there.
def has_sent(machine: "GaugeMachine") -> bool:
    return bool(machine.sent)


class GaugeMachine(RuleBasedStateMachine):
    """Drives a store beside an oracle."""

    @initialize(start_s=st.sampled_from(STARTS), roomy=st.booleans())
    def begin(self, start_s: int, roomy: bool) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="tt-")
        self.clock = Clock(start_s)
        self.oracle = GaugeOracle()
        self.sent: list[Batch] = []
        self.open(roomy)

    def open(self, roomy: bool) -> None:
        self.store = SQLiteStore(
            Path(self.directory.name),
            clock=self.clock,
            retention=Retention(FINE_S, 20 * DAY, 400 * DAY),
            recent_bytes=64 * 1024 * 1024 if roomy else 20_000,
        )

    @property
    def now_s(self) -> int:
        return int(self.clock.now_s)

    @rule(data=st.data(), count=st.integers(1, 5))
    def send(self, data: st.DataObject, count: int) -> None:
        self._send(data, count, -60)

    def _send(self, data: st.DataObject, count: int, least_s: int) -> None:
        late = st.integers(least_s, least_s + 1000), st.integers(least_s, LATE_S - 70)
        for _ in range(count):
            step_s = data.draw(st.sampled_from((10, 10, 10, 1, 60)))
            back_s = data.draw(st.one_of(*late, st.just(2 * HOUR)))
            window_s = (self.now_s - back_s) // step_s * step_s
            found = data.draw(st.lists(gauges, max_size=6, unique_by=lambda gauge: gauge[:4]))
            batch = a_batch(
                len(self.sent),
                {},
                agent=data.draw(st.sampled_from(("agent-1", "agent-2"))),
                window_s=window_s,
                step_s=step_s,
                closed_us=(window_s + step_s) * 1_000_000,
                gauges=found,
            )
            self.sent.append(batch)
            self.oracle.add(batch)
            assert append(self.store, batch) == [False]
        self._compare_all()

    @precondition(has_sent)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        recent = [batch for batch in self.sent if batch.window_s >= self.now_s - LATE_S]
        if recent:
            assert append(self.store, data.draw(st.sampled_from(recent))) == [True]

    @rule(seconds=st.sampled_from((1, 10, 59, 900, 1000, HOUR, 6 * HOUR, DAY, 3 * DAY)))
    def wait(self, seconds: int) -> None:
        self.clock.now_s += seconds

    @rule()
    def compact(self) -> None:
        self.store.compact(self.clock.now_s)
        self._compare_all()

    @rule(
        data=st.data(),
        steps=st.integers(0, 3),
        how=st.sampled_from(("prepared", "half", "committed")),
    )
    def compact_and_be_killed(self, data: st.DataObject, steps: int, how: str) -> None:
        """Go as far as a process may that is killed: prepared, committed, not yet applied."""
        self._send(data, 3, HOUR)
        store = self.store
        tiering = store.tiering
        tiering.tidy(self.clock.now_s)
        worker = compactor.Compactor(store.directory, 200_000)
        with compactor.locked(store.directory, 10):
            todo = worker.steps(
                self.clock.now_s, tiering.cutoff_s(self.clock.now_s), tiering.floors()
            )
            for number, (step, commit) in enumerate(todo):
                if number < steps:
                    with tiering.publication.moving():
                        commit()
                        tiering.apply(step)
                    continue
                if how == "committed":
                    commit()
                elif how == "half" and step.what == "merge":
                    unit = commit.__self__  # type: ignore[attr-defined]
                    next(iter(unit._files.values())).connection.execute("COMMIT")
                break
            todo.close()  # type: ignore[attr-defined]
        self._compare_all()

    @rule(roomy=st.booleans())
    def reopen(self, roomy: bool) -> None:
        self.store.close()
        self.open(roomy)
        self._compare_all()

    @rule()
    def read_while_it_compacts(self) -> None:
        failures: list[BaseException] = []

        def work() -> None:
            try:
                self.store.compact(self.clock.now_s)
            except BaseException as error:  # told in the thread of the test
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            self._compare_all()
            while thread.is_alive():
                self._compare_all()
        finally:
            thread.join()
        assert not failures, failures

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        for _ in range(4):
            self._compare(data.draw(self._selections()))

    def _selections(self) -> st.SearchStrategy[GaugeSelection]:
        hour_s = self.now_s // HOUR * HOUR
        hours = st.integers(-40 * 24, 1).map(lambda number: hour_s + number * HOUR)
        # Where all windows of 10 s are kept, edges may lie anywhere.
        floor_s = self.store.tiering.floors()["10s"]
        times = st.integers(floor_s, self.now_s + 60)
        edges = st.one_of(
            *(st.sets(each, min_size=2, max_size=9) for each in (hours, times)),
            st.tuples(times, st.sampled_from((1, 7, 10, 60, 600))).map(
                lambda row: set(range(row[0], row[0] + 30 * row[1], row[1]))
            ),
        )
        return st.builds(
            GaugeSelection,
            edges.map(lambda found: tuple(sorted(found))),
            st.none() | st.sets(st.sampled_from((*NAMES, "none"))).map(tuple),
            st.dictionaries(
                st.sampled_from(WHERE),
                st.sampled_from(("shop", "host#1", "agent-1", "")),
                max_size=2,
            ),
            st.permutations(GaugeKey._fields).flatmap(
                lambda names: st.integers(1, 5).map(
                    lambda count: (*[n for n in names if n != "name"][: count - 1], "name")
                )
            ),
        )

    def _compare_all(self) -> None:
        self._compare(GaugeSelection((0, 2**32 - 1)))

    def _compare(self, selection: GaugeSelection) -> None:
        check(ask(self.store, selection), self.oracle.answer(selection))

    def teardown(self) -> None:
        if hasattr(self, "store"):
            try:
                self._compare_all()
            finally:
                self.store.close()
                self.directory.cleanup()


_settings = histories(12, 25)


def test_whatever_happens_gauges_are_what_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    # So small that a few gauges are many sets of several chunks, merged piece by piece.
    for module, name, value in (
        (gaugefile, "_MANY", 3),
        (gaugefile, "_MOST_POINTS", 3),
        (gaugefile, "_HELD", 5),
        (steps, "_GATHER", 10),
        (compactor, "_AGAIN_S", 0.0),
    ):
        monkeypatch.setattr(module, name, value)
    run_state_machine_as_test(GaugeMachine, settings=_settings)
