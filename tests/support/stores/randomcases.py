"""Random batches and selections for tests of stores, each made from one number.

A number costs Hypothesis one draw, so that a history may hold hundreds of batches. Times are taken
around what cuts them: minutes, hours, days and months, the days on which clocks change, the oldest
window that is still taken, and whatever was sent before.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Final
from zoneinfo import ZoneInfo

from support.stores.batches import a_batch, accounting_of, point_of
from support.stores.engines import Sent
from trimtab_collector.storage.store import Selection
from trimtab_core.batches import POINT_COLUMNS, Point, ProcessAccounting, SeriesKey

__all__ = ["DAY_S", "LATE_S", "STARTS", "TEXTS", "a_selection", "a_sent"]

BERLIN: Final = ZoneInfo("Europe/Berlin")
DAY_S: Final = 86_400
#: windows are taken when they are at most this old, and so far ahead
LATE_S: Final = 7 * DAY_S
AHEAD_S: Final = 600
TEXTS: Final = (
    ("prod", "test"),
    ("shop", "café ☕"),
    ("1", ""),
    ("host#0", "host#1", ""),
    ("/", "/orders/{id}" + "x" * 200, "other"),
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
_HUGE: Final = (1, 255, 65_536, 2**32, 2**53 - 1, 2**53)


def a_sent(seed: int, now_s: int, near: Sequence[int], seqs: int) -> Sent:
    """Return a batch whose window is taken at now_s; two agents and two starts share all numbers.

    near are windows that were sent before; the number of the batch is below seqs.
    """
    random = Random(seed)
    step_s = random.choice((10, 10, 10, 10, 1, 60, 600, 3600))
    window_s = min(max(_time(random, now_s, near), now_s - LATE_S), now_s + AHEAD_S)
    window_s -= window_s % step_s
    if window_s < now_s - LATE_S:
        window_s += step_s
    points = {_series(random): _point(random) for _ in range(random.choice((0, 1, 1, 2, 5)))}
    batch = a_batch(
        random.randrange(seqs),
        points,
        agent=random.choice(("agent-1", "agent-2")),
        boot=random.choice((b"boot-one", b"boot-two")),
        window_s=window_s,
        step_s=step_s,
        closed_us=(window_s + step_s) * 1_000_000,
        processes=[_accounting(random) for _ in range(random.randrange(3))],
    )
    return Sent(batch, points, random.choice((0, 0, 7, 1000)))


def _series(random: Random) -> SeriesKey:
    return SeriesKey(*map(random.choice, TEXTS))


def _point(random: Random) -> Point:
    """Return what agents send, or what none may ever send and a store must still add up."""
    if random.random() < 0.6:
        usual = point_of([random.randrange(5_000_000) for _ in range(random.randrange(4))])
        usual.statuses = _statuses(random, sum(usual.buckets.values()))
        return usual
    point = Point(max_us=random.choice((0, 1, 2_000, 2**32 - 1)))
    for _ in range(random.randrange(4)):
        point.buckets[random.choice((random.randrange(1028), 0, 400, 401, 1027))] = random.choice(
            (1, 2, 256, 65_536, 2**32 - 1)
        )
    requests = sum(point.buckets.values())
    point.errors = min(random.choice((0, 1, 2**40)), requests)
    point.statuses = _statuses(random, requests)
    for name in random.sample(_SUMS, random.randrange(4)):
        setattr(point, name, random.choice((*_HUGE, random.randrange(5_000_000))))
    return point


def _statuses(random: Random, requests: int) -> dict[int, int]:
    """Return the codes of requests: of all, of some, or of none, as older agents send them."""
    statuses: dict[int, int] = {}
    for _ in range(random.randrange(4)):
        count = random.choice((requests, random.randrange(requests + 1)))
        if count:
            code = random.choice((200, 200, 404, 0, 100, 599, random.randrange(100, 600)))
            known = statuses.get(code, 0)
            # More of one code do not travel.
            count = min(count, 2**32 - 1 - known)
            statuses[code] = known + count
            requests -= count
    return statuses


def _accounting(random: Random) -> ProcessAccounting:
    return accounting_of(
        [(random.randrange(300), random.randrange(40)) for _ in range(random.randrange(4))],
        random.randrange(400),
        {reason: random.randrange(9) for reason in random.choice(((), ("full",), ("full", "old")))},
        random.choice((b"process1", b"process2")),
        random.choice(TEXTS[1]),
    )


def _time(random: Random, now_s: int, near: Sequence[int]) -> int:
    """Return a time of the last days, often one at which something changes."""
    kind = random.choice(("near", "near", "now", "hour", "day", "month", "local", "week", "late"))
    if kind == "near" and near:
        return random.choice(near) + random.choice((-3600, -60, -10, -7, 0, 0, 0, 10, 13, 60, 3600))
    if kind == "late":
        return now_s - random.randrange(LATE_S)
    border_s = {
        "hour": now_s - now_s % 3600 - random.randrange(6) * 3600,
        "day": now_s - now_s % DAY_S - random.randrange(6) * DAY_S,
        "month": _month(now_s),
        "local": _midnight(now_s, -random.randrange(6)),
        "week": now_s - LATE_S,
    }.get(kind, now_s - random.randrange(1000))
    return border_s + random.choice((-60, -11, -10, -1, 0, 0, 1, 10, 60))


def _month(now_s: int) -> int:
    now = datetime.fromtimestamp(now_s, UTC)
    return int(datetime(now.year, now.month, 1, tzinfo=UTC).timestamp())


def _midnight(now_s: int, days: int) -> int:
    day: date = datetime.fromtimestamp(now_s, BERLIN).date() + timedelta(days)
    return int(datetime(day.year, day.month, day.day, tzinfo=BERLIN).timestamp())


def a_selection(seed: int, now_s: int, near: Sequence[int]) -> Selection:
    """Return anything that may be asked of a month up to now_s, and of what was sent before."""
    random = Random(seed)
    fields = SeriesKey._fields
    group_by = random.sample(fields, random.choice((0, 0, 1, 2, 7)))
    where = {
        name: random.choice((*TEXTS[fields.index(name)], "nowhere"))
        for name in random.sample(fields, random.choice((0, 0, 0, 1, 1, 2)))
    }
    return Selection(tuple(_edges(random, now_s, near)), tuple(group_by), where)


def _edges(random: Random, now_s: int, near: Sequence[int]) -> Sequence[int]:
    """Return ascending times: even steps, days, months, any, or one step."""

    def any_time() -> int:
        if random.random() < 0.2:
            return now_s - random.randrange(30 * DAY_S)
        return _time(random, now_s, near)

    kind = random.choice(("even", "even", "even", "days", "months", "any", "any", "one", "one"))
    if random.random() < 0.02:
        return (0, 2**32)
    if kind == "days":
        return [_midnight(now_s, day) for day in range(-random.randrange(1, 30), 2)]
    if kind == "months":
        return sorted({_month(now_s + DAY_S * days) for days in (-90, -60, -31, 0, 31)})
    if kind == "even":
        step_s = random.choice((1, 7, 10, 30, 60, 90, 600, 3600, 7200, DAY_S))
        start_s = any_time() - step_s * random.randrange(40)
        if random.random() < 0.7:
            start_s -= start_s % step_s
        return range(start_s, start_s + step_s * random.randrange(2, 60), step_s)
    edges = {any_time() for _ in range(2 if kind == "one" else 9)}
    return sorted(edges | {max(edges) + 1} if len(edges) < 2 else edges)
