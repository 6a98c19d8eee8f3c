"""Load for tests: HTTP/1.1 requests over kept connections, each counted as answered or failed."""

import http.client
import itertools
import threading
import urllib.parse
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

__all__ = ["Load", "drive"]


class Load:
    """Threads that send requests in turn until a number is reached or until they are stopped.

    A target is `http://...` or `METHOD http://...`; a method other than GET and HEAD sends a small
    form. A request counts as answered when its whole body was read, whatever its status, else as
    failed. Nothing is sent twice: a retry would be a second request for the server.
    """

    def __init__(
        self,
        targets: Sequence[str],
        n: int | None = None,
        *,
        connections: int = 2,
        timeout_s: float = 30.0,
    ) -> None:
        self._targets = [_parsed(target) for target in targets]
        self._numbers = iter(range(n)) if n is not None else itertools.count()
        self._guard = threading.Lock()
        self._stop = threading.Event()
        self._timeout_s = timeout_s
        self._threads = [
            threading.Thread(target=self._run, name=f"load-{number}")
            for number in range(connections)
        ]
        self.statuses: Counter[int] = Counter()
        self.failures: list[str] = []

    @property
    def answered(self) -> int:
        """Requests whose answers were read to the end."""
        return self.statuses.total()

    @property
    def failed(self) -> int:
        """Requests that got no whole answer; the server may have seen them or not."""
        return len(self.failures)

    @property
    def sent(self) -> int:
        """Requests begun and finished, one way or the other."""
        return self.answered + self.failed

    def start(self) -> Self:
        """Begin."""
        for thread in self._threads:
            thread.start()
        return self

    def stop(self) -> Self:
        """Send no more, finish what has begun."""
        self._stop.set()
        return self.join()

    def join(self) -> Self:
        """Wait until the number is reached."""
        for thread in self._threads:
            thread.join()
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _run(self) -> None:
        connections: dict[str, http.client.HTTPConnection] = {}
        try:
            while not self._stop.is_set():
                with self._guard:
                    number = next(self._numbers, None)
                if number is None:
                    return
                method, place, path = self._targets[number % len(self._targets)]
                if place not in connections:
                    connections[place] = http.client.HTTPConnection(place, timeout=self._timeout_s)
                self._one(connections[place], method, path)
        finally:
            for connection in connections.values():
                connection.close()

    def _one(self, connection: http.client.HTTPConnection, method: str, path: str) -> None:
        body = None if method in ("GET", "HEAD") else "note=trim"
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            with self._guard:
                self.failures.append(f"{method} {path}: {error!r}")
        else:
            if answer.status >= 500:
                # A server whose app raised hangs up after its 500, without saying so.
                connection.close()
            with self._guard:
                self.statuses[answer.status] += 1


def drive(targets: Sequence[str], n: int, *, connections: int = 2, timeout_s: float = 30.0) -> Load:
    """Send n requests over the targets in turn and return the counts."""
    return Load(targets, n, connections=connections, timeout_s=timeout_s).start().join()


def _parsed(target: str) -> tuple[str, str, str]:
    method, _, url = target.rpartition(" ")
    parts = urllib.parse.urlsplit(url)
    path = parts.path or "/"
    return method or "GET", parts.netloc, f"{path}?{parts.query}" if parts.query else path
