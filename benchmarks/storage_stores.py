"""Stores filled with made-up traffic: opened, fed, kept for the next run, weighed.

Batches go the way that an agent's go: decoded, checked, journaled, then merged by `compact`, with a
clock that is set to the time they speak of. The only place here that constructs a store.
"""

import asyncio
import importlib
import json
import pkgutil
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

import processes
import storage_traffic
from harness import progress
from storage_traffic import Host
from trimtab_collector import storage
from trimtab_collector.storage.columns import series_index
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import Received, UnavailableError
from trimtab_core.batches import decode

__all__ = ["Clock", "Job", "Made", "Size", "append", "build", "kept", "open_store", "sizes"]

_GROUP: Final = 256
_AHEAD: Final = 3
_TRIES: Final = 300
_TIER: Final = re.compile(r"(10s|10m|1m|1h)-\d+\.db")


class Clock:
    """A clock that stands where it is put."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        """Return epoch seconds."""
        return self.now_s


class Job(NamedTuple):
    """Windows of one host to make; see storage_traffic.batches."""

    host: Host
    start_s: int
    end_s: int
    step_s: int


class Made(NamedTuple):
    """A store on disk and what went into it; its own time is now_s."""

    directory: Path
    now_s: int
    facts: dict[str, float]


@dataclass(slots=True)
class Size:
    """What the files of one tier hold."""

    files: int = 0
    #: of the files, with all that SQLite needs
    file_bytes: int = 0
    #: of these, in pages that are free
    free_bytes: int = 0
    #: level of roll-up -> points, buckets, bytes of chunks
    levels: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def total(self, place: int) -> int:
        """Return the sum over levels of points (0), buckets (1) or bytes (2)."""
        return sum(level[place] for level in self.levels.values())


def open_store(directory: Path, clock: Callable[[], float]) -> SQLiteStore:
    """Open a store with the limits it has by itself."""
    return SQLiteStore(directory, clock=clock)


def append(store: SQLiteStore, bodies: Iterable[bytes], facts: dict[str, float]) -> None:
    """Keep encoded batches, many at a time; adds to facts what they hold."""

    async def one(raw: bytes) -> None:
        batch = decode(raw)
        window_s = batch.window_s - batch.window_s % 10
        numbered = store.number(batch, window_s, lambda _: None)
        requests = numbered.columns.values["requests"]
        place = numbered.service[series_index(batch)]
        sums = np.bincount(place, weights=requests, minlength=len(numbered.services))
        totals = {name: (int(sums[at]), 0) for at, name in enumerate(numbered.services) if sums[at]}
        read_s = window_s + batch.step_s
        received = Received(batch, raw, numbered, window_s, batch.closed_us, read_s, totals)
        for left in range(_TRIES, -1, -1):
            try:
                await store.append(received)
                break
            except UnavailableError:
                if not left:
                    raise
                await asyncio.sleep(0.2)  # as an agent comes again, sooner
        for name, value in (
            ("batches", 1),
            ("points", batch.points),
            ("buckets", len(numbered.columns.indexes)),
            ("requests", int(requests.sum())),
            ("wire_bytes", len(raw)),
        ):
            facts[name] = facts.get(name, 0) + value

    async def work() -> None:
        waiting: list[Any] = []
        for raw in bodies:
            waiting.append(one(raw))
            if len(waiting) == _GROUP:
                await asyncio.gather(*waiting)
                waiting.clear()
        await asyncio.gather(*waiting)

    asyncio.run(work())


def build(
    directory: Path, slices: Sequence[Sequence[Job]], now_s: int, said: str = ""
) -> dict[str, float]:
    """Fill a new store: after each slice of time its clock moves on and it merges.

    Returns what went in and how long that took. The traffic is made in a process of its own.
    """
    slices = [jobs for jobs in slices if jobs]
    clock = Clock(slices[0][0].start_s)
    facts: dict[str, float] = {"append_s": 0.0, "compact_s": 0.0}
    begun = shown = time.monotonic()
    with closing(open_store(directory, clock)) as store:
        for place, (jobs, bodies) in enumerate(zip(slices, _made(slices), strict=True)):
            clock.now_s = min(now_s, max(job.end_s for job in jobs))
            at = time.monotonic()
            append(store, bodies, facts)
            facts["append_s"] += time.monotonic() - at
            at = time.monotonic()
            store.compact(clock.now_s)
            facts["compact_s"] += time.monotonic() - at
            if said and time.monotonic() - shown > 5:
                shown = time.monotonic()
                days = (now_s - clock.now_s) / 86_400
                points = facts.get("points", 0) / 1e6
                progress(
                    f"{said}: {place + 1} of {len(slices)}, {points:.1f} M points, -{days:.1f} d"
                )
        clock.now_s = now_s
        store.compact(now_s)
    facts["build_s"] = time.monotonic() - begun
    return facts


def kept(
    name: str,
    slices: Callable[[int], Sequence[Sequence[Job]]],
    *,
    fresh: bool = False,
) -> Made:
    """Return a filled store of this name, made now if there is none of this version.

    slices returns what to fill it with, given the time at its end.
    """
    place = processes.CACHE / f"store-{name}-{_versions()}"
    if fresh:
        shutil.rmtree(place, ignore_errors=True)
    about = place / "facts.json"
    if not about.is_file():
        processes.CACHE.mkdir(parents=True, exist_ok=True)
        for old in processes.CACHE.glob(f"store-{name}-[0-9]*"):
            shutil.rmtree(old)
        now_s = int(time.time()) // 10 * 10
        progress(f"filling the store {name!r}, once for this version; it is kept")
        facts = build(place / "data", slices(now_s), now_s, f"store {name!r}")
        about.write_text(json.dumps({"now_s": now_s, **facts}))
        progress(f"the store {name!r} is ready after {facts['build_s']:.0f} s")
    facts = json.loads(about.read_text())
    return Made(place / "data", int(facts.pop("now_s")), facts)


def sizes(directory: Path) -> dict[str, Size]:
    """Return what each tier of a closed store takes; the names of tiers are 10s, 1m, 1h."""
    found: dict[str, Size] = {}
    for path in sorted(directory.iterdir()):
        match = _TIER.fullmatch(path.name)
        if match is None:
            continue
        size = found.setdefault(match[1], Size())
        size.files += 1
        size.file_bytes += path.stat().st_size
        with closing(sqlite3.connect(path)) as connection:
            (free,) = connection.execute("PRAGMA freelist_count").fetchone()
            size.free_bytes += free * connection.execute("PRAGMA page_size").fetchone()[0]
            for level, *more in connection.execute(
                "SELECT level, sum(points), sum(buckets), sum(length(payload)) FROM chunk"
                " GROUP BY level"
            ):
                before = size.levels.get(level, (0, 0, 0))
                points, buckets, payload = map(sum, zip(before, more, strict=True))
                size.levels[level] = (points, buckets, payload)
    return found


def _versions() -> str:
    """Return a text that changes with the traffic and with the formats that the store writes."""
    found = [storage_traffic.VERSION]
    for module in sorted(each.name for each in pkgutil.iter_modules(storage.__path__)):
        names = vars(importlib.import_module(f"{storage.__name__}.{module}"))
        found += [names[name] for name in ("VERSION", "_VERSION") if name in names]
    return "-".join(map(str, found))


def _made(slices: Sequence[Sequence[Job]]) -> Iterator[list[bytes]]:
    """Yield the batches of each slice in order of window, made a little ahead."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        waiting: list[Future[list[bytes]]] = []
        for jobs in slices:
            waiting.append(pool.submit(_make, list(jobs)))
            if len(waiting) > _AHEAD:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _make(jobs: list[Job]) -> list[bytes]:
    # Hosts take turns, as their agents do.
    made = [list(storage_traffic.batches(*job)) for job in jobs]
    longest = max(map(len, made), default=0)
    return [rows[at] for at in range(longest) for rows in made if at < len(rows)]
