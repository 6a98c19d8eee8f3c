"""What a store must answer, found by counting in plain Python.

The oracle keeps every point that was sent, by series and 10-second window, and knows nothing of
how an engine stores it. A window that is older than its tier is kept may be answered by a wider
one, so that it lies in the step in which the wider one starts; one older than every tier may be
gone. `check` therefore asks of each group: rows between edges that no window can lie across are
equal to the bit; others hold at least what must lie there and at most what can.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from trimtab_core.batches import POINT_COLUMNS, Batch, Point, SeriesKey
from trimtab_core.sketch import Sketch

__all__ = ["QUANTILES", "Answer", "Asked", "KnownAccounting", "Oracle", "Row", "Tier", "check"]

WINDOW_S: Final = 10
QUANTILES: Final = (0.0, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
#: columns that add up; max_us is kept with the sketch
SUMS: Final = tuple(name for name in POINT_COLUMNS[1:-1] if name != "max_us")
#: sums are exact below this, and at least this from there on
MOST: Final = 2**62


class Tier(NamedTuple):
    """A width of windows, and for how many seconds they are kept at least."""

    width_s: int
    kept_s: int


class Asked(Protocol):
    """A selection, as far as the oracle reads it."""

    @property
    def edges_s(self) -> tuple[int, ...]: ...
    @property
    def group_by(self) -> tuple[str, ...]: ...
    @property
    def where(self) -> Mapping[str, str]: ...


@dataclass(slots=True)
class Row:
    """Points added up; a sum of 0 is not in `sums`."""

    sums: Counter[str] = field(default_factory=Counter)
    sketch: Sketch = field(default_factory=Sketch)
    points: int = 0
    statuses: Counter[int] = field(default_factory=Counter)

    def add(self, other: "Row") -> None:
        """Add another row to this one."""
        for name, value in other.sums.items():
            self.sums[name] += value
        self.sketch.merge(other.sketch)
        self.points += other.points
        self.statuses.update(other.statuses)

    def shown(self) -> tuple[object, ...]:
        """Return all that an engine must answer to the bit."""
        sums = {name: min(value, MOST) for name, value in sorted(self.sums.items()) if value}
        times = [self.sketch.quantile_us(q) for q in QUANTILES]
        buckets, statuses = (
            dict(sorted(counts.items())) for counts in (self.sketch.buckets, self.statuses)
        )
        return sums, self.sketch.max_us, buckets, times, statuses

    def within(self, other: "Row") -> bool:
        """Return whether nothing here is more than in the other."""
        return (
            all(min(value, MOST) <= other.sums[name] for name, value in self.sums.items())
            and all(count <= other.sketch.buckets[s] for s, count in self.sketch.buckets.items())
            and self.sketch.max_us <= other.sketch.max_us
            and self.statuses <= other.statuses
        )


class Answer(NamedTuple):
    """What an engine answered: rows by group and start of their step."""

    rows: dict[tuple[tuple[str, ...], int], Row]
    resolution_s: int


class KnownAccounting(NamedTuple):
    """What became of a service's records."""

    counted: int
    sent: int
    held: int
    agent_lost: int
    dropped: dict[str, int]
    requests: int
    backgrounds: int


@dataclass(slots=True)
class _Process:
    numbers: set[int] = field(default_factory=set)
    sent: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    #: the latest window that told of it, and the agent that sent it
    told: tuple[int, str] = (0, "")


class Oracle:
    """Everything that was sent, counted once."""

    def __init__(self) -> None:
        self.windows: dict[SeriesKey, dict[int, Row]] = {}
        #: names of batches -> start of their window
        self.names: dict[tuple[str, bytes, int], int] = {}
        self._processes: dict[tuple[bytes, str, str], _Process] = {}
        self._totals: dict[tuple[str, str], list[int]] = {}
        self._held: dict[str, int] = {}

    def add(self, batch: Batch, points: Mapping[SeriesKey, Point]) -> bool:
        """Count a batch; True when it was here before."""
        name = (batch.agent, batch.boot, batch.seq)
        if name in self.names:
            return True
        window_s = batch.window_s - batch.window_s % WINDOW_S
        self.names[name] = window_s
        for key, point in points.items():
            row = self.windows.setdefault(key, {}).setdefault(window_s, Row())
            row.add(_row(point))
            requests, backgrounds = sum(point.buckets.values()), point.backgrounds
            if requests or backgrounds:
                total = self._totals.setdefault(key[:2], [0, 0])
                total[0] += requests
                total[1] += backgrounds
        for claim in batch.processes:
            key3 = (claim.process, claim.environment, claim.service)
            process = self._processes.setdefault(key3, _Process())
            for first, count in claim.ranges:
                process.numbers.update(range(first, first + count))
            process.sent = max(process.sent, claim.sent)
            process.dropped |= Counter(claim.dropped)
            process.told = max(process.told, (window_s, batch.agent))
        return False

    def note_held(self, batch: Batch, held: int) -> None:
        """Take what an agent says it holds besides a batch."""
        self._held[batch.agent] = held

    def reopened(self) -> None:
        """Forget what agents hold: they say so with each batch."""
        self._held.clear()

    def accounting(self) -> dict[tuple[str, str], KnownAccounting]:
        """Return the accounting of every service."""
        answer = {
            service: KnownAccounting(0, 0, 0, 0, {}, *sums)
            for service, sums in self._totals.items()
        }
        missing: Counter[tuple[str, str, str]] = Counter()
        for (_, *service), process in self._processes.items():
            name = (service[0], service[1])
            before = answer.get(name, KnownAccounting(0, 0, 0, 0, {}, 0, 0))
            counted = len(process.numbers)
            sent = max(process.sent, max(process.numbers, default=-1) + 1)
            answer[name] = before._replace(
                counted=before.counted + counted,
                sent=before.sent + sent,
                dropped=dict(Counter(before.dropped) + process.dropped),
            )
            missing[service[0], service[1], process.told[1]] += sent - counted
        for name, row in answer.items():
            held = sum(
                min(count, self._held.get(agent, 0))
                for (*service, agent), count in missing.items()
                if name == tuple(service)
            )
            answer[name] = row._replace(held=held, agent_lost=row.sent - row.counted - held)
        return answer

    def chosen(self, asked: Asked) -> Iterator[tuple[tuple[str, ...], int, Row]]:
        """Yield group, window and row of every window of the series asked for."""
        for key, windows in self.windows.items():
            if all(getattr(key, name) == text for name, text in asked.where.items()):
                group = tuple(getattr(key, name) for name in asked.group_by)
                for window_s, row in windows.items():
                    yield group, window_s, row


