"""Fixtures that every test may use."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from servers import short_dir


@pytest.fixture
def tmp() -> Iterator[Path]:
    """A new directory with a path short enough for Unix sockets (tmp_path is not)."""
    with short_dir() as path:
        yield path
