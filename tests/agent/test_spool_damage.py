"""Damage to the spool's files costs the batches it touches, counted, and nothing else."""

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from support.laws import histories
from trimtab_agent.spool.layout import HEADER_SIZE, SpoolRecord
from trimtab_agent.spool.spool import Spool, SpooledBatch

SIZE = 200


def payload(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def filled(directory: Path, count: int, max_bytes: int = 2**28) -> None:
    spool = Spool(directory, max_bytes)
    for number in range(1, count + 1):
        assert spool.append(payload(number), samples=1, window_s=0) == number
    spool.close()


def lease_all(spool: Spool) -> list[SpooledBatch]:
    entries = []
    while (entry := spool.next(newest=False)) is not None:
        entries.append(entry)
    return entries


def held(spool: Spool) -> list[int]:
    entries = lease_all(spool)
    for entry in entries:
        assert entry.payload == payload(entry.id)
        spool.release(entry)
    return [entry.id for entry in entries]


def segment_of(directory: Path) -> Path:
    return next(iter(sorted(directory.glob("*.seg"))))


RECORD = HEADER_SIZE + SIZE


def _flip(data: bytearray, position: int) -> None:
    data[position] ^= 0x10


def _zero(data: bytearray, start: int, end: int) -> None:
    data[start:end] = bytes(end - start)


@pytest.mark.parametrize(
    ("damage", "lost", "reasons"),
    [
        (lambda data: _flip(data, 3 * RECORD + 100), {4}, {"checksum": 1}),
        (lambda data: _flip(data, 3 * RECORD), {4}, {"header": 1}),
        (lambda data: _flip(data, 3 * RECORD + 4), {4}, {"checksum": 1}),
        (lambda data: _flip(data, 3 * RECORD + 7), {4}, {"header": 1}),
        (lambda data: _flip(data, 3 * RECORD + 14), {4}, {"checksum": 1}),
        (lambda data: _flip(data, 9 * RECORD + 5), {10}, {"torn": 1}),
        (lambda data: _zero(data, 0, 2 * RECORD + 1), {1, 2, 3}, {"header": 1}),
        (lambda data: _zero(data, 8 * RECORD, 10 * RECORD), {9, 10}, {"header": 1}),
        (lambda data: data.__delitem__(slice(9 * RECORD + 90, None)), {10}, {"torn": 1}),
        (lambda data: data.__delitem__(slice(9 * RECORD + 9, None)), {10}, {"torn": 1}),
        (lambda data: data.__delitem__(slice(4 * RECORD + 9, 5 * RECORD)), {5}, {"checksum": 1}),
        (lambda data: data.extend(b"garbage"), set(), {"torn": 1}),
        (lambda data: data.extend(b"x" * 5000), set(), {"header": 1}),
        (lambda data: data.clear(), set(range(1, 11)), {"empty": 1}),
    ],
    ids=[
        "payload flipped",
        "magic flipped",
        "length flipped a little",
        "length flipped beyond the limit",
        "id flipped",
        "length flipped beyond the end",
        "zeros at the front",
        "zeros at the end",
        "torn in a payload",
        "torn in a header",
        "a stretch missing",
        "a little garbage behind",
        "much garbage behind",
        "emptied",
    ],
)
def test_only_touched_batches_are_lost_and_the_damage_is_counted(
    tmp_path: Path,
    damage: Callable[[bytearray], None],
    lost: set[int],
    reasons: dict[str, int],
) -> None:
    filled(tmp_path, 10)
    data = bytearray(segment_of(tmp_path).read_bytes())
    damage(data)
    segment_of(tmp_path).write_bytes(data)
    spool = Spool(tmp_path)
    assert set(held(spool)) == set(range(1, 11)) - lost
    assert spool.stats.damaged == reasons
    assert spool.stats.held_batches == 10 - len(lost)
    new = [spool.append(payload(11 + n), samples=1, window_s=0) for n in range(1)]
    spool.close()
    if 10 in lost:
        return
    spool = Spool(tmp_path)
    assert new == [11]
    assert set(held(spool)) == set(range(1, 12)) - lost
    spool.close()


def test_a_lost_segment_costs_its_own_batches(tmp_path: Path) -> None:
    filled(tmp_path, 30, max_bytes=16_000)
    paths = sorted(tmp_path.glob("*.seg"))
    assert len(paths) > 2
    paths[1].unlink()
    spool = Spool(tmp_path, max_bytes=16_000)
    per_segment = 2000 // RECORD
    missing = set(range(per_segment + 1, 2 * per_segment + 1))
    assert set(held(spool)) == set(range(1, 31)) - missing
    spool.close()


def test_lost_acknowledgements_only_mean_repeats(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 5):
        spool.append(payload(number), samples=1, window_s=0)
    for entry in lease_all(spool)[:3]:
        spool.acknowledge(entry)
    spool.close()
    acks = segment_of(tmp_path).with_suffix(".acks")
    data = bytearray(acks.read_bytes())
    data[0] ^= 1
    acks.write_bytes(data[:-5])
    spool = Spool(tmp_path)
    assert held(spool) == [1, 3, 4]
    again = spool.next(newest=False)
    assert again is not None
    spool.acknowledge(again)
    spool.close()
    spool = Spool(tmp_path)
    assert held(spool) == [3, 4]
    spool.close()


def test_a_new_batch_never_passes_for_one_that_was_acknowledged(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    spool = Spool(tmp_path)
    for entry in lease_all(spool):
        spool.acknowledge(entry)
    spool.close()
    segment_of(tmp_path).write_bytes(b"")
    spool = Spool(tmp_path)
    assert spool.append(payload(3), samples=1, window_s=0) == 3
    spool.close()
    spool = Spool(tmp_path)
    assert held(spool) == [3]
    spool.close()


def test_strange_names_in_the_directory_are_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    (tmp_path / "00000099.seg").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "x.seg").write_text("mine")
    (tmp_path / "00000007.acks").write_text("of a segment that is gone")
    spool = Spool(tmp_path)
    assert held(spool) == [1, 2]
    assert spool.append(payload(100), samples=1, window_s=0) == 100
    spool.close()
    assert (tmp_path / "notes.txt").exists()
    assert (tmp_path / "x.seg").exists()
    assert not (tmp_path / "00000007.acks").exists()


def test_damage_that_comes_while_it_runs_is_noticed_before_sending(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in range(1, 4):
        spool.append(payload(number), samples=1, window_s=0)
    data = bytearray(segment_of(tmp_path).read_bytes())
    _flip(data, RECORD + 60)
    segment_of(tmp_path).write_bytes(data)
    assert held(spool) == [1, 3]
    assert spool.stats.damaged == {"checksum": 1}
    spool.close()


def test_a_file_of_nothing_but_headers_is_given_up_in_bounded_time(tmp_path: Path) -> None:
    header = SpoolRecord(1, 0, 0, b"x" * 3_000_000).pack()[:HEADER_SIZE]
    (tmp_path / "00000001.seg").write_bytes(header * (4 * 2**20 // HEADER_SIZE))
    filled_elsewhere = tmp_path / "other"
    filled(filled_elsewhere, 3)
    shutil.copy(segment_of(filled_elsewhere), tmp_path / "00000002.seg")
    spool = Spool(tmp_path)
    assert held(spool) == [1, 2, 3]
    assert spool.stats.damaged == {"checksum": 1}
    spool.close()


# Functions with names: of a lambda, Hypothesis parses the source at every step, and ast.parse of
# CPython 3.11 may fail ("recursion depth mismatch") while another thread is there.
def has_leased(machine: "SpoolMachine") -> bool:
    return bool(machine.leased)


def has_not_leased(machine: "SpoolMachine") -> bool:
    return not machine.leased


class SpoolMachine(RuleBasedStateMachine):
    """Drives a spool beside a model: what is held, what is leased, what damage has touched."""

    max_bytes = 2**28

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(os.environ.get("TMPDIR", "/tmp")) / f"tt-spool-{os.getpid()}"
        shutil.rmtree(self.directory, ignore_errors=True)
        self.spool = Spool(self.directory, self.max_bytes)
        self.held: dict[int, int] = {}
        self.leased: dict[int, SpooledBatch] = {}
        self.done: set[int] = set()
        #: harmed, or acknowledged and the acknowledgement harmed: they may come back
        self.repeatable: set[int] = set()
        self.last = 0

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    @rule(size=st.integers(0, 300), samples=st.integers(0, 5))
    def append(self, size: int, samples: int) -> None:
        # After damage to the newest batch its id may be given again: the payload tells them apart.
        self.last += 1
        number = self.spool.append(self._payload(self.last, size), samples=samples, window_s=0)
        assert number > max([*self.held, *self.leased], default=0)
        self.held[number] = size
        self._dropped_since()

    @rule(newest=st.booleans())
    def lease(self, newest: bool) -> None:
        entry = self.spool.next(newest=newest)
        if entry is None:
            assert not self.held
            return
        self._check(entry)
        assert entry.id == (max if newest else min)(self.held)
        self.held.pop(entry.id)
        self.leased[entry.id] = entry

    @precondition(has_leased)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.leased)))
        self.spool.acknowledge(self.leased.pop(number))
        self.done.add(number)

    @precondition(has_leased)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        entry = self.leased.pop(data.draw(st.sampled_from(sorted(self.leased))))
        dropped = self.spool.stats.dropped_batches.total()
        self.spool.release(entry)
        if self.spool.stats.dropped_batches.total() == dropped:
            self.held[entry.id] = len(entry.payload) - 8

    @rule()
    def reopen(self) -> None:
        self._close()
        self._open()

    @precondition(has_not_leased)
    @rule(data=st.data())
    def harm_a_segment(self, data: st.DataObject) -> None:
        self._close()
        paths = [path for path in sorted(self.directory.glob("*.seg")) if path.stat().st_size]
        if paths:
            path = data.draw(st.sampled_from(paths))
            content = bytearray(path.read_bytes())
            start = data.draw(st.integers(0, len(content) - 1))
            extents = self._extents(content)
            if data.draw(st.booleans()):
                end = len(content)
                del content[start:]
            else:
                end = start + 1
                content[start] ^= data.draw(st.integers(1, 255))
            path.write_bytes(content)
            for number, (first, behind) in extents.items():
                if first < end and start < behind:
                    del self.held[number]
                    # The same bit flipped again makes the batch whole.
                    self.repeatable.add(number)
        self._open()

    @precondition(has_not_leased)
    @rule(data=st.data())
    def harm_acknowledgements(self, data: st.DataObject) -> None:
        self._close()
        for path in sorted(self.directory.glob("*.acks")):
            content = path.read_bytes()
            path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
            self.repeatable |= self.done
        self._open()

    @invariant()
    def bounds_hold(self) -> None:
        stats = self.spool.stats
        size = sum(path.stat().st_size for path in self.directory.iterdir() if path.is_file())
        assert size <= stats.disk_bytes <= self.max_bytes
        assert stats.held_batches == len(self.held) + len(self.leased)

    def _open(self) -> None:
        self.spool = Spool(self.directory, self.max_bytes)
        self.spool.stats.dropped_batches.clear()
        entries = lease_all(self.spool)
        for entry in entries:
            self._check(entry)
            self.spool.release(entry)
        back = {entry.id for entry in entries}
        assert back >= set(self.held), "a batch neither acknowledged nor harmed is gone"
        for number in back - set(self.held):
            assert number in self.repeatable, "an acknowledged batch came back"
            self.repeatable.discard(number)
            self.done.discard(number)
            self.held[number] = 0

    def _close(self) -> None:
        self.spool.close()
        # What was on its way is sent again: nobody said that it arrived.
        for number, entry in self.leased.items():
            if entry.place is None or not entry.place[0].dropped:
                self.held[number] = 0
        self.leased.clear()

    def _dropped_since(self) -> None:
        entries = lease_all(self.spool)
        for entry in entries:
            self.spool.release(entry)
        gone = sorted(set(self.held) - {entry.id for entry in entries})
        assert gone == sorted(self.held)[: len(gone)], "others than the oldest were dropped"
        booked = self.spool.stats.dropped_batches.total()
        assert booked >= len(gone)
        for number in gone:
            del self.held[number]

    def _payload(self, number: int, size: int) -> bytes:
        return number.to_bytes(8, "big") + random.Random(size).randbytes(size)

    def _check(self, entry: SpooledBatch) -> None:
        assert entry.payload == self._payload(
            int.from_bytes(entry.payload[:8], "big"), len(entry.payload) - 8
        )

    def _extents(self, content: bytearray) -> dict[int, tuple[int, int]]:
        """Return where the held batches of a segment lie: their payloads are found as they are."""
        extents = {}
        for number in self.held:
            record = content.find(number.to_bytes(8, "little"))
            while record >= 12:
                start = record - 12
                length = int.from_bytes(content[start + 4 : start + 8], "little")
                if content[start : start + 4] == b"\xf5TB\x01":
                    extents[number] = (start, start + HEADER_SIZE + length)
                    break
                record = content.find(number.to_bytes(8, "little"), record + 1)
        return extents


class SmallSpoolMachine(SpoolMachine):
    """The same with a bound that is always reached."""

    max_bytes = 4000


_settings = histories(40, 40)
TestSpoolLaws = SpoolMachine.TestCase
TestSpoolLaws.settings = _settings
TestSmallSpoolLaws = SmallSpoolMachine.TestCase
TestSmallSpoolLaws.settings = _settings
