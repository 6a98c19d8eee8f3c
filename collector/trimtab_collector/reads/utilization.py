"""How much a machine uses of what it may: of the container around its agent, else of the host.

Rules, reports, the overview, the console and the page all ask here which gauge that is: they show
the value that is judged.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeVar

__all__ = ["CPU_USE", "DISK_USE", "MEMORY_USE", "NETWORK_USE", "USES", "by_machine"]

#: names of gauges, shares of 1; of each the first that a machine has counts
CPU_USE: Final = ("container.cpu.utilization", "system.cpu.utilization")
MEMORY_USE: Final = ("container.memory.utilization", "system.memory.utilization")
DISK_USE: Final = ("system.filesystem.utilization",)
NETWORK_USE: Final = ("system.network.utilization",)
#: metric of a rule -> the gauges that it judges
USES: Final[Mapping[str, tuple[str, ...]]] = {
    "cpuUsage": CPU_USE,
    "memoryUsage": MEMORY_USE,
    "diskUsage": DISK_USE,
    "networkUsage": NETWORK_USE,
}

#: a machine, or a machine and the agent that told of it
_Machine = TypeVar("_Machine", str, tuple[str, str])
_T = TypeVar("_T")


def by_machine(
    found: Iterable[tuple[_Machine, str, _T]], names: Sequence[str]
) -> dict[_Machine, _T]:
    """Return for each machine what was found of the first of the names that it has.

    found is (machine, name, anything); other names are passed over. The result is in the order of
    the machines' names.
    """
    ranks = {name: rank for rank, name in enumerate(names)}
    best: dict[_Machine, tuple[int, _T]] = {}
    for machine, name, what in found:
        rank = ranks.get(name)
        if rank is not None and (machine not in best or rank < best[machine][0]):
            best[machine] = (rank, what)
    return {machine: best[machine][1] for machine in sorted(best)}
