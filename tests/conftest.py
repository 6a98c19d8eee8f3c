"""Fixtures that every test may use."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from support.processes.backends import new_database, postgresql, redis_server
from support.processes.drive import Clock, Measured, measuring
from support.processes.servers import Collector, short_dir
from support.stores.batches import Connect, Sender
from trimtab.recorder import BACKGROUND_NS
from trimtab.runtime import PROCESS, flush_all


@pytest.fixture
def tmp() -> Iterator[Path]:
    """A new directory with a path short enough for Unix sockets (tmp_path is not)."""
    with short_dir() as path:
        yield path


@pytest.fixture(scope="module", autouse=True)
def nothing_left_behind() -> Iterator[None]:
    """Forget what other files have left in the measures, and stop the emitters of this one.

    The next emitter would send it, and some tests look at every byte. One that is left looks for
    its agent for ever, at random times.
    """
    for _ in PROCESS.measures.changed():
        pass
    PROCESS.events.forget()
    yield
    flush_all()


@pytest.fixture
def measured() -> Iterator[Measured]:
    """Wraps apps so that they report to a peer of this test."""
    with measuring() as found:
        yield found


@pytest.fixture
def clock(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every app that is wrapped from here on; only the test moves it."""
    found = Clock()
    monkeypatch.setattr("trimtab.endings.BACKGROUND_NS", BACKGROUND_NS)
    monkeypatch.setattr("trimtab.asgi.monotonic_ns", found)
    monkeypatch.setattr("trimtab.wsgi.monotonic_ns", found)
    monkeypatch.setattr("trimtab.bodies.monotonic_ns", found)
    return found


# ---------------------------------------------------------------- databases


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis that all tests share; each keeps to keys that begin with a word of its own."""
    with redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgresql_dsn() -> Iterator[str]:
    """The superuser's DSN of a PostgreSQL that all tests share; `database_dsn` is one's own."""
    with postgresql() as dsn:
        yield dsn


@pytest.fixture
def database_dsn(postgresql_dsn: str) -> Iterator[str]:
    """An empty database of this test on the shared PostgreSQL."""
    with new_database(postgresql_dsn) as dsn:
        yield dsn


# ---------------------------------------------------------------- a collector and its agents


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector that the tests of this file share; each uses a service of its own."""
    with short_dir() as directory, Collector(directory) as process:
        yield process.start()


@pytest.fixture(scope="module")
def key(collector: Collector) -> str:
    return collector.new_key()


@pytest.fixture
def connect(collector: Collector) -> Iterator[Connect]:
    """Opens connections with a key; they are closed at the end of the test."""
    with ExitStack() as stack:
        yield lambda key: stack.enter_context(Sender(collector.port, key))


@pytest.fixture
def sender(connect: Connect, key: str) -> Sender:
    return connect(key)
