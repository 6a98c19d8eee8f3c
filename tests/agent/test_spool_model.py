"""The spool against a model of everything a machine may do to it: nothing is lost or counted twice.

Batches are real ones, of numbered records. A collector beside the spool counts each number of each
batch it has not seen; no number is ever counted twice, whatever was merged, split, killed or cut
off between which two calls to the disk.
"""

import errno
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from support.disks.numbered import WINDOW_S, numbers_in, numbers_of, packed
from support.disks.simdisk import Killed, SimDisk
from support.laws import histories
from trimtab_agent.spool.layout import scan
from trimtab_agent.spool.spool import Spool, SpooledBatch
from trimtab_core.batches import Batch, decode

DIRECTORY = Path("/spool")
CRASH = st.none() | st.none() | st.integers(0, 40)


# Functions with names: of a lambda, Hypothesis parses the source at every step, and ast.parse of
# CPython 3.11 may fail ("recursion depth mismatch") while another thread is there.
def has_leased(machine: "PowerCutMachine") -> bool:
    return bool(machine.leased)


def has_damages(machine: "PowerCutMachine") -> bool:
    return bool(machine.damages)


class PowerCutMachine(RuleBasedStateMachine):
    """Drives a spool on a simulated disk, beside a collector."""

    max_bytes = 16_000
    damages = False

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.index = 0
        self.appended: set[int] = set()
        self.leased: list[SpooledBatch] = []
        #: numbers that need not be in the spool: delivered, refused, dropped and booked
        self.over: set[int] = set()
        self.delivered: set[int] = set()
        #: may be there or not: harmed, or never reported to be on disk
        self.unsure: set[int] = set()
        #: samples that this spool and those before it booked as dropped, not yet found missing
        self.booked = 0
        self.dropped_seen = 0
        self.power_was_cut = False
        self.acks_are_whole = True
        self.collector: set[int] = set()
        self.counted: Counter[int] = Counter()

    @initialize(seed=st.integers(0, 2**32))
    def start(self, seed: int) -> None:
        self.disk = SimDisk(seed)
        self.spool = self._opened()

    # What the agent does

    @rule(count=st.integers(1, 8), crash=CRASH)
    def append(self, count: int, crash: int | None) -> None:
        with_crash = crash
        for _ in range(count):
            payload = packed(self.index)
            numbers = {2 * self.index, 2 * self.index + 1}
            window_s = WINDOW_S + self.index // 2 * 10
            self.index += 1
            self.appended |= numbers
            if not self._run(
                lambda payload=payload, window_s=window_s: self.spool.append(  # type: ignore[misc]
                    payload, samples=2, window_s=window_s
                ),
                with_crash,
                numbers,
            ):
                return
            with_crash = None

    @rule(
        newest=st.booleans(),
        outcome=st.sampled_from(
            ("taken", "taken", "answer lost", "unreachable", "refused", "too large", "slow")
        ),
        crash=CRASH,
    )
    def send(self, newest: bool, outcome: str, crash: int | None) -> None:
        entry: list[SpooledBatch | None] = []
        if not self._run(lambda: entry.append(self.spool.next(newest=newest)), None):
            return
        if entry[0] is not None:
            self._send(entry[0], outcome, crash)

    @rule(answered=st.integers(0, 3), lost=st.integers(1, 12))
    def lose_answers(self, answered: int, lost: int) -> None:
        """What the collector has and the spool does not know of is what must not be merged."""
        entries = [self.spool.next(newest=False) for _ in range(answered + lost)]
        for index, entry in enumerate(entries):
            if entry is not None:
                self._send(entry, "taken" if index < answered else "answer lost", None)

    @rule(count=st.integers(20, 60))
    def be_away(self, count: int) -> None:
        self.append(count, None)

    @precondition(has_leased)
    @rule(outcome=st.sampled_from(("taken", "answer lost", "unreachable")), crash=CRASH)
    def answer(self, outcome: str, crash: int | None) -> None:
        self._send(self.leased.pop(0), outcome, crash)

    @rule(crash=CRASH, count=st.integers(1, 20))
    def coarsen(self, crash: int | None, count: int) -> None:
        self.now += 2
        self._run(lambda: [self.spool.coarsen() for _ in range(count)], crash)

    @rule(seconds=st.integers(1, 60))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    # What the machine does

    @rule()
    def stop_and_start(self) -> None:
        if self._run(self.spool.close, None):
            waiting = self._in_memory() | self._untold()
            self.disk.kill()
            self._reopen(waiting)

    @rule(crash=st.none() | st.integers(0, 60))
    def kill(self, crash: int | None) -> None:
        self._crash(power=False, crash=crash)

    @rule(crash=st.none() | st.integers(0, 60))
    def cut_power(self, crash: int | None) -> None:
        self._crash(power=True, crash=crash)

    @rule()
    def write_back(self) -> None:
        self.disk.write_back()

    @rule(
        calls=st.sets(
            st.sampled_from(("fdatasync", "pwrite", "sync_directory", "ftruncate", "open")),
            min_size=1,
        ),
        number=st.sampled_from((errno.EIO, errno.ENOSPC, errno.EMFILE)),
    )
    def break_the_disk(self, calls: set[str], number: int) -> None:
        if number != errno.EMFILE:  # what can then not be read is lost, and counted as damaged
            calls = calls - {"open"}
        self.disk.faults = dict.fromkeys(calls, number)
        self.acks_are_whole = False

    @rule(room=st.integers(0, 3000))
    def fill_the_disk(self, room: int) -> None:
        self.disk.capacity = sum(len(file.seen) for file in self.disk.files.values()) + room
        self.acks_are_whole = False

    @rule()
    def mend_the_disk(self) -> None:
        self.disk.faults = {}
        self.disk.capacity = None
        self.now += 2

    @precondition(has_damages)
    @rule(data=st.data(), how=st.sampled_from(("flip", "cut", "delete", "hide", "zero")))
    def harm(self, data: st.DataObject, how: str) -> None:
        paths = sorted(p for p, f in self.disk.files.items() if p.suffix == ".seg" and f.seen)
        if not paths:
            return
        path = data.draw(st.sampled_from(paths))
        content = self.disk.files[path].seen
        start = data.draw(st.integers(0, len(content) - 1))
        for found in scan(bytes(content), Counter(), []):
            if how in ("delete", "hide") or found.offset + found.length > start:
                self.unsure |= numbers_in(found.record.payload)
        self.acks_are_whole = False
        if how == "delete":
            self.disk.delete(path)
        elif how == "hide":
            self.disk.unreadable.add(path)
        else:
            self.disk.damage(path, _HARM[how](start))

    @invariant()
    def nothing_is_lost_and_bounds_hold(self) -> None:
        stats = self.spool.stats
        on_disk = sum(
            len(file.seen) for path, file in self.disk.files.items() if path.name != "untried"
        )
        if self.acks_are_whole:
            assert on_disk <= stats.disk_bytes + 4200  # of batches put aside: at most 16
            assert stats.disk_bytes <= self.max_bytes
        assert len(self.spool._memory) <= 65
        if (
            self.disk.faults
            or self.disk.capacity is not None
            or self.spool._replacement._unfinished
        ):
            return
        self._check()

    def teardown(self) -> None:
        """Whatever happened: on a sound disk everything that is left arrives, once."""
        self.mend_the_disk()
        self.disk.unreadable.clear()
        self.now += 2
        while self.leased:
            self._send(self.leased.pop(), "answer lost", None)
        while entry := self.spool.next(newest=False):
            self._send(entry, "taken", None)
        self.spool.append(packed(self.index), samples=2, window_s=WINDOW_S)
        last = self.spool.next(newest=True)
        assert last is not None
        assert numbers_in(last.payload) == {2 * self.index, 2 * self.index + 1}

    # How

    def _send(self, entry: SpooledBatch, outcome: str, crash: int | None) -> None:
        numbers = numbers_in(entry.payload)
        batch = decode(entry.payload)
        if outcome in ("taken", "answer lost"):
            self._collect(batch)
        if outcome == "slow":
            self.leased.append(entry)
        elif outcome == "taken":
            self.over |= numbers
            self.delivered |= numbers
            self._run(lambda: self.spool.acknowledge(entry), crash, entry=entry)
        elif outcome in ("answer lost", "unreachable"):
            tried = outcome == "answer lost"
            self._run(lambda: self.spool.release(entry, tried=tried), crash, entry=entry)
        elif outcome == "too large" and batch.seq not in self.collector:
            self._run(lambda: self._split(entry), crash, entry=entry)
        else:
            self.over |= numbers
            self._run(lambda: self.spool.quarantine(entry, "400 no"), crash, entry=entry)

    def _split(self, entry: SpooledBatch) -> None:
        if not self.spool.split(entry):
            self.spool.release(entry)

    def _collect(self, batch: Batch) -> None:
        if batch.seq in self.collector:
            never = [number for number in numbers_of(batch) if not self.counted[number]]
            assert not never, f"taken for a repeat, and never counted: {never}"
            return
        self.collector.add(batch.seq)
        self.counted.update(numbers_of(batch))
        twice = [number for number in numbers_of(batch) if self.counted[number] > 1]
        assert not twice, f"counted twice: {twice}"

    def _run(
        self,
        call: Callable[[], object],
        crash: int | None,
        doubtful: set[int] | None = None,
        entry: SpooledBatch | None = None,
    ) -> bool:
        """Call, and start anew if it is killed by then; False when it was."""
        before = self._by_segment() if crash is not None else {}
        self.disk.countdown = crash
        try:
            call()
        except Killed:
            self.unsure |= doubtful or set()
            if entry is not None:
                self.delivered -= numbers_in(entry.payload)
            # A segment that was just dropped: who would have booked it is gone.
            for path in before.keys() - self.disk.files.keys():
                self.unsure |= before[path]
            self._crash(power=self.disk.random.random() < 0.5, crash=None)
            return False
        self.disk.countdown = None
        return True

    def _crash(self, *, power: bool, crash: int | None) -> None:
        waiting = self._in_memory() | self._untold()
        if power:
            self.disk.cut_power()
            self.power_was_cut = True
        else:
            self.disk.kill()
        self._reopen(waiting, crash)

    def _untold(self) -> set[int]:
        """Return what was dropped before anybody could tell whether it arrives: nobody books it."""
        leased = (entry.place for entry in self.leased)
        if not self.spool._replacement._unfinished and not any(
            place is not None and place[0].dropped for place in leased
        ):
            return set()
        return self.appended - self.over - set().union(*self._by_segment().values())

    def _by_segment(self) -> dict[Path, set[int]]:
        return {
            path: {
                number
                for found in scan(bytes(file.seen), Counter(), [])
                for number in numbers_in(found.record.payload)
            }
            for path, file in self.disk.files.items()
            if path.suffix == ".seg"
        }

    def _in_memory(self) -> set[int]:
        found: set[int] = set()
        for record in self.spool._memory.values():
            found |= numbers_in(record.payload)
        return found

    def _reopen(self, waiting: set[int], crash: int | None = None) -> None:
        self.unsure |= waiting
        self.leased.clear()
        self._note_drops()
        self.dropped_seen = 0
        before = self._by_segment() if crash is not None else {}
        self.disk.countdown = crash
        faults, self.disk.faults = self.disk.faults, {}
        try:
            self.spool = self._opened()
        except Killed:
            # What opening dropped to keep the bound: who would have booked it is gone.
            for path in before.keys() - self.disk.files.keys():
                self.unsure |= before[path]
            if self.disk.random.random() < 0.5:
                self.disk.cut_power()
                self.power_was_cut = True
            else:
                self.disk.kill()
            self.spool = self._opened()
        self.disk.countdown = None
        self.disk.faults = faults

    def _note_drops(self) -> None:
        dropped = self.spool.stats.dropped_samples.total()
        self.booked += dropped - self.dropped_seen
        self.dropped_seen = dropped

    def _opened(self) -> Spool:
        return Spool(DIRECTORY, self.max_bytes, files=self.disk, clock=lambda: self.now)

    def _check(self) -> None:
        entries: list[SpooledBatch] = []
        while (entry := self.spool.next(newest=False)) is not None:
            entries.append(entry)
        held: Counter[int] = Counter()
        for each in (*entries, *self.leased):
            held.update(numbers_in(each.payload))
        for each in entries:
            self.spool.release(each, tried=False)
        stats = self.spool.stats
        assert stats.held_batches == len(entries) + len(self.leased)
        assert stats.held_bytes == sum(len(each.payload) for each in (*entries, *self.leased))
        twice = [number for number, count in held.items() if count > 1]
        assert not twice or not self.acks_are_whole, f"held twice: {twice}"
        back = self.delivered & held.keys() - {
            n for e in self.leased for n in numbers_in(e.payload)
        }
        if self.acks_are_whole and not self.power_was_cut:
            assert not back, f"acknowledged, and here again: {back}"
        self.over -= held.keys()
        missing = self.appended - held.keys() - self.over - self.unsure
        self._note_drops()
        assert len(missing) <= self.booked, f"gone and not booked: {sorted(missing)}"
        if not self.unsure and self.acks_are_whole and not self.power_was_cut:
            assert len(missing) == self.booked, f"booked, and not gone: {self.booked}"
        self.booked = 0
        self.over |= missing


_HARM: dict[str, Callable[[int], Callable[[bytearray], None]]] = {
    "flip": lambda start: lambda data: data.__setitem__(start, data[start] ^ 0x40),
    "cut": lambda start: lambda data: data.__delitem__(slice(start, None)),
    "zero": lambda start: (
        lambda data: data.__setitem__(slice(start, None), bytes(len(data) - start))
    ),
}


class DamageMachine(PowerCutMachine):
    """The same, and files are harmed behind the spool's back."""

    damages = True


_settings = histories(40, 40)
TestPowerCuts = PowerCutMachine.TestCase
TestPowerCuts.settings = _settings
TestDamage = DamageMachine.TestCase
TestDamage.settings = _settings
