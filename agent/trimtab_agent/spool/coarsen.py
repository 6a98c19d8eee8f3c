"""Merges old batches into coarser windows when the spool is nearly full, before any is dropped.

Windows of 10 seconds become windows of a minute, then of ten minutes, then of an hour. The finest
windows are merged first, the oldest of them before others. Merged batches lie in a lane of their
own, in front of finer lanes, so that segments stay ordered by age. The newest segment of a lane is
left alone.

Only batches that were never sent are merged. A batch that was sent without an answer may be in the
collector under its own id; as part of a merged batch, which has another id, it would count twice.
Such a batch is moved as it is, so that its segment becomes empty. A window has several batches for
different instances. The first is merged with the first of the next window, and so on, because they
hold the same series.
"""

from collections.abc import Callable, Sequence
from typing import Final

from trimtab_agent.spool.layout import MAX_PAYLOAD, SpoolRecord
from trimtab_agent.spool.regroup import merged
from trimtab_agent.spool.replacement import Replacement
from trimtab_agent.spool.segments import HELD, TRIED, Place, Segment
from trimtab_agent.spool.shelf import Shelf
from trimtab_agent.spool.tally import Tally
from trimtab_core.batches import MAX_POINTS, Batch, decode, encode
from trimtab_core.errors import BatchError, TooLargeError

__all__ = ["STEPS", "Coarsener"]

#: Steps of windows, in seconds, that batches are merged to.
STEPS: Final = (60, 600, 3600)
#: Batches, and bytes of them, that one step merges.
_BATCHES: Final = 10
_BYTES: Final = 2**20
#: Segments in which the batches of one window are looked for.
_REACH: Final = 8
_RETRY_S: Final = 1.0


class Coarsener:
    """Merges batches of a shelf, a few at a time; for the spool's loop."""

    def __init__(
        self, shelf: Shelf, replacement: Replacement, tally: Tally, clock: Callable[[], float]
    ) -> None:
        self._shelf = shelf
        self._replacement = replacement
        self._tally = tally
        self._clock = clock
        self._not_before = 0.0
        #: segments in which merging to a step makes no room
        self._passed: set[tuple[Segment, int]] = set()

    def step(self) -> bool:
        """Merge at most 10 batches of 4096 points in all; False when nothing was changed."""
        if self._clock() < self._not_before:
            return False
        self._passed = {each for each in self._passed if each[0] in self._shelf.segments}
        for lane in STEPS:
            group = self._group(lane)
            if group:
                if self._merge(group, lane):
                    return True
                self._not_before = self._clock() + _RETRY_S
                return False
        return False

    def _group(self, lane: int) -> list[Place]:
        """Return batches of one coarser window to be merged or moved, oldest first."""
        last = self._shelf.last_by_lane()
        segments = [
            segment
            for segment in self._shelf.segments
            if segment.lane < lane and segment is not last[segment.lane]
        ]
        for index, segment in enumerate(segments):
            if (segment, lane) in self._passed:
                continue
            first = segment.first(newest=False)
            near = segments[index : index + _REACH]
            if first >= 0 and _makes_room(segment, near, lane):
                return _same_place(near, segment, first, lane)
            self._passed.add((segment, lane))
        return []

    def _merge(self, group: Sequence[Place], lane: int) -> bool:
        old: list[Place] = []
        records: list[tuple[SpoolRecord, int]] = []
        parts: list[tuple[Place, SpoolRecord, Batch]] = []
        points = size = 0
        untried = 0
        for place in group[:_BATCHES]:
            segment, position = place
            if old and size + segment.lengths[position] > _BYTES:
                break
            try:
                record = self._shelf.read(segment, position)
            except OSError:
                return False
            if record is None:
                continue
            size += len(record.payload)
            state = segment.states[position]
            untried += state == HELD
            batch = _readable(record.payload, lane) if state == HELD else None
            if batch is not None and parts and _origin(batch) != _origin(parts[0][2]):
                batch = None
            if batch is not None:
                if points + batch.points > MAX_POINTS and parts:
                    break
                points += batch.points
                parts.append((place, record, batch))
            else:
                records.append((record, state))
            old.append(place)
        if not old:
            return True
        whole = _merged_or_alone(parts, lane)
        if untried > 1 and len(records) + len(whole) == len(old):
            # None could be merged, and moving them makes no room: leave this segment alone.
            self._passed.add((group[0][0], lane))
            return True
        records += whole
        new = [
            SpoolRecord(self._shelf.claim_id(), record.window_s, record.samples, record.payload)
            for record, _ in records
        ]
        if not self._replacement.put(old, new, [state for _, state in records], lane):
            return False
        self._tally.stats.coarsened += len(old) - len(new)
        return True


def _makes_room(segment: Segment, near: Sequence[Segment], lane: int) -> bool:
    """Tell whether it makes room to merge and move what is left in a segment.

    It does when little is left, or when its windows become half as many or fewer.
    """
    untried = segment.states.count(HELD)
    left = untried + segment.states.count(TRIED)
    if 4 * left <= len(segment.states):
        return True
    if 4 * untried < left:
        return False
    windows = {
        window
        for each in near
        for window, state in zip(each.windows, each.states, strict=True)
        if state == HELD
    }
    return 2 * len({window // lane for window in windows}) <= len(windows)


def _same_place(near: Sequence[Segment], segment: Segment, first: int, lane: int) -> list[Place]:
    """Return, of each window, the batch in the same place among its batches as the first one."""
    wanted = segment.windows[first] // lane
    windows: dict[int, list[Place]] = {}
    for each in near:
        for position, window_s in enumerate(each.windows):
            if window_s // lane == wanted:
                windows.setdefault(window_s, []).append((each, position))
    ordinal = windows[segment.windows[first]].index((segment, first))
    alike = [windows[window_s] for window_s in sorted(windows)]
    return [
        (each, position)
        for each, position in (places[ordinal] for places in alike if len(places) > ordinal)
        if each.states[position] in (HELD, TRIED)
    ]


def _readable(payload: bytes, step_s: int) -> Batch | None:
    try:
        batch = decode(payload)
    except (BatchError, TooLargeError):
        return None
    return batch if step_s % batch.step_s == 0 and not batch.live else None


def _origin(batch: Batch) -> tuple[str, bytes]:
    return batch.agent, batch.boot


def _merged_or_alone(
    parts: Sequence[tuple[Place, SpoolRecord, Batch]], lane: int
) -> list[tuple[SpoolRecord, int]]:
    """Return one record for the parts, or the parts themselves where they cannot be merged."""
    alone = [(record, HELD) for _, record, _ in parts]
    if len(parts) < 2:
        return alone
    try:
        batch = merged([batch for _, _, batch in parts], lane)
        payload = encode(batch)
    except (BatchError, TooLargeError):
        return alone
    if len(payload) > MAX_PAYLOAD:
        return alone
    samples = sum(record.samples for _, record, _ in parts)
    return [(SpoolRecord(0, batch.window_s, samples, payload), HELD)]
