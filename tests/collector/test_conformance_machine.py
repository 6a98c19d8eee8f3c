"""Any store against counting by hand, whatever is done to it in whatever order.

Batches arrive late, twice and out of order, clocks stand still and leap by weeks, the store is
compacted and reopened, and reads ask for anything: each answer is the oracle's, to the bit.
12 histories in every run; TEST_DEPTH multiplies them (support/laws.py).
"""

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from support.laws import histories
from support.stores.engines import ENGINES, Engine, Pair, Sent
from support.stores.randomcases import DAY_S, LATE_S, STARTS, a_selection, a_sent

SEED = st.integers(0, 2**32)
SECONDS = st.sampled_from(
    (1, 10, 59, 900, 3600, 3600, 6 * 3600, 6 * 3600, *(DAY_S * days for days in (1, 1, 2, 5, 13)))
)


class StoreMachine(RuleBasedStateMachine):
    """Drives an engine and an oracle."""

    make: Callable[[], Engine]
    pair: Pair

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    @initialize(start_s=st.sampled_from(STARTS), roomy=st.booleans(), seed=SEED)
    def begin(self, start_s: int, roomy: bool, seed: int) -> None:
        self.directory = tempfile.TemporaryDirectory(prefix="tt-")
        self.pair = Pair(self.make, Path(self.directory.name), start_s, roomy=roomy)
        self.send(seed, 30)

    # What agents do

    @rule(seed=SEED, count=st.integers(1, 60))
    def send(self, seed: int, count: int) -> None:
        new: dict[tuple[str, bytes, int], Sent] = {}
        now_s, near = self.pair.now_s, self._near()
        for place in range(count):
            sent = a_sent(seed + place, now_s, near, 400)
            name = (sent.batch.agent, sent.batch.boot, sent.batch.seq)
            # An agent numbers on: a number comes again soon, or never.
            if self.pair.oracle.names.get(name, now_s) >= now_s - LATE_S:
                new[name] = sent
        repeats = self.pair.send(list(new.values()))
        # A number that came again with another window is no batch: it is never sent once more.
        self.sent += [each for each, known in zip(new.values(), repeats, strict=True) if not known]
        self.pair.compare()

    @rule(seed=SEED, count=st.integers(1, 30))
    def repeat(self, seed: int, count: int) -> None:
        recent = [s for s in self.sent if s.batch.window_s - 10 >= self.pair.now_s - LATE_S]
        if recent:
            self.pair.send(Random(seed).choices(recent, k=count))
            self.pair.compare()

    def _near(self) -> list[int]:
        return [sent.batch.window_s for sent in self.sent[-100:]]

    # What time and the collector do

    @rule(
        seconds=SECONDS,
        then=st.sampled_from(("nothing", "compact", "settle", "settle", "reopen", "both")),
    )
    def wait(self, seconds: int, then: str) -> None:
        self.pair.clock.now_s += seconds
        if then == "compact":
            self.pair.engine.store.compact(self.pair.clock.now_s)
        if then in ("settle", "both"):
            self.pair.engine.settle()
        if then in ("reopen", "both"):
            self.pair.reopen()
        self.pair.compare()

    @rule(seconds=SECONDS.filter(lambda seconds: seconds <= DAY_S), seed=SEED)
    def read_while_it_settles(self, seconds: int, seed: int) -> None:
        # What is merged while it is read is not older than the finest tier, as in a collector
        # whose compaction is never days behind.
        self.pair.engine.settle()
        self.pair.clock.now_s += seconds
        selection = a_selection(seed, self.pair.now_s, self._near())
        with ThreadPoolExecutor(1) as threads:
            settled = threads.submit(self.pair.engine.settle)
            while not settled.done():
                self.pair.compare(selection)
            settled.result()
        self.pair.compare(selection)

    # What readers do

    @rule(seed=SEED, count=st.integers(1, 15))
    def read(self, seed: int, count: int) -> None:
        for place in range(count):
            self.pair.compare(a_selection(seed + place, self.pair.now_s, self._near()))

    @invariant()
    def accounting_is_whole(self) -> None:
        if hasattr(self, "pair"):
            self.pair.compare_accounting()

    def teardown(self) -> None:
        if hasattr(self, "pair"):
            self.pair.engine.close()
            self.directory.cleanup()


_settings = histories(12, 20)


@pytest.mark.parametrize("engine", list(ENGINES.values()), ids=list(ENGINES))
def test_whatever_happens_answers_are_those_of_counting_by_hand(
    engine: Callable[[], Engine],
) -> None:
    machine = type("Machine", (StoreMachine,), {"make": staticmethod(engine)})
    run_state_machine_as_test(machine, settings=_settings)
