"""Where the time of requests goes: the app, databases, others that it calls, and waiting."""

from collections.abc import Iterable
from typing import Final

from trimtab_collector.contract.overview import TimeShares
from trimtab_collector.reads.figures import Figures

__all__ = ["time_shares"]

_TIMES: Final = {
    "database": "db_us",
    "external": "external_us",
    "cache": "cache_us",
    "queue": "queue_us",
}


def time_shares(figures: Figures) -> Iterable[TimeShares | None]:
    """Yield where the time of each row goes; what calls at once take more than all is cut."""
    columns = figures.rows.columns
    parts = {name: columns.value(column).tolist() for name, column in _TIMES.items()}
    for place, total_us in enumerate(columns.value("sum_us").tolist()):
        times = {name: float(values[place]) for name, values in parts.items()}
        inside = times["database"] + times["external"] + times["cache"]
        whole = max(total_us, inside) + times["queue"]
        if not whole:
            yield None
            continue
        yield TimeShares(
            app=max(0.0, total_us - inside) / whole,
            **{name: value / whole for name, value in times.items()},
        )
