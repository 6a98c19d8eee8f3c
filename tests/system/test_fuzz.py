"""Strange messages at every door of a real agent and a real collector, and honest traffic beside.

Each test sends a fixed number of cases from a fixed seed; `./dev bench fuzz` goes on for as long as
one likes, with other seeds. What must hold is in `support.fuzzing.world`: both processes live and
are well, say no traceback, stay within 64 MiB and some milliseconds of CPU per case, answer every
case as they may, and count the honest traffic exactly once.
"""

from collections.abc import Iterator

import pytest

from support.fuzzing.bodies import BatchFuzz
from support.fuzzing.frames import FrameFuzz
from support.fuzzing.queries import QueryFuzz
from support.fuzzing.world import World, world
from support.processes.servers import short_dir

SEED = 41


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[World]:
    with short_dir() as directory, world(directory, SEED) as running:
        yield running


def fuzz(fuzzed: World, part: str, bursts: int, cases: int) -> None:
    print(f"seed {SEED}: {bursts} bursts of {cases} {part}")  # noqa: T201 - shown when it fails
    for _ in range(bursts):
        fuzzed.burst(part, cases)
    fuzzed.settle()


def test_strange_frames_cost_nobody_else_a_number(fuzzed: World) -> None:
    fuzz(fuzzed, "frames", bursts=3, cases=40)


def test_strange_batches_cost_nobody_else_a_number(fuzzed: World) -> None:
    fuzz(fuzzed, "batches", bursts=3, cases=60)


def test_strange_questions_are_answered_or_refused(fuzzed: World) -> None:
    fuzz(fuzzed, "api", bursts=1, cases=120)


def test_after_all_that_a_collector_starts_again_and_every_read_answers(fuzzed: World) -> None:
    fuzzed.restart()
    fuzzed.read_all()


def test_a_process_that_ends_is_seen(fuzzed: World) -> None:
    fuzzed.agent.kill9()
    with pytest.raises(AssertionError, match="agent has ended"):
        fuzzed.check()


def test_a_seed_makes_the_same_cases_again() -> None:
    def kinds(seed: int) -> list[object]:
        frames, bodies, queries = FrameFuzz(seed), BatchFuzz(seed), QueryFuzz(seed)
        made = [(frames.stream().kind, bodies.body().kind, queries.path()) for _ in range(15)]
        return [*made]

    assert kinds(SEED) == kinds(SEED) != kinds(SEED + 1)