class _Placed(NamedTuple):
    """A window, and the first and the last step it may lie in: -1 and n are before and after."""

    first: int
    last: int
    may_be_gone: bool
    row: Row


def check(
    oracle: Oracle, asked: Asked, answer: Answer, tiers: Sequence[Tier], now_s: float
) -> None:
    """Fail unless an answer is what the points that were sent add up to; tiers finest first."""
    edges = asked.edges_s
    placed: dict[tuple[str, ...], list[_Placed]] = {}
    for group, window_s, row in oracle.chosen(asked):
        placed.setdefault(group, []).append(_place(edges, window_s, row, answer, tiers, now_s))
    rows: dict[tuple[str, ...], dict[int, Row]] = {}
    for (group, t), row in answer.rows.items():
        assert group in placed, f"no series has {group}"
        assert t in edges[:-1], f"no step starts at {t}"
        rows.setdefault(group, {})[edges.index(t)] = row
    for group, windows in placed.items():
        _check_group(group, windows, rows.get(group, {}), edges)


def _place(
    edges: Sequence[int],
    window_s: int,
    row: Row,
    answer: Answer,
    tiers: Sequence[Tier],
    now_s: float,
) -> _Placed:
    kept = [tier.width_s for tier in tiers if window_s >= now_s - tier.kept_s]
    widest = min(kept[0] if kept else tiers[-1].width_s, answer.resolution_s)
    steps = [
        _step(edges, window_s - window_s % tier.width_s)
        for tier in tiers
        if tier.width_s <= max(widest, WINDOW_S)
    ]
    return _Placed(min(steps), max(steps), not kept, row)


def _step(edges: Sequence[int], t: int) -> int:
    return bisect_right(edges, t) - 1


def _check_group(
    group: tuple[str, ...],
    windows: Sequence[_Placed],
    rows: Mapping[int, Row],
    edges: Sequence[int],
) -> None:
    steps = len(edges) - 1
    # Edges that no window can lie across; beyond both ends nothing is asked for.
    blurred = {edge for window in windows for edge in range(window.first + 1, window.last + 1)}
    sharp = [edge for edge in range(1, steps) if edge not in blurred]
    spans = set(zip([0, *sharp], [*sharp, steps], strict=True))
    spans |= {(step, step + 1) for step in range(steps)}
    for begin, end in sorted(spans):
        here = [w for w in windows if w.last >= begin and w.first < end]
        if not here and not any(begin <= step < end for step in rows):
            continue
        found = _sum(row for step, row in rows.items() if begin <= step < end)
        sure = [w for w in here if w.first >= begin and w.last < end and not w.may_be_gone]
        where = f"{group} in [{edges[begin]}, {edges[end]})"
        if len(sure) == len(here):
            expected = _sum(window.row for window in sure)
            assert found.shown() == expected.shown(), where
            assert bool(found.points) == bool(expected.points), f"a row too many or few: {where}"
        else:
            assert _sum(w.row for w in sure).within(found), f"too little: {where}"
            assert found.within(_sum(w.row for w in here)), f"too much: {where}"


def _sum(rows: Iterable[Row]) -> Row:
    total = Row()
    for row in rows:
        total.add(row)
    return total


def _row(point: Point) -> Row:
    sums = Counter({name: getattr(point, name) for name in SUMS if getattr(point, name)})
    return Row(sums, Sketch(point.buckets, point.max_us), 1, Counter(point.statuses))
