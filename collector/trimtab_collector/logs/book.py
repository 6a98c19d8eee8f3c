"""All that a collector logs into files, put together."""

from collections.abc import Sequence
from pathlib import Path

from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.contract.callers import NOBODY, Caller
from trimtab_collector.contract.health import HealthPart
from trimtab_collector.logs.files import LogFiles
from trimtab_collector.logs.sources import FailedRequests, MinuteFigures, log_alerts
from trimtab_collector.reads.reader import StoreReader

__all__ = ["LogBook"]


class LogBook:
    """The log files and what is written into them; raises StartupError."""

    def __init__(self, directory: Path, max_bytes: int, keep: int, reader: StoreReader) -> None:
        self.files = LogFiles(directory, max_bytes, keep)
        self._minutes = MinuteFigures(reader, self.files)
        self._failed = FailedRequests(self.files)
        self._alerts = log_alerts(self.files)
        reader.store.on_commit(self._failed.committed)

    def start(self) -> None:
        """Write from now on."""
        self.files.start()
        self._minutes.start()

    def alerts(self, alerts: Sequence[AlertBody]) -> None:
        """Write alerts that changed; any thread."""
        self._alerts(alerts)

    @property
    def trouble(self) -> str:
        """What is not written, else empty; any thread."""
        return self.files.trouble or self._minutes.trouble

    def health(self, _caller: Caller = NOBODY) -> HealthPart:
        """Return how the files do; any thread."""
        body = self.files.health()
        body.trouble = self.trouble or None
        return HealthPart(body, body.trouble is not None)

    def close(self) -> None:
        """Write what waits, and end; before the store is closed."""
        self._minutes.stop()
        self.files.close()
