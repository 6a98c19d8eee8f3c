"""Random series, points, batches and selections for tests of stores.

Times are drawn around what cuts them: hours, days, months, the days on which clocks change, the
oldest window that is still taken. What is drawn depends on the time it is at.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from hypothesis import strategies as st

from batchmaker import a_batch, account, point_of
from engines import Sent
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import POINT_COLUMNS, Point, ProcessAccount, SeriesKey

__all__ = ["STARTS", "batches", "selections", "series"]

BERLIN: Final = ZoneInfo("Europe/Berlin")
DAY_S: Final = 86_400
#: windows are taken when they are at most this old
LATE_S: Final = 7 * DAY_S
TEXTS: Final = (
    ("prod", "test"),
    ("shop", "café ☕"),
    ("1", ""),
    ("host#0", "host#1"),
    ("/", "/orders/{id}" + "x" * 200),
    ("GET", "POST"),
    ("2xx", "5xx"),
)
#: clocks stand here at first: days on which clocks change, ends of months and years, a leap day
STARTS: Final = tuple(
    int(datetime.fromisoformat(text).timestamp())
    for text in (
        "2023-11-15T12:00:00+00:00",
        "2024-01-01T00:00:07+00:00",
        "2024-02-29T23:59:59+00:00",
        "2024-03-31T03:30:00+02:00",
        "2024-10-27T03:10:00+01:00",
    )
)
_SUMS: Final = tuple(name for name in POINT_COLUMNS[1:-1] if name not in ("errors", "max_us"))


def _series(number: int) -> SeriesKey:
    return SeriesKey(*[texts[number >> bit & 1] for bit, texts in enumerate(TEXTS)])


series: Final = st.integers(0, 127).map(_series)
_small: Final = st.integers(0, 5_000_000)
_value: Final = st.one_of(
    _small, st.sampled_from((1, 255, 65_536, 2**32, 2**53 - 1, 2**53)), st.integers(0, 2**53)
)
_count: Final = st.one_of(st.integers(1, 5), st.sampled_from((256, 65_536, 2**32 - 1)))
_slot: Final = st.one_of(st.integers(300, 330), st.integers(0, 1027))


@st.composite
def _any_point(draw: st.DrawFn) -> Point:
    """A point that an agent may never send and a store must still add up."""
    point = Point(slots=draw(st.dictionaries(_slot, _count, max_size=4)))
    point.errors = min(draw(_small), sum(point.slots.values()))
    point.max_us = draw(st.sampled_from((0, 1, 2_000, 2**32 - 1)))
    for name, value in draw(st.dictionaries(st.sampled_from(_SUMS), _value, max_size=4)).items():
        setattr(point, name, value)
    return point


points: Final = st.one_of(st.lists(_small, max_size=4).map(point_of), _any_point())


@st.composite
def times(draw: st.DrawFn, now_s: int) -> int:
    """A time, up to some ten minutes ahead and often near a border, mostly taken when late."""
    kind = draw(st.sampled_from(("now", "hour", "day", "month", "local", "week", "late")))
    if kind == "now":
        return now_s - draw(st.integers(-60, 1000))
    if kind == "late":
        return now_s - draw(st.integers(0, LATE_S))
    back = draw(st.integers(0, 2))
    border = {
        "hour": now_s - now_s % 3600 - back * 3600,
        "day": now_s - now_s % DAY_S - back * DAY_S,
        "month": _month(now_s),
        "local": _midnight(now_s, -back),
        "week": now_s - LATE_S,
    }[kind]
    return border + draw(st.integers(-25, 25))


def _month(now_s: int) -> int:
    now = datetime.fromtimestamp(now_s, UTC)
    return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp())


def _midnight(now_s: int, days: int) -> int:
    day: date = datetime.fromtimestamp(now_s, BERLIN).date() + timedelta(days)
    return int(datetime(day.year, day.month, day.day, tzinfo=BERLIN).timestamp())


@st.composite
def _accounts(draw: st.DrawFn) -> ProcessAccount:
    ranges = st.tuples(st.integers(0, 300), st.integers(0, 40))
    return account(
        draw(st.lists(ranges, max_size=3)),
        draw(st.integers(0, 400)),
        draw(st.dictionaries(st.sampled_from(("full", "old")), st.integers(1, 9), max_size=2)),
        draw(st.sampled_from((b"process1", b"process2"))),
        draw(st.sampled_from(TEXTS[1])),
    )


@st.composite
def batches(draw: st.DrawFn, now_s: int, seqs: st.SearchStrategy[int]) -> Sent:
    """A batch whose window is taken at now_s; two agents and two starts share all numbers."""
    step_s = draw(st.sampled_from((10, 10, 10, 1, 60, 600, 3600)))
    window_s = min(max(draw(times(now_s)), now_s - LATE_S), now_s + 600)
    window_s -= window_s % step_s
    if window_s < now_s - LATE_S:
        window_s += step_s
    found = draw(st.dictionaries(series, points, max_size=4))
    batch = a_batch(
        draw(seqs),
        found,
        agent=draw(st.sampled_from(("agent-1", "agent-2"))),
        boot=draw(st.sampled_from((b"boot-one", b"boot-two"))),
        window_s=window_s,
        step_s=step_s,
        closed_us=(window_s + step_s) * 1_000_000,
        processes=draw(st.lists(_accounts(), max_size=2)),
    )
    return Sent(batch, found, draw(st.sampled_from((0, 0, 7, 1000))))


@st.composite
def selections(draw: st.DrawFn, now_s: int, *, back_s: int = 30 * DAY_S) -> Selection:
    """Anything that may be asked of the time from back_s ago up to now_s and a little later."""
    fields = st.sampled_from(SeriesKey._fields)
    group_by = draw(st.lists(fields, unique=True, max_size=7))
    where = {
        name: draw(st.sampled_from((*TEXTS[SeriesKey._fields.index(name)], "nowhere")))
        for name in draw(st.lists(fields, unique=True, max_size=2))
    }
    return Selection(tuple(draw(edges(now_s, back_s))), tuple(group_by), where)


@st.composite
def edges(draw: st.DrawFn, now_s: int, back_s: int) -> Sequence[int]:
    """Ascending times: even steps, days and months, any, or one step."""
    any_time = st.one_of(times(now_s), st.integers(now_s - back_s, now_s + 60))
    kind = draw(st.sampled_from(("even", "even", "days", "months", "any", "one", "all")))
    if kind == "all":
        return (0, 2**32)
    if kind == "days":
        days = draw(st.integers(1, 30))
        return [_midnight(now_s, day) for day in range(-days, 2)]
    if kind == "months":
        months = [_month(now_s + DAY_S * days) for days in (-90, -60, -31, 0, 31)]
        return sorted({*months, now_s - back_s})
    if kind == "even":
        step_s = draw(st.sampled_from((1, 7, 10, 30, 60, 90, 600, 3600, 7200, DAY_S)))
        start_s = draw(any_time)
        if draw(st.booleans()):
            start_s -= start_s % step_s
        return range(start_s, start_s + step_s * draw(st.integers(2, 60)), step_s)
    least = most = 2 if kind == "one" else 8
    return sorted(draw(st.sets(any_time, min_size=2 if kind == "any" else least, max_size=most)))
