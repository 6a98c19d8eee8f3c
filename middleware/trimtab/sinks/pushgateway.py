"""Rows pushed to a Prometheus Pushgateway (github.com/prometheus/pushgateway, its HTTP API).

    PushgatewaySink("http://gateway:9091", "shop").start()

A push replaces what the group had before. Each process is a group of its own by default, or workers
would replace each other's values.
"""

import base64
import http.client
import os
import threading
import urllib.parse
from collections.abc import Mapping, Sequence

from trimtab.metrics.metric import MetricRow
from trimtab.runtime import PROCESS
from trimtab.sinks.exposition import CONTENT_TYPE, exposition
from trimtab.sinks.sink import Stored, collect_and_store
from trimtab.threads import OwnThread, has_exit_handlers
from trimtab_core.logs import RateLimited, app_logger
from trimtab_core.names import check_labels

__all__ = ["PushgatewaySink"]

log = app_logger("trimtab.sinks.pushgateway")


class PushgatewaySink:
    """Pushes when asked to, and after `start` by itself; any thread.

    The url may hold a user and a password; they are in no message. group has the labels of the
    group beside `job`; None is `instance`, host and process id. Raises ValueError for a url or
    an invalid label.
    """

    def __init__(
        self,
        url: str,
        job: str,
        *,
        group: Mapping[str, str] | None = None,
        interval_s: float = 30,
        timeout_s: float = 5,
    ) -> None:
        parts = urllib.parse.urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ValueError(
                "expected the url of a Pushgateway, got one without http://, host or good port: "
                "write http://host:9091"
            )
        if not job:
            raise ValueError("expected the name of a job, got '': name what pushes")
        check_labels(tuple(group or ()))
        self._tls = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self._path = parts.path.rstrip("/") + "/metrics"
        self._headers = {"Content-Type": CONTENT_TYPE, "Connection": "close"}
        if parts.username is not None:
            user = urllib.parse.unquote(parts.username)
            secret = f"{user}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = "Basic " + base64.b64encode(secret.encode()).decode()
        self._job = job
        self._group = group
        self._interval_s, self._timeout_s = interval_s, timeout_s
        self._warnings = RateLimited(log)
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def store(self, rows: Sequence[MetricRow]) -> Stored:
        """Push rows now, in place of those before."""
        status, text = self._request("PUT", exposition(rows).encode("utf-8", "replace"))
        return Stored(0, text) if status not in (200, 202) else Stored(len(rows))

    def forget(self) -> Stored:
        """Delete the group of this process from the Pushgateway; its values stay there otherwise.

        For a worker that ends and shall leave nothing behind; not for a job whose values matter.
        """
        status, text = self._request("DELETE", b"")
        return Stored(0, "" if status in (200, 202) else text)

    def start(self) -> "PushgatewaySink":
        """Push all metrics every interval, in a thread that is started once; so do later forks."""
        with self._lock:
            if self._thread is None:
                self._stopped.clear()
                thread = OwnThread(self._run, "trimtab-push")
                try:
                    thread.start()
                except RuntimeError as error:  # no thread to be had: the app goes on without
                    log.warning("metrics are not pushed until start is called again: %s", error)
                    return self
                self._thread = thread
                PROCESS.join(self)
        return self

    def stop(self) -> Stored:
        """End the thread and push once more; say what became of that."""
        with self._lock:
            self._stopped.set()
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._timeout_s)
        return collect_and_store(self)

    def _run(self) -> None:
        stopped = self._stopped
        while not stopped.wait(self._interval_s):
            try:
                done = collect_and_store(self)
                if done.failed:
                    self._warnings.warning("push", "metrics were not pushed: %s", done.failed)
            except Exception:
                log.debug("metrics were not pushed", exc_info=True)

    def _request(self, method: str, body: bytes) -> tuple[int, str]:
        """Return the status, 0 without one, and why it is no good one."""
        # Taken at each push: a fork has another process id.
        group = self._group
        if group is None:
            group = {"instance": f"{_host()}:{os.getpid()}"}
        path = self._path + "".join(
            _segment(*pair) for pair in [("job", self._job), *group.items()]
        )
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout_s)
        try:
            connection.request(method, path, body, self._headers)
            answer = connection.getresponse()
            text = answer.read(300).decode("utf-8", "replace").strip()
            return answer.status, f"the Pushgateway answered {answer.status}: {text}"
        except (OSError, http.client.HTTPException) as error:
            return 0, f"no Pushgateway at {self._host}: {type(error).__name__}: {error}"
        finally:
            connection.close()

    def after_fork(self) -> None:
        """Go on pushing in the child of a fork, in a thread of its own."""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        if self._thread is not None:
            self._thread = None
            # A child that a thread has forked ends with its last thread: ours would keep it.
            if has_exit_handlers():
                self.start()


def _segment(label: str, value: str) -> str:
    # Empty values, slashes and what a proxy would take for a folder cannot be path segments.
    text = value.encode("utf-8", "replace")
    if not text:
        return f"/{label}@base64/="
    if "/" in value or value in (".", ".."):
        return f"/{label}@base64/{base64.urlsafe_b64encode(text).decode()}"
    return f"/{label}/{urllib.parse.quote(text, safe='')}"


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
