"""Apps that run and end side by side, each checked by its own accounting.

Starting a server and waiting until its records are booked takes seconds, most of them idle: a
module's cases share a stack and run a few at a time, before the first of its tests.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.processes.stack import Stack, stack

__all__ = ["Case", "Outcome", "Outcomes", "Run"]

#: Cases at a time: two cores, and half of the time they wait.
_AT_ONCE = 4


@dataclass(frozen=True)
class Run:
    """What a case has done: its app has ended."""

    #: records that must be booked, and the most there may be
    least: int
    most: int
    #: what the app wrote
    output: str = ""
    templates: frozenset[str] = frozenset()


Case = Callable[[Stack, str], Run]


@dataclass(frozen=True)
class Outcome:
    """A run and what the collector holds of its service."""

    run: Run
    account: dict[str, Any]
    #: rows of GET /routes
    routes: list[dict[str, Any]]

    @property
    def templates(self) -> frozenset[str]:
        """The route templates that were recorded."""
        return frozenset(row["route"] for row in self.routes)


class Outcomes:
    """Runs cases in a stack of their own, on the first look at one of them."""

    def __init__(self, directory: Path, cases: Mapping[str, Case]) -> None:
        self._directory = directory
        self._cases = cases
        self._found: dict[str, Outcome | BaseException] | None = None

    def of(self, name: str) -> Outcome:
        """Return the outcome of a case; raises what the case raised."""
        if self._found is None:
            with stack(self._directory) as system:
                self._found = _run(system, self._cases)
        found = self._found[name]
        if isinstance(found, BaseException):
            raise found
        return found


def chosen(request: pytest.FixtureRequest, cases: Mapping[str, Case]) -> dict[str, Case]:
    """Return the cases that this session's tests of the module ask for by their ids."""
    ids = {
        item.callspec.id
        for item in request.session.items
        if item.path == request.path and hasattr(item, "callspec")
    }
    return {name: case for name, case in cases.items() if name in ids}


def _run(system: Stack, cases: Mapping[str, Case]) -> dict[str, Outcome | BaseException]:
    found: dict[str, Outcome | BaseException] = {}
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        runs = {name: pool.submit(_one, system, name, case) for name, case in cases.items()}
    # It hands on all that it has: from here on the accounting is final.
    assert system.agent.stop() == 0
    for name, future in runs.items():
        try:
            found[name] = _outcome(system, name, future)
        except (Exception, AssertionError) as error:
            found[name] = error
    return found


def _one(system: Stack, name: str, case: Case) -> Run:
    try:
        return case(system, name)
    except AssertionError as error:
        if name in system.apps:
            error.add_note(f"the app said:\n{system.apps[name].output()}")
        raise
    finally:
        if name in system.apps:
            system.apps[name].reap()


def _outcome(system: Stack, name: str, future: Future[Run]) -> Outcome:
    run = future.result()
    system.wait_booked(name, run.least, timeout_s=5)
    api = system.collector.api
    routes = api.get("/routes", from_="-5m", service=name)["routes"]
    return Outcome(run, api.accounting(name), routes)
