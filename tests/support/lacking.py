"""What a test does without a program or a right that it needs."""

import os
from typing import NoReturn

import pytest

__all__ = ["lack"]


def lack(reason: str) -> NoReturn:
    """Skip the test with the reason; with CI=true every test must run, and it fails."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
