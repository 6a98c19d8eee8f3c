"""A process that counts in children made in one of the ways there are; nobody there calls `start`.

`python counting_target.py KIND`. Each of six tasks adds one to the counter `children.tasks`.
"""

import multiprocessing
import os
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import trimtab

TASKS = 6


def task(number: int) -> int:
    """Count one."""
    trimtab.count("children.tasks", number=number)
    return number


def processes(method: str) -> None:
    """Count in processes of multiprocessing, which end by themselves."""
    make: Any = multiprocessing.get_context(method).Process  # type: ignore[attr-defined]
    children = [make(target=task, args=(n,)) for n in range(TASKS)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0


def pool(method: str) -> None:
    """Count in workers of a pool, which are ended by a signal."""
    with multiprocessing.get_context(method).Pool(2) as workers:
        assert workers.map(task, range(TASKS), chunksize=1) == list(range(TASKS))


def executor() -> None:
    """Count in workers of an executor."""
    with ProcessPoolExecutor(2) as workers:
        assert list(workers.map(task, range(TASKS))) == list(range(TASKS))


def fork(child: Callable[[], object]) -> None:
    """Do something in a fork that ends as a program does."""
    pid = os.fork()
    if not pid:
        child()
        sys.exit(0)
    assert os.waitpid(pid, 0)[1] == 0


def generations() -> None:
    """Count in a child, a child of it, and so on; each counts before and after its own child."""

    def one(depth: int) -> None:
        task(2 * depth)
        if depth < TASKS // 2 - 1:
            fork(lambda: one(depth + 1))
        task(2 * depth + 1)

    fork(lambda: one(0))


KINDS: dict[str, Callable[[], None]] = {
    "fork": lambda: processes("fork"),
    "spawn": lambda: processes("spawn"),
    "forkserver": lambda: processes("forkserver"),
    "pool": lambda: pool("fork"),
    "pool of spawned": lambda: pool("spawn"),
    "executor": executor,
    "generations": generations,
}

if __name__ == "__main__":
    KINDS[sys.argv[1]]()
