"""Figures of merged rows, as the API shows them: computed by columns, made into rows last."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from trimtab_collector.contract.figures import RequestStats, Stats, TimeIn
from trimtab_collector.reads.apdex import without_class
from trimtab_collector.reads.codes import codes_of
from trimtab_collector.reads.digits import significant
from trimtab_collector.storage.columns import Array, quantiles_us
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.store import Rows

__all__ = [
    "FIGURES",
    "REQUEST_FIGURES",
    "Figures",
    "as_one_step",
    "group_of",
    "no_requests",
    "ranked",
]

_QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999}
#: part of a response time -> the column that adds it up
_PARTS: Final = {"database": "db_us", "cache": "cache_us", "external": "external_us"}
#: every figure of a group of requests
FIGURES: Final = Stats.__struct_fields__
#: those of requests alone
REQUEST_FIGURES: Final = RequestStats.__struct_fields__


class Figures:
    """The figures of each group and step that holds something."""

    def __init__(
        self, rows: Rows, seconds_of: Callable[[Array], Array], threshold_us: float
    ) -> None:
        """Compute them from rows whose last field is the status class.

        seconds_of gives by the starts of steps what their rates are over, threshold_us is the one
        of Apdex.
        """
        rows, apdex = without_class(rows, threshold_us)
        columns = rows.columns
        self.rows = rows
        #: seconds that the rates of each row are over
        self.seconds = seconds_of(rows.t)
        #: float64 a row, all requests together, ms
        self.total_time: Array = columns.value("sum_us") / 1000
        requests = columns.value("requests")
        some = requests > 0
        quantiles = np.where(some[:, None], quantiles_us(columns, tuple(_QUANTILES.values())), nan)
        self._columns: dict[str, Array] = {
            "requests": requests,
            "errors": columns.value("errors"),
            "error_rate": _share(columns.value("errors"), requests),
            "requests_per_second": requests / self.seconds,
            "mean": _share(self.total_time, requests),
            **dict(zip(_QUANTILES, quantiles.T / 1000, strict=True)),
            "max": np.where(some, columns.value("max_us") / 1000, nan),
            "ttfb_mean": _share(columns.value("ttfb_us") / 1000, requests),
            "queue_mean": _share(columns.value("queue_us") / 1000, columns.value("queued")),
            "apdex": apdex,
            "bytes": columns.value("bytes"),
            "web_sockets": columns.value("websockets"),
            "web_socket_mean": _share(
                columns.value("websocket_us") / 1000, columns.value("websockets")
            ),
            "event_streams": columns.value("event_streams"),
            "event_stream_mean": _share(
                columns.value("event_stream_us") / 1000, columns.value("event_streams")
            ),
        }

    def __len__(self) -> int:
        return len(self.rows.t)

    def __getitem__(self, name: str) -> Array:
        """Return a figure of every row, numbers; nan where it has none."""
        return self.total_time if name == "total_time" else self._columns[name]

    @cached_property
    def _codes(self) -> list[dict[str, int]]:
        return codes_of(self.rows.columns)

    @cached_property
    def _time_in(self) -> list[TimeIn | None]:
        columns = self.rows.columns
        requests = columns.value("requests")
        ms = {part: columns.value(name) / 1000 for part, name in _PARTS.items()}
        ms["app"] = np.maximum(0.0, self.total_time - sum(ms.values()))
        ms["queue"] = columns.value("queue_us") / 1000
        means = {part: significant(_share(value, requests)).tolist() for part, value in ms.items()}
        return [
            TimeIn(**dict(zip(means, row, strict=True))) if some else None
            for some, *row in zip(requests.tolist(), *means.values(), strict=True)
        ]

    @property
    def names(self) -> list[tuple[str, ...]]:
        """The name of each row's group."""
        return [self.rows.groups[place] for place in self.rows.group]

    def dicts(
        self, places: Array | None = None, names: Sequence[str] = FIGURES
    ) -> list[dict[str, Any]]:
        """Return the figures of rows, all or those at places, by name, as answers show them.

        Numbers with six significant digits, None for nan.
        """
        columns = []
        for name in names:
            if name in ("status_codes", "time_in"):
                chosen = range(len(self)) if places is None else places.tolist()
                every: Sequence[Any] = self._codes if name == "status_codes" else self._time_in
                columns.append([every[place] for place in chosen])
                continue
            column = self[name] if places is None else self[name][places]
            # The longest one is measured, to the microsecond.
            if column.dtype.kind == "f" and name != "max":
                column = significant(column)
            texts = column.tolist()
            if column.dtype.kind == "f" and np.isnan(column).any():
                texts = [None if value != value else value for value in texts]
            columns.append(texts)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


nan: Final = float("nan")


def as_one_step(rows: Rows, start_s: int) -> Rows:
    """Return the steps of each group added up, as one step from start_s on."""
    columns = merge([replace(rows.columns, key=rows.group)])
    t = np.full(len(columns.key), start_s)
    return Rows(rows.groups, columns.key, t, columns, rows.resolution_s)


def _share(part: Array, whole: Array) -> Array:
    """Return part / whole, nan where the whole is 0."""
    answer = np.full(len(whole), nan)
    np.divide(part, whole, out=answer, where=whole > 0)
    return answer


def ranked(figures: Figures, by: str, places: Array) -> Array:
    """Return places with the largest of a figure first; equal ones by name, none last."""
    size = np.nan_to_num(figures[by][places], nan=-1.0)
    names = figures.names
    order = sorted(range(len(places)), key=lambda at: (-size[at], names[places[at]][1:]))
    return places[np.array(order, np.int64)]


def group_of(fields: Sequence[str], name: Sequence[str]) -> dict[str, Any]:
    """Return the fields that say which group a row is of."""
    return dict(zip(fields, name, strict=True))


def no_requests() -> Mapping[str, Any]:
    """Return the figures of no requests."""
    whole = ("requests", "errors", "bytes", "web_sockets", "event_streams")
    return {
        **dict.fromkeys(FIGURES),
        **dict.fromkeys(whole, 0),
        "requests_per_second": 0.0,
        "status_codes": {},
    }
