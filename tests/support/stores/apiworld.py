"""Four days of requests over a clock change, in a store and in a list: answers can be counted."""

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest

from support.alerts import NoAlerts
from support.clock import Clock
from support.stores.batches import a_batch, coded, point_of
from support.stores.engines import Sent, SQLiteEngine, append
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.contract.alerts import AlertHistory
from trimtab_collector.contract.parameters import RANGE, parse
from trimtab_collector.marks import Marks
from trimtab_collector.objectives.answers import Objectives
from trimtab_collector.objectives.kpis import KpiBook
from trimtab_collector.objectives.slos import SloBook
from trimtab_collector.overview.overviews import Overviews
from trimtab_collector.overview.situation import Sources
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reports.reporter import Reporter
from trimtab_collector.statefile import StateFile
from trimtab_core.batches import SeriesKey
from trimtab_core.sketch import Sketch, bucket_of, middle_us

__all__ = [
    "BERLIN",
    "END_S",
    "NOW_S",
    "START_S",
    "Request",
    "World",
    "codes_of",
    "digits",
    "figures",
    "world",
]

BERLIN: Final = ZoneInfo("Europe/Berlin")
#: clocks go back on the 25th at three
START_S: Final = int(datetime(2026, 10, 23, 12, tzinfo=BERLIN).timestamp())
END_S: Final = int(datetime(2026, 10, 27, 12, tzinfo=BERLIN).timestamp())
NOW_S: Final = END_S + 7_200


#: class of status -> codes of it, as requests have them here
_CODES: Final = {
    "2xx": (200, 200, 201, 204),
    "4xx": (401, 404, 429, 499, -1),
    "5xx": (500, 502, 503),
}


class Request(NamedTuple):
    """One request: the window it lies in, its series, how long it took, and its status code.

    A code of -1 is one that its agent did not tell.
    """

    t: int
    key: SeriesKey
    us: int
    code: int = -1


class World:
    """A store with requests in it, and the list of them."""

    #: classes of the parts that there are
    PARTS: Final = (StoreReader, Marks, Objectives, KpiBook, Overviews, Reporter)

    def __init__(self, engine: SQLiteEngine, clock: Clock, directory: Path) -> None:
        self.engine = engine
        self.clock = clock
        self.requests: list[Request] = []
        self.reader = StoreReader(engine.store)
        self.state = StateFile(directory / "state", (AUDIT,))
        self.marks = Marks(self.state, clock)
        self.reader.marks = self.marks.shown
        self.objectives = Objectives(engine.store, SloBook(self.state, clock), clock)
        self.kpis = KpiBook(self.state, clock)
        self.overviews = self._overviews_with(NoAlerts())
        self.reporter = self.reporter_with(NoAlerts())
        #: what endpoints ask, by its class
        self.parts: dict[type[Any], Any] = {
            type(part): part
            for part in (
                *(self.reader, self.marks, self.objectives, self.kpis),
                *(self.overviews, self.reporter),
            )
        }
        self._seq = 0

    def reporter_with(self, alerts: AlertHistory) -> Reporter:
        """Return what reports are made of, with these alerts."""
        overviews = self._overviews_with(alerts)
        return Reporter(*(self.reader, self.marks, self.objectives, self.kpis, alerts, overviews))

    def _overviews_with(self, alerts: AlertHistory) -> Overviews:
        """Return overviews of a clock that runs so fast that no answer is kept."""
        sources = Sources(self.reader, self.marks, alerts)
        return Overviews(sources, itertools.count(0, 1000).__next__)

    def send(self, requests: Sequence[Request]) -> None:
        """Store requests, those of a window in one batch."""
        windows: dict[int, dict[SeriesKey, list[Request]]] = {}
        for one in requests:
            windows.setdefault(one.t, {}).setdefault(one.key, []).append(one)
        sent = []
        for t, series in windows.items():
            points = {
                key: coded(
                    point_of([one.us for one in some], len(some) * (key.status_class == "5xx")),
                    Counter(one.code for one in some if one.code >= 0),
                )
                for key, some in series.items()
            }
            sent.append(Sent(a_batch(self._seq, points, window_s=t), points))
            self._seq += 1
        append(self.engine, *sent)
        self.requests += requests

    def ask(self, path: str, **query: object) -> Any:
        """Return `data` of the answer to a GET, as JSON has it; `from_` stands for `from`."""
        (endpoint,) = [each for each in ENDPOINTS if path in each.paths and each.method == "GET"]
        texts = {name.rstrip("_"): str(value) for name, value in query.items()}
        declared = (*endpoint.parameters, *RANGE)
        parameters = parse(declared, texts.items(), self.clock.now_s, endpoint.back)
        return msgspec.to_builtins(endpoint.read(self.parts[endpoint.of], parameters))

    def within(self, start_s: float, end_s: float, **fields: str) -> list[Request]:
        """Return the requests of windows in a range, with these texts in their series."""
        return [
            one
            for one in self.requests
            if start_s <= one.t < end_s
            and all(getattr(one.key, name) == text for name, text in fields.items())
        ]


