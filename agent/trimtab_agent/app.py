"""What the agent knows about an app process, and the worker numbers it hands out."""

from collections.abc import Mapping

from trimtab_core.batches import ProcessAccounting, SeriesKey
from trimtab_core.measures import MeasureKey
from trimtab_core.messages import Hello

__all__ = ["App", "Workers"]


class App:
    """One app process, from its hello to the window after it left."""

    def __init__(self, hello: Hello, worker: int) -> None:
        self.hello = hello
        self.worker = worker
        #: host and worker number, never a process id: recycling makes no new series
        self.instance = f"{hello.host}#{worker}"
        #: route templates by the id that the process gave them last; ids have 16 bits
        self.routes: dict[int, str] = {}
        #: measures by the number that the process gave them last, 1 to MAX_MEASURES
        self.measures: dict[int, MeasureKey] = {}
        #: events that the process says it dropped
        self.events_dropped = 0
        #: series by the key in the records, remembered by the aggregator
        self.series: dict[int, SeriesKey] = {}
        #: number after the last record received
        self.end = hello.sent
        #: records the process says it has sent
        self.sent = hello.sent
        self.dropped: Mapping[str, int] = {}
        self.gauges: Mapping[str, float] = {}
        self.connected = True

    def leave(self) -> None:
        """Forget what only further frames would need; the accounting stays for the open windows."""
        self.connected = False
        self.routes, self.measures, self.series, self.gauges = {}, {}, {}, {}

    def accounting(self, ranges: list[list[int]], open_from: int | None) -> ProcessAccounting:
        """Return the accounting for a closed window.

        open_from is the lowest record number in windows that are still open, None without any.
        """
        sent = max(self.end, self.sent) if open_from is None else open_from
        hello = self.hello
        return ProcessAccounting(
            hello.process,
            hello.environment,
            hello.service,
            self.instance,
            [(first, count) for first, count in ranges],
            sent,
            dict(self.dropped),
        )


class Workers:
    """Worker numbers in use, per environment, service and host; the lowest free one is given."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, str], set[int]] = {}

    def take(self, hello: Hello) -> int:
        """Return a worker number: the one that hello asks for if it is free, else the lowest."""
        used = self._used.setdefault((hello.environment, hello.service, hello.host), set())
        worker = hello.worker
        if worker < 0 or worker in used:
            worker = 0
            while worker in used:
                worker += 1
        used.add(worker)
        return worker

    def release(self, app: App) -> None:
        """Free the worker number of an app that left."""
        hello = app.hello
        key = (hello.environment, hello.service, hello.host)
        used = self._used.get(key)
        if used is not None:
            used.discard(app.worker)
            if not used:
                del self._used[key]
