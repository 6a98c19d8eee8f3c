"""200 people log in at once: what becomes of ingest's p99, and how much memory it takes.

Agents send at a fixed rate, which 429 and full queues do not slow; each latency counts from the
time at which its batch was due. The same with and without the people, in turns. They have right
passwords and addresses of their own, so that no limit per account or address spares the collector
anything: what bounds the work is that one password is hashed at a time, and 20 wait.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import harness
import processes
import storage_load
from storage_collector import Collector, collector
from trimtab_collector.auth.passwords import hash_password
from trimtab_collector.auth.people import People
from trimtab_collector.contract.callers import ITSELF, Role
from trimtab_collector.statefile import StateFile

GOAL = 1.2
PEOPLE = 200
ROUNDS = 7
SECONDS = 15.0
#: batches a second, of 200 points each
RATE = 80.0
PASSWORD = "correct horse battery"
VERSIONS = ("argon2-cffi", "pyjwt", "uvicorn", "uvloop", "starlette")


class Turn(NamedTuple):
    """One turn of sending; `flood` is what the people had, and empty without them."""

    p50_ms: float
    p99_ms: float
    #: by which the server's memory grew
    grown_mb: float
    flood: dict[str, Any]


def main() -> None:
    options = harness.arguments(__doc__)
    rows = login_rows(options.rounds, quick=options.quick)
    harness.report("judge_logins", rows, options.json, harness.packages(*VERSIONS))


def login_rows(rounds: int | None = None, *, quick: bool = False) -> list[harness.Row]:
    """Return the rows, measured in about four minutes."""
    rounds, seconds = (1, 2.0) if quick else (rounds or ROUNDS, SECONDS)
    processes.CACHE.mkdir(parents=True, exist_ok=True)
    # On the disk of the repository: a directory in memory would make fsync free.
    with tempfile.TemporaryDirectory(prefix="logins-", dir=processes.CACHE) as name:
        directory = Path(name)
        names = added(directory / "data", 20 if quick else PEOPLE)
        with collector(directory, directory / "data") as server:
            turn(server, 2.0, 0, None)
            seeds = iter(range(1, 1_000))
            turns = harness.interleave(
                {
                    "calm": lambda: turn(server, seconds, next(seeds), None),
                    "logins": lambda: turn(server, seconds, next(seeds), names),
                },
                rounds,
                said="logins",
            )
    return rows_of(turns["calm"], turns["logins"], len(names))


def added(data: Path, count: int) -> list[str]:
    """Add people to a data directory; returns their names."""
    state = StateFile(data)
    try:
        people, hashed = People(state), hash_password(PASSWORD)
        return [people.add(ITSELF, f"person-{n}", hashed, Role.PLANNER).name for n in range(count)]
    finally:
        state.close()


def turn(server: Collector, seconds: float, seed: int, names: Sequence[str] | None) -> Turn:
    """Send for some seconds, while the people of these names log in if there are any."""
    found: dict[str, Any] = {}
    before_mb, _ = server.memory_mb()
    with flooded(server.port, names, found) if names else nullcontext():
        # Windows too young to be merged: the compaction worker would take a core by turns.
        end_s = int(time.time()) // 10 * 10
        held = storage_load.half_load(server, RATE, seconds, end_s, seed)
        after_mb, _ = server.memory_mb()
    return Turn(held.all_p50_ms, held.all_p99_ms, after_mb - before_mb, found)


@contextmanager
def flooded(port: int, names: Sequence[str], found: dict[str, Any]) -> Iterator[None]:
    """Let people log in meanwhile; found has what became of that at the end."""
    asked = {"port": port, "names": list(names), "password": PASSWORD}
    command = [sys.executable, str(processes.CHILDREN / "login_flood.py")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            print(json.dumps(asked), file=child.stdin, flush=True)
            json.loads(child.stdout.readline())
            yield
            print(file=child.stdin, flush=True)
            found |= json.loads(child.stdout.readline())
        finally:
            child.terminate()


def rows_of(calm: Sequence[Turn], logins: Sequence[Turn], people: int) -> list[harness.Row]:
    """Return the rows of the turns, paired by round."""
    others = {status for each in logins for status in each.flood["others"]}
    if others:
        raise SystemExit(f"logins: expected 200 and 429, got {', '.join(sorted(others))}")
    ratio = harness.ratios([each.p99_ms for each in logins], [each.p99_ms for each in calm])
    own = harness.spread([each.p99_ms for each in logins])
    took = [ms for each in logins for ms in each.flood["took_ms"]]
    rate = harness.spread([each.flood["logins"] / each.flood["seconds"] for each in logins])
    refused = sum(each.flood["refused"] for each in logins)
    grown = harness.differences(
        [each.grown_mb for each in logins], [each.grown_mb for each in calm]
    )
    return [
        harness.Row(
            f"{people} parallel log-ins: ingest p99, to calm",
            ratio.median,
            "times",
            f"<= {GOAL}",
            ratio.median <= GOAL,
            spread=ratio,
            note=f"{RATE:.0f} batches of 200 points a second, {SECONDS:.0f} s a turn",
        ),
        harness.Row(
            f"{people} parallel log-ins: ingest p99",
            own.median,
            "ms",
            rivals={"calm": harness.spread([each.p99_ms for each in calm]).median},
            spread=own,
        ),
        harness.Row(
            f"{people} parallel log-ins: ingest p50",
            harness.spread([each.p50_ms for each in logins]).median,
            "ms",
            rivals={"calm": harness.spread([each.p50_ms for each in calm]).median},
        ),
        harness.Row(
            "log-ins let in",
            rate.median,
            "1/s",
            spread=rate,
            note=f"{harness.spread(took).median:.0f} ms each in the middle; {refused} tries were "
            f"answered 429 and came again",
        ),
        harness.Row(
            "log-ins: memory of the server added in a turn", grown.median, "MB", spread=grown
        ),
    ]


if __name__ == "__main__":
    main()
