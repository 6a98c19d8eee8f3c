"""A collector that the tests of a file share, and connections to it."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from batchmaker import Connect, Sender
from servers import Collector, short_dir


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
