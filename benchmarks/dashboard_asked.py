"""What dashboards cost the collector: each question of a page alone, and twenty of them open.

The questions are those that a browser asked. Twenty dashboards are clients that ask the same at the
same pace, each beginning at another moment, and that have a live stream each.
"""

import asyncio
import json
import random
import statistics
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import httpx
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

import harness
from dashboard_pages import Asked
from dashboard_world import World

__all__ = ["answer_rows", "open_rows"]

ANSWER_MS: Final = 300
CORE: Final = 0.10
DASHBOARDS: Final = 20
#: longer than any answer is shared
_APART_S: Final = 1.1
_HEADERS: Final = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate, br, zstd"}


def answer_rows(world: World, pages: Mapping[str, Sequence[str]], rounds: int) -> list[harness.Row]:
    """Return how long the collector takes for what each page asks, one question at a time."""
    headers = {**_HEADERS, "Authorization": f"Bearer {world.collector.token}"}
    rows = []
    with httpx.Client(base_url=world.base, headers=headers, timeout=120) as client:
        for what, targets in pages.items():
            took: dict[str, list[float]] = {target: [] for target in targets}
            cpu: dict[str, list[float]] = {target: [] for target in targets}
            for place in range(rounds):
                harness.progress(f"{what}: round {place + 1} of {rounds}")
                for target in targets:
                    before_s, begun_s = world.collector.cpu_s(), time.perf_counter()
                    answer = client.get(target)
                    took[target].append((time.perf_counter() - begun_s) * 1000)
                    cpu[target].append((world.collector.cpu_s() - before_s) * 1000)
                    if answer.status_code != 200:
                        raise SystemExit(f"dashboard: {target} answered {answer.text[:300]}")
                time.sleep(_APART_S)
            rows += _answers(what, took, cpu)
    return rows


def _answers(
    what: str, took: Mapping[str, Sequence[float]], cpu: Mapping[str, Sequence[float]]
) -> list[harness.Row]:
    middle = {target: statistics.median(times) for target, times in took.items()}
    work = {target: statistics.median(times) for target, times in cpu.items()}
    slowest = max(middle, key=lambda target: middle[target])
    each = ", ".join(
        f"{_short(target)} {middle[target]:.0f} ({work[target]:.0f})"
        for target in sorted(middle, key=lambda target: -middle[target])
    )
    goal = f"<= {ANSWER_MS}"
    return [
        harness.Row(f"{what}: slowest answer, ms of the clock", middle[slowest], "ms", goal,
                    middle[slowest] <= ANSWER_MS, spread=harness.spread(took[slowest]),
                    note=f"ms, in brackets of CPU: {each}"),
        harness.Row(f"{what}: slowest answer, CPU", max(work.values()), "ms", goal,
                    max(work.values()) <= ANSWER_MS),
        harness.Row(f"{what}: all {len(took)} answers together, CPU", sum(work.values()), "ms"),
    ]  # fmt: skip


def _short(target: str) -> str:
    path, _, query = target.removeprefix("/api/performance").partition("?")
    group = [each for each in query.split("&") if each.startswith(("groupBy=", "name="))]
    return " ".join([path, *group])[:60]


def open_rows(
    world: World, mixes: Mapping[str, Sequence[Sequence[Asked]]], recorded_s: int, seconds: int
) -> list[harness.Row]:
    """Return the share of a core that open dashboards take, above what ingest alone takes.

    mixes are pages by what they are called, each what one page asked within recorded_s; the
    dashboards take turns with them.
    """
    # Idle before and after, so that a change of the machine shows.
    idle = [_idle(world, seconds)]
    found = {what: asyncio.run(_held(world, pages, recorded_s, seconds))
             for what, pages in mixes.items()}  # fmt: skip
    idle.append(_idle(world, seconds))
    alone = statistics.mean(idle)
    rows = []
    for what, (share, statuses, asked, updates) in found.items():
        cost = share - alone
        refused = {status: count for status, count in statuses.items() if status != 200}
        rows.append(harness.Row(
            f"{DASHBOARDS} open dashboards, {what}", cost, "of a core", f"<= {CORE}", cost <= CORE,
            note=f"{share:.3f} with ingest, ingest alone {idle[0]:.3f} before and {idle[1]:.3f} "
            f"after; {asked / seconds:.1f} questions and {updates / seconds:.1f} updates per second"
            + (f"; refused: {refused}" if refused else ""),
        ))  # fmt: skip
    return rows


def _idle(world: World, seconds: int) -> float:
    harness.progress(f"ingest alone, {seconds} s")
    before_s = world.collector.cpu_s()
    time.sleep(seconds)
    return (world.collector.cpu_s() - before_s) / seconds


async def _held(
    world: World, pages: Sequence[Sequence[Asked]], recorded_s: int, seconds: int
) -> tuple[float, Counter[int], int, int]:
    harness.progress(f"{DASHBOARDS} dashboards, {seconds} s")
    draw = random.Random(1)
    statuses: Counter[int] = Counter()
    updates: Counter[str] = Counter()
    async with asyncio.TaskGroup() as group:
        tasks = []
        for number in range(DASHBOARDS):
            page = pages[number % len(pages)]
            start_s = draw.uniform(0, recorded_s)
            tasks.append(group.create_task(_one(world, page, recorded_s, start_s, statuses)))
            tasks.append(group.create_task(_streamed(world, updates)))
        await asyncio.sleep(5)
        before_s, asked = world.collector.cpu_s(), statuses.total()
        updated = updates.total()
        await asyncio.sleep(seconds)
        share = (world.collector.cpu_s() - before_s) / seconds
        asked, updated = statuses.total() - asked, updates.total() - updated
        for task in tasks:
            task.cancel()
    return share, statuses, asked, updated


async def _one(
    world: World, page: Sequence[Asked], length_s: int, start_s: float, statuses: Counter[int]
) -> None:
    """Ask what a page asks, from a moment of its record on, again and again."""
    headers = {**_HEADERS, "Authorization": f"Bearer {world.collector.token}"}
    limits = httpx.Limits(max_connections=6)
    begun_s = time.monotonic() - start_s
    async with (
        httpx.AsyncClient(
            base_url=world.base, headers=headers, limits=limits, timeout=60
        ) as client,
        asyncio.TaskGroup() as group,
    ):

        async def ask(asked: Asked) -> None:
            answer = await client.get(asked.target, headers={"Cache-Control": asked.control})
            statuses[answer.status_code] += 1

        for turn in range(1000):
            for asked in page:
                due_s = begun_s + turn * length_s + asked.at_s
                if due_s < time.monotonic() - 1:
                    continue
                await asyncio.sleep(max(0.0, due_s - time.monotonic()))
                group.create_task(ask(asked))


async def _streamed(world: World, updates: Counter[str]) -> None:
    """Have a live stream as a page has it."""
    address = world.base.replace("http", "ws") + "/socket.io/?EIO=4&transport=websocket"
    try:
        async with connect(address, max_size=None) as socket:
            await socket.recv()
            await socket.send("40" + json.dumps({"token": world.collector.token}))
            await socket.recv()
            for event in ("subscribe:alerts", "subscribe:metrics"):
                await socket.send("42" + json.dumps([event, {}]))
            async for message in socket:
                if message == "2":
                    await socket.send("3")
                else:
                    updates["message"] += 1
    except ConnectionClosed:
        updates["closed"] += 1
