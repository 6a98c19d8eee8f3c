"""Any store against counting by hand, whatever is done to it in whatever order.

Batches arrive late, twice and out of order, clocks stand still and leap by weeks, the store is
compacted and reopened, and reads ask for anything: each answer is the oracle's, to the bit.
STORE_EXAMPLES sets how many histories are tried.
"""

import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engines import ENGINES, Clock, Engine, Sent, accounts, append, ask
from oracle import Oracle, check
from storecases import DAY_S, LATE_S, STARTS, batches, selections
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import SeriesKey

#: one row a series over all time
EVERYTHING = Selection((0, 2**32), SeriesKey._fields)


class StoreMachine(RuleBasedStateMachine):
    """Drives an engine beside an oracle."""

    make: Callable[[], Engine]

    def __init__(self) -> None:
        super().__init__()
        self.engine = self.make()
        self.oracle = Oracle()
        self.sent: list[Sent] = []

    @initialize(start_s=st.sampled_from(STARTS), roomy=st.booleans())
    def begin(self, start_s: int, roomy: bool) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="tt-")
        self.clock = Clock(start_s)
        self.engine.open(Path(self.directory.name), self.clock, roomy=roomy)

    @property
    def now_s(self) -> int:
        return int(self.clock.now_s)

    # What agents do

    @rule(data=st.data(), count=st.integers(1, 6))
    def send(self, data: st.DataObject, count: int) -> None:
        new: dict[tuple[str, bytes, int], Sent] = {}
        for _ in range(count):
            sent = data.draw(batches(self.now_s, st.integers(0, 200)))
            name = (sent.batch.agent, sent.batch.boot, sent.batch.seq)
            # An agent numbers on: a number comes again soon, or never.
            if self.oracle.names.get(name, self.now_s) >= self.now_s - LATE_S:
                new[name] = sent
        self._send(list(new.values()))
        self.sent += new.values()

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), count=st.integers(1, 6))
    def repeat(self, data: st.DataObject, count: int) -> None:
        recent = [s for s in self.sent if s.batch.window_s - 10 >= self.now_s - LATE_S]
        if recent:
            self._send([data.draw(st.sampled_from(recent)) for _ in range(count)])

    def _send(self, sent: list[Sent]) -> None:
        expected = [self.oracle.add(each.batch, each.points) for each in sent]
        for each in sent:
            self.oracle.note_held(each.batch, each.held)
        assert append(self.engine, *sent) == expected
        self._compare(EVERYTHING)

    # What time and the collector do

    @rule(seconds=st.sampled_from((1, 10, 59, 600, 900, 3600, 6 * 3600, 86_400)))
    def wait(self, seconds: int) -> None:
        self.clock.now_s += seconds

    @rule(days=st.sampled_from((1, 2, 3, 6, 13, 21)))
    def leap(self, days: int) -> None:
        self.clock.now_s += days * DAY_S

    @rule()
    def compact(self) -> None:
        self.engine.store.compact(self.clock.now_s)
        self._compare(EVERYTHING)

    @rule()
    def settle(self) -> None:
        self.engine.settle()
        self._compare(EVERYTHING)

    @rule(data=st.data())
    def read_while_it_settles(self, data: st.DataObject) -> None:
        selection = data.draw(selections(self.now_s))
        failures: list[BaseException] = []

        def work() -> None:
            try:
                self.engine.settle()
            except BaseException as error:  # told in the thread of the test
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            self._compare(selection)
            while thread.is_alive():
                self._compare(selection)
        finally:
            thread.join()
        assert not failures, failures
        self._compare(selection)

    @rule()
    def reopen(self) -> None:
        self.engine.reopen()
        self.oracle.reopened()
        self._compare(EVERYTHING)

    # What readers do

    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        for _ in range(4):
            self._compare(data.draw(selections(self.now_s)))

    @invariant()
    def accounts_are_whole(self) -> None:
        if hasattr(self, "clock"):
            assert accounts(self.engine) == self.oracle.accounts()

    def teardown(self) -> None:
        if not hasattr(self, "clock"):
            return
        try:
            self._compare(EVERYTHING)
        finally:
            self.engine.close()
            self.directory.cleanup()

    def _compare(self, selection: Selection) -> None:
        answer = ask(self.engine, selection)
        check(self.oracle, selection, answer, self.engine.tiers, self.clock.now_s)


_settings = settings(
    database=None,
    max_examples=int(os.environ.get("STORE_EXAMPLES", "40")),
    stateful_step_count=30,
    derandomize="CI" in os.environ,
    # Making a failure small takes minutes: that is for who looks into it.
    phases=[Phase.generate] if "CI" in os.environ else list(Phase),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_whatever_happens_answers_are_those_of_counting_by_hand(
    engine: Callable[[], Engine],
) -> None:
    machine = type("Machine", (StoreMachine,), {"make": staticmethod(engine)})
    run_state_machine_as_test(machine, settings=_settings)
