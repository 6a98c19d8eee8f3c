"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from drive import Clock, Measured, measuring
from servers import short_dir
from trimtab.recorder import BACKGROUND_NS


@pytest.fixture
def tmp() -> Iterator[Path]:
    """A new directory with a path short enough for Unix sockets (tmp_path is not)."""
    with short_dir() as path:
        yield path


@pytest.fixture
def measured() -> Iterator[Measured]:
    """Wraps apps so that they report to a peer of this test."""
    with measuring() as found:
        yield found


@pytest.fixture
def clock(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every app that is wrapped from here on; only the test moves it."""
    found = Clock()
    monkeypatch.setattr("trimtab.asgi.BACKGROUND_NS", BACKGROUND_NS)
    monkeypatch.setattr("trimtab.asgi.monotonic_ns", found)
    monkeypatch.setattr("trimtab.wsgi.monotonic_ns", found)
    monkeypatch.setattr("trimtab.bodies.monotonic_ns", found)
    return found
