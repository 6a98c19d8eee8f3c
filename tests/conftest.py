"""Fixtures that every test may use."""

import itertools
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from support.clock import Clock
from support.laws import use_profile
from support.processes.backends import new_database, postgresql, redis_server
from support.processes.drive import Measured, measuring
from support.processes.servers import Collector, short_dir
from support.processes.stack import Stack, stack
from support.schedule import Units, collected_once, in_order, taking_turns, there_to_stay
from support.stores.batches import Connect, Sender
from support.stores.engines import ENGINES, NOON, Engine, Pair
from trimtab.recorder import BACKGROUND_NS
from trimtab.runtime import PROCESS, flush_all

# ---------------------------------------------------------------- which test runs when


TURNS = pytest.StashKey[Path]()
_SERVICES = itertools.count(1)
use_profile()


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in whatever a shell starts with `&`: the servers of tests would inherit it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    given = getattr(config, "workerinput", {}).get("turns")
    config.stash[TURNS] = Path(given or tempfile.mkdtemp(prefix="tt-turns-"))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of pytest-xdist where all of them wait for their turn."""
    node.workerinput["turns"] = str(node.config.stash[TURNS])


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Units | None:
    """Hand out files as they are sorted here, where they are asked for."""
    return Units(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_unconfigure(config: pytest.Config) -> None:
    if TURNS in config.stash and not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[TURNS], ignore_errors=True)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    with there_to_stay():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Generator[None, object, object]:
    with collected_once(collector, collector.config.stash[TURNS]):
        return (yield)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    in_order(items)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with taking_turns(item, item.config.stash[TURNS]):
        return (yield)


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
    monkeypatch.setattr("trimtab.asgi.monotonic_ns", found.monotonic_ns)
    monkeypatch.setattr("trimtab.wsgi.monotonic_ns", found.monotonic_ns)
    monkeypatch.setattr("trimtab.bodies.monotonic_ns", found.monotonic_ns)
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


@pytest.fixture(scope="module")
def system() -> Iterator[Stack]:
    """A collector and an agent that the tests of this file share; none of them ends either."""
    with short_dir() as directory, stack(directory) as running:
        yield running


@pytest.fixture
def service(request: pytest.FixtureRequest) -> Iterator[str]:
    """A service of this test alone; its app in the shared stack ends with the test."""
    name = f"service-{next(_SERVICES)}"
    yield name
    if "system" in request.fixturenames:
        app = request.getfixturevalue("system").apps.get(name)
        if app is not None:
            app.reap()


# ---------------------------------------------------------------- stores


@pytest.fixture(params=list(ENGINES.values()), ids=list(ENGINES))
def make(request: pytest.FixtureRequest) -> Callable[[], Engine]:
    """Makes an engine that is not open yet: once for each there is."""
    made: Callable[[], Engine] = request.param
    return made


@pytest.fixture
def pair(make: Callable[[], Engine], tmp: Path) -> Iterator[Pair]:
    """An engine at noon, and the oracle beside it."""
    found = Pair(make, tmp, NOON)
    yield found
    found.engine.close()
