"""How much a machine uses of what it may: of the container around its agent, else of the host."""

from collections.abc import Iterable, Sequence
from typing import Final, TypeVar

__all__ = ["CPU_USE", "MEMORY_USE", "by_machine"]

#: names of gauges, shares of 1; of each the first that a machine has counts
CPU_USE: Final = ("container.cpu.utilization", "system.cpu.utilization")
MEMORY_USE: Final = ("container.memory.utilization", "system.memory.utilization")

_T = TypeVar("_T")


def by_machine(found: Iterable[tuple[str, str, _T]], names: Sequence[str]) -> dict[str, _T]:
    """Return for each machine what was found of the first of the names that it has.

    found is (machine, name, anything); other names are passed over. The result is in the order of
    the machines' names.
    """
    ranks = {name: rank for rank, name in enumerate(names)}
    best: dict[str, tuple[int, _T]] = {}
    for machine, name, what in found:
        rank = ranks.get(name)
        if rank is not None and (machine not in best or rank < best[machine][0]):
            best[machine] = (rank, what)
    return {machine: best[machine][1] for machine in sorted(best)}
