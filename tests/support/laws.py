"""How many examples a law is tried on: a fixed number in every run, many times more by hand.

    TEST_DEPTH=20 ./dev test -n 0 tests/collector/test_conformance_machine.py

tries twenty times as many, and makes a history that fails small, which takes minutes. With CI=true
the examples are the same in every run.
"""

import os
from typing import Final

from hypothesis import HealthCheck, Phase, settings

__all__ = ["DEPTH", "PLAIN", "histories", "use_profile"]

DEPTH: Final = int(os.environ.get("TEST_DEPTH", "1"))
#: examples of a law that asks for no number of its own
PLAIN: Final = 50


def use_profile() -> None:
    """Set what holds for every law; to be called before modules with laws are imported."""
    settings.register_profile(
        "every run", max_examples=PLAIN * DEPTH, derandomize=_same_every_time(), deadline=None
    )
    settings.load_profile("every run")


def histories(count: int, steps: int) -> settings:
    """Return settings for a state machine: the number of histories and of steps in each."""
    return settings(
        max_examples=count * DEPTH,
        stateful_step_count=steps,
        derandomize=_same_every_time(),
        database=None,
        deadline=None,
        # Making a history small takes minutes: that is for who looks into it.
        phases=list(Phase) if DEPTH > 1 else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )


def _same_every_time() -> bool:
    return "CI" in os.environ and DEPTH == 1
