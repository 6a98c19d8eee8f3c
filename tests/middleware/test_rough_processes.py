"""What an app does to its own process: a start that fails, logging that raises, files closed."""

import asyncio
import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pytest

from support.processes.drive import Measured, call_wsgi, request
from support.processes.servers import wait_for
from trimtab import runtime
from trimtab.emitter import Emitter
from trimtab.metrics.metric import MetricRow
from trimtab.runtime import runtime_for
from trimtab.settings import read_settings
from trimtab.sinks import file
from trimtab.sinks.file import FileSink
from trimtab_core.logs import RateLimited, app_logger


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


async def hello_asgi(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})


# ---------------------------------------------------------------- a start that fails


@pytest.mark.parametrize("fault", [RuntimeError("can't start new thread"), OSError(24, "files")])
def test_a_start_that_failed_is_tried_again_and_no_record_is_lost(
    measured: Measured,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    fault: Exception,
) -> None:
    right, failing = Emitter.start, True

    def start(emitter: Any) -> None:
        if failing:
            raise fault
        right(emitter)

    monkeypatch.setattr(runtime, "_START_PAUSE_S", (0.05, 0.05))
    monkeypatch.setattr(Emitter, "start", start)
    app = measured.wsgi(hello)
    own = runtime_for(read_settings(**measured.settings()))
    with caplog.at_level(logging.WARNING, "trimtab"):
        for _ in range(3):
            assert call_wsgi(app).body == [b"hello"]
        assert not own.flush(), "nothing could be sent"
        failing = False
        wait_for(lambda: call_wsgi(app).body and own.is_connected, "a start that worked")
    said = [each for each in caplog.records if "could not start its thread" in each.getMessage()]
    assert len(said) == 1
    assert own.flush(5)
    sent = own.accounting["sent"]
    assert sent >= 4
    assert len(measured.records(sent)) == sent


# ---------------------------------------------------------------- logging that raises

REQUEST_ID: ContextVar[str] = ContextVar("request_id")


class NeedsRequest(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()  # as many apps do: LookupError outside a request
        return True


class Broken(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise ValueError("broken on purpose")


def _factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
    raise LookupError("no request")


def _filtered() -> None:
    handler = logging.StreamHandler()
    handler.addFilter(NeedsRequest())
    logging.getLogger().addHandler(handler)


ROUGH: dict[str, Callable[[], None]] = {
    "filter": _filtered,
    "handler": lambda: logging.getLogger().addHandler(Broken()),
    "factory": lambda: logging.setLogRecordFactory(_factory),
}


@pytest.fixture(params=ROUGH)
def rough(request: pytest.FixtureRequest) -> Iterator[None]:
    root, factory = logging.getLogger(), logging.getLogRecordFactory()
    handlers = [*root.handlers]
    ROUGH[request.param]()
    with pytest.raises((LookupError, ValueError)):
        root.warning("as the app set it up")
    yield
    logging.setLogRecordFactory(factory)
    root.handlers[:] = handlers


def test_no_logger_of_ours_raises_what_the_apps_logging_raises(rough: None) -> None:
    logger = app_logger("trimtab.tested")
    for say in (logger.debug, logger.info, logger.warning, logger.error, logger.exception):
        say("%s", "anything")
    RateLimited(logger).warning("cause", "anything")


def test_the_emitter_goes_on_where_its_warnings_raise(rough: None, tmp: Path) -> None:
    settings: dict[str, Any] = {
        "agent": f"unix://{tmp}/none.sock",
        "service": "rough",
        "interval_ms": 20,
    }
    own = runtime_for(read_settings(**settings))
    try:
        own.wake()
        emitter = own._emitter
        assert emitter is not None
        # Its first turn warns that there is no agent; it takes another one.
        assert emitter.flush(5)
        assert emitter.flush(5)
        assert emitter._thread.is_alive()
    finally:
        own.stop()


def test_a_request_ends_well_where_the_start_fails_and_the_warning_too(
    rough: None, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(emitter: Any) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(Emitter, "start", start)
    assert call_wsgi(measured.wsgi(hello, service="one")).body == [b"hello"]
    asyncio.run(request(measured.asgi(hello_asgi, service="two")))


# ---------------------------------------------------------------- files that the app closes


def test_sockets_that_the_app_has_closed_are_made_anew_and_its_own_files_left_alone(
    measured: Measured,
) -> None:
    app = measured.wsgi(hello)
    call_wsgi(app)
    own = runtime_for(read_settings(**measured.settings()))
    wait_for(lambda: own.is_connected, "a connection")
    emitter = own._emitter
    assert emitter is not None
    assert emitter._link is not None
    assert own.flush(5)
    numbers = [
        emitter._link.socket.fileno(), emitter._waking.read.fileno(),
        emitter._waking._write.fileno(),
    ]  # fmt: skip
    # As a daemon does that closes what it finds and opens files of its own; one stays closed.
    reading, writing = os.pipe()
    taken = numbers[:2]
    for number in taken:
        os.dup2(writing, number)
    os.close(numbers[2])
    wait_for(lambda: emitter._waking.is_ours, "new sockets")
    call_wsgi(app)
    wait_for(lambda: own.is_connected, "another connection")
    assert own.flush(5)
    for number in taken:
        assert os.fstat(number) == os.fstat(writing), "closed, or another file"
        os.close(number)
    os.close(writing)
    assert os.read(reading, 10) == b"", "something was written into a file of the app"
    os.close(reading)
    assert len(measured.records(2)) == 2


def test_a_lock_that_nobody_lets_go_of_is_told(tmp: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_PATIENCE_S", 0.05)
    path = tmp / "metrics.jsonl"
    row = MetricRow("jobs", "counter", "1", "", {}, 1.0, 0.0)
    with (tmp / "metrics.jsonl.lock").open("ab") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert FileSink(path).store([row]) == (0, f"{path}: another process holds its lock")
        letting_go = threading.Thread(target=fcntl.flock, args=(held, fcntl.LOCK_UN))
        monkeypatch.setattr(file, "_PATIENCE_S", 10)
        letting_go.start()
        assert FileSink(path).store([row]) == (1, "")
        letting_go.join()
