"""A store with what a test puts there: requests, gauges, measures and events."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.contract.parameters import RANGE, Parameters, parse
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.memory.engine import MemoryStore
from trimtab_core.batches import GaugeRow, Point, SeriesKey
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, Delta, MeasureKey, value_buckets
from trimtab_core.rows import EventRow, MeasureRow, pack_rows

__all__ = ["NOW_S", "AdviceByRule", "Owner", "Planted"]

#: environment, service, instance
Owner = tuple[str, str, str]

NOW_S: Final = 1_700_006_400
#: windows of the default range of the analysis, the last 15 minutes
_WINDOWS: Final = 90
_OWNER: Final = ("test", "shop", "host#0")


class Planted:
    """A store in memory; what is planted is stored when something is asked."""

    def __init__(self) -> None:
        self.clock = Clock(NOW_S)
        self.store = MemoryStore(
            keep_s=86_400, max_bytes=64 * 2**20, max_series=10_000, clock=self.clock
        )
        self.reader = StoreReader(self.store)
        self._points: dict[SeriesKey, Point] = {}
        #: window -> gauges, measures
        self._gauges: dict[int, list[GaugeRow]] = {}
        self._measures: dict[int, list[MeasureRow]] = {}
        self._events: list[EventRow] = []
        self._seq = 0

    # ------------------------------------------------ planting

    def requests(
        self, *times_ms: float, each: int = 1, errors: int = 0, sums: Any = (), **key: str
    ) -> None:
        """Plant requests of these times, each so often; sums are columns of the point."""
        point = point_of([int(1000 * ms) for ms in times_ms] * each, errors, **dict(sums))
        self._points[key_of(**key)] = point

    def gauge(self, name: str, *values: float, of: str = "host") -> None:
        """Plant values of a gauge over the range; of `a/b/c#0` for a process, else of a host."""
        environment, service, instance = of.split("/") if of.count("/") == 2 else ("", "", of)
        for window_s, value in _spread(values):
            self._gauges.setdefault(window_s, []).append(
                GaugeRow(environment, service, instance, name, value)
            )

    def counter(self, name: str, value: float, *, of: Owner = _OWNER, **attributes: str
                ) -> None:  # fmt: skip
        """Plant a counter; `_` in names of attributes stands for a dot."""
        self._measure(MeasureKey(name, COUNTER, "1", _sorted(attributes)), [[value]], of)

    def level(self, name: str, *values: float, of: Owner = _OWNER, **attributes: str
              ) -> None:  # fmt: skip
        """Plant a gauge that is a measure, its values over the range."""
        key = MeasureKey(name, GAUGE, "1", _sorted(attributes))
        self._measure(key, [[value] for value in values], of)

    def durations(self, name: str, *seconds: float, of: Owner = _OWNER, each: int = 1,
                  **attributes: str) -> None:  # fmt: skip
        """Plant a histogram of durations, each so often."""
        key = MeasureKey(name, HISTOGRAM, "s", _sorted(attributes))
        self._measure(key, [[*seconds] * each], of)

    def _measure(self, key: MeasureKey, values: list[list[float]], of: Owner) -> None:
        for window_s, some in _spread(values):
            delta = Delta()
            delta.add(some)
            if key.kind == HISTOGRAM:
                delta.buckets = dict(value_buckets(some))
            row = MeasureRow(*of, key, delta)
            self._measures.setdefault(window_s, []).append(row)

    def event(self, kind: str, *, of: Owner = _OWNER, **fields: Any) -> None:
        """Plant an event of half the range ago."""
        event = {"kind": kind, "at_us": (NOW_S - 450) * 1_000_000, **fields}
        self._events.append(EventRow(*of, event))

    # ------------------------------------------------ asking

    def parameters(self, path: str, **query: object) -> Parameters:
        """Return the checked parameters of a request."""
        (endpoint,) = [each for each in ENDPOINTS if path in each.paths]
        pairs = [(name.rstrip("_"), str(value)) for name, value in query.items()]
        return parse((*endpoint.parameters, *RANGE), pairs, self.clock.now_s, endpoint.back)

    def ask(self, path: str, **query: object) -> Any:
        """Return the data of an answer as JSON has it."""
        self.settle()
        (endpoint,) = [each for each in ENDPOINTS if path in each.paths]
        return msgspec.to_builtins(endpoint.read(self.reader, self.parameters(path, **query)))

    def settle(self) -> None:
        """Store what is planted."""
        windows = {_at(_WINDOWS // 2), *self._gauges, *self._measures}
        batches = []
        for window_s in sorted(windows):
            here = window_s == _at(_WINDOWS // 2)
            rows = pack_rows(self._measures.get(window_s, ()), self._events if here else ())
            batches.append(
                a_batch(
                    self._seq,
                    self._points if here else {},
                    window_s=window_s,
                    gauges=self._gauges.get(window_s, ()),
                    rows=rows[0] if rows else b"",
                )
            )
            self._seq += 1
        append(self.store, *batches)
        self._points, self._gauges, self._measures, self._events = {}, {}, {}, []


def _at(place: int) -> int:
    return NOW_S - 10 * (_WINDOWS - place)


def _spread(values: Sequence[Any]) -> list[tuple[int, Any]]:
    """Return values with windows from the first of the range to the last."""
    if len(values) == 1:
        return [(_at(_WINDOWS // 2), values[0])]
    apart = (_WINDOWS - 1) // (len(values) - 1)
    return [(_at(place * apart), value) for place, value in enumerate(values)]


def _sorted(attributes: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name.replace("_", "."), text) for name, text in attributes.items()))


class AdviceByRule:
    """The answer of /advice, by rule."""

    def __init__(self, planted: Planted, **query: object) -> None:
        found = planted.ask("/advice", **query)
        self.advice: dict[str, dict[str, Any]] = {each["type"]: each for each in found["advice"]}
        self.fine = {each["type"] for each in found["fine"]}
        self.reasons: dict[str, str] = {
            each["type"]: each["reason"] for each in found["notLookedAt"]
        }