def figures(requests: Iterable[Request], seconds: float, apdex_ms: int = 500) -> Mapping[str, Any]:
    """Return what figures of requests must be, counted one by one."""
    found = list(requests)
    times = [one.us for one in found]
    sketch = Sketch.of(times)
    failed = [one.key.status_class == "5xx" for one in found]
    worth = [
        0
        if bad
        else (middle_us(bucket_of(us)) <= 1000 * apdex_ms)
        + (middle_us(bucket_of(us)) <= 4000 * apdex_ms)
        for us, bad in zip(times, failed, strict=True)
    ]
    quantiles = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
    return {
        "requests": len(found),
        "errors": sum(failed),
        "errorRate": digits(sum(failed) / len(found)),
        "requestsPerSecond": pytest.approx(len(found) / seconds, rel=1e-5),
        "mean": pytest.approx(sum(times) / len(times) / 1000, rel=1e-5),
        **{name: digits(sketch.quantile_us(q) / 1000) for name, q in quantiles.items()},
        "max": max(times) / 1000,
        "apdex": pytest.approx(sum(worth) / 2 / len(found), rel=1e-5),
        "statusCodes": codes_of(found),
    }


def digits(value: float) -> float:
    """Return a figure with the six significant digits that answers show."""
    return float(f"{value:.6g}")


def codes_of(requests: Iterable[Request]) -> dict[str, int]:
    """Return requests by status code as the API names them, counted one by one."""
    words = {0: "other", -1: "unknown"}
    return dict(Counter(words.get(one.code, str(one.code)) for one in requests))


def _random_requests(windows: int) -> Iterator[Request]:
    dice, codes = random.Random(4), random.Random(5)
    # Nothing between midnight and six, UTC.
    times = [t for t in range(START_S, END_S, 10) if t % 86_400 >= 6 * 3600]
    for t in sorted(dice.choices(times, k=windows)):
        service = dice.choice(["shop", "shop", "books"])
        key = SeriesKey(
            dice.choice(["live", "test"]),
            service,
            "1" if t < START_S + 2 * 86_400 else dice.choice(["1", "2"]),
            f"host#{dice.randrange(3)}",
            dice.choice(["/", "/items/{id}", "/cart"]),
            dice.choice(["GET", "GET", "POST"]),
            dice.choice(["2xx", "2xx", "2xx", "4xx", "5xx"]),
        )
        for _ in range(dice.randrange(1, 6)):
            us = int(dice.lognormvariate(11, 2)) + 1
            yield Request(t, key, us, codes.choice(_CODES[key.status_class]))


@contextmanager
def world(directory: Path, *, empty: bool = False, windows: int = 700) -> Iterator[World]:
    """Yield a store, with four days of requests merged into its tiers unless it is to be empty."""
    clock, engine = Clock(NOW_S), SQLiteEngine()
    engine.open(directory, clock)
    found = World(engine, clock, directory)
    try:
        if not empty:
            found.send(list(_random_requests(windows)))
            engine.settle()
        yield found
    finally:
        engine.close()
        found.state.close()
