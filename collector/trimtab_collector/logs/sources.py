"""What goes into the log files besides the collector's log: figures, failed requests, alerts."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.parameters import APDEX, RANGE, REQUESTS, parse
from trimtab_collector.logs.files import COMBINED, ERRORS, PERFORMANCE, LogFiles
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import Received
from trimtab_core.logs import RateLimited
from trimtab_core.rows import EventRow

__all__ = ["FailedRequests", "MinuteFigures", "log_alerts"]

logger = logging.getLogger("trimtab.logs")

_MINUTE_S: Final = 60
#: a minute is written so long after its end: by then its windows have arrived
_LATE_S: Final = 40
#: minutes made up for after a pause
_CATCH_UP: Final = 5
_BY: Final = ("environment", "service")
#: as shown -> field of the figures
_FIGURES: Final = {
    "requests": "requests",
    "requestsPerSecond": "requests_per_second",
    "errors": "errors",
    "errorRate": "error_rate",
    **{name: name for name in ("mean", "p50", "p90", "p95", "p99", "max", "apdex")},
}
_SERVICES: Final = 1000
#: failed requests written in one second
_FAILED: Final = 100


class MinuteFigures:
    """A line for each service and minute with requests; `start` and `stop` from one thread."""

    def __init__(
        self, reader: StoreReader, files: LogFiles, clock: Callable[[], float] = time.time
    ) -> None:
        self._reader = reader
        self._files = files
        self._clock = clock
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="trimtab-minutes", daemon=True)
        #: why the latest minute is missing, else empty
        self.trouble = ""
        #: start of the next minute to write
        self._next_s = _minute(clock())

    def start(self) -> None:
        """Begin with the minute that it is."""
        self._next_s = _minute(self._clock())
        self._thread.start()

    def stop(self) -> None:
        """Write no further minute."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()

    def write_due(self) -> int:
        """Write the minutes that have arrived; returns how many."""
        now_s = self._clock()
        if self._next_s > now_s + _MINUTE_S:
            self._next_s = _minute(now_s)  # the clock was put back
        self._next_s = max(self._next_s, _minute(now_s - _LATE_S) - _CATCH_UP * _MINUTE_S)
        count = 0
        while self._next_s + _MINUTE_S + _LATE_S <= now_s:
            start_s, self._next_s = self._next_s, self._next_s + _MINUTE_S
            self._write(start_s)
            self.trouble = ""
            count += 1
        return count

    def _write(self, start_s: int) -> None:
        pairs = [("from", str(start_s)), ("to", str(start_s + _MINUTE_S))]
        parameters = parse((*REQUESTS, APDEX, *RANGE), pairs, self._clock())
        figures = self._reader.figures(self._reader.ranges.stored(parameters), _BY)
        rows = sorted(zip(figures.names, figures.dicts(), strict=True), key=lambda row: row[0])
        for name, row in rows[:_SERVICES]:
            if not row["requests"]:
                continue
            self._files.write(
                PERFORMANCE,
                "info",
                "performance",
                {
                    "from": instant(start_s),
                    "seconds": _MINUTE_S,
                    **dict(zip(_BY, name, strict=True)),
                    **{shown: row[field] for shown, field in _FIGURES.items()},
                },
            )

    def _run(self) -> None:
        while not self._stopping.wait(1.0):
            try:
                self.write_due()
            except Exception as error:
                self.trouble = f"figures of a minute were not written: {type(error).__name__}"
                logger.exception("figures of a minute were not written")


class FailedRequests:
    """Listens to commits, and writes each failed request that an app captured; an engine thread."""

    def __init__(self, files: LogFiles, clock: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._clock = clock
        self._second = 0
        self._count = 0
        self._log = RateLimited(logger)
        #: failed requests that were too many for their second, or have impossible figures
        self.left_out = 0

    def committed(self, batches: Sequence[Received]) -> None:
        """Write what is failed in new batches."""
        for batch in batches:
            for row in batch.events:
                event = row.event
                if event.get("kind") == "request" and event.get("reason") == "failed":
                    try:
                        self._write(row)
                    except (ValueError, TypeError, OverflowError) as error:
                        # What apps send is not ours: it costs itself.
                        self.left_out += 1
                        self._log.warning("event", "a failed request was not written: %r", error)

    def _write(self, row: EventRow) -> None:
        second = int(self._clock())
        if second != self._second:
            if self._count > _FAILED:
                over = self._count - _FAILED
                message = f"{over} more failed requests in one second: see /slow-requests"
                self._files.write(ERRORS, "error", "log", {"message": message})
            self._second, self._count = second, 0
        self._count += 1
        if self._count > _FAILED:
            self.left_out += 1
            return
        event = row.event
        self._files.write(
            ERRORS,
            "error",
            "request",
            {
                "at": instant(_number(event, "at_us") / 1e6),
                "environment": row.environment,
                "service": row.service,
                "instance": row.instance,
                "route": str(event.get("route", "")),
                "method": str(event.get("method", "")),
                "status": int(_number(event, "status")),
                "duration": _number(event, "duration_us") / 1000,
                "error": str(event.get("error") or ""),
                "errorSite": str(event.get("error_site") or ""),
                "trace": str(event.get("trace") or ""),
            },
        )


def log_alerts(files: LogFiles) -> Callable[[Sequence[AlertBody]], None]:
    """Return a listener that writes alerts that changed into combined.log; any thread."""

    def write(alerts: Sequence[AlertBody]) -> None:
        for alert in alerts:
            over = alert.state in ("resolved", "expired", "dismissed")
            level = "info" if over else "error" if alert.severity == "critical" else "warning"
            body: Mapping[str, Any] = msgspec.to_builtins(alert)
            files.write(COMBINED, level, "alert", body)

    return write


def _minute(epoch_s: float) -> int:
    return int(epoch_s) // _MINUTE_S * _MINUTE_S


def _number(event: Mapping[str, Any], name: str) -> float:
    value = event.get(name, 0)
    return value if isinstance(value, (int, float)) and 0 <= value < 2**60 else 0
