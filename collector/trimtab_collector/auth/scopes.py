"""What a key may write: the one place that checks every kind of row of a batch.

Series, accounts of processes, gauges, measures and events all say for which environment and service
they are. A key with a scope writes for those of its scope alone, and for no empty name. Gauges of
the host and of what the agent looks at have no service: they are kept under the agent's own name.
Measures of what the agent looks at have none either, and are kept by target, whoever sends them:
only a key without a scope writes them, or one that was made for it.
"""

from collections.abc import Iterable, Sequence
from operator import itemgetter
from typing import Final

from trimtab_collector.auth.keys import AgentKey
from trimtab_collector.contract.errors import ApiError
from trimtab_core.batches import Batch
from trimtab_core.rows import EventRow, MeasureRow

__all__ = ["admitted", "check_services"]

_NOBODY: Final = ("", "")
#: (environment, service) of a row, and of the accounting of a process
_pair: Final = itemgetter(0, 1)
_process_pair: Final = itemgetter(1, 2)


def check_services(key: AgentKey, places: Iterable[tuple[str, ...]]) -> None:
    """Check pairs of environment and service; raises ApiError 403 for one that is not the key's.

    Its details name the pair: the agent then sends the rest without it.
    """
    if not key.is_scoped:
        return
    for environment, service in places:
        if not key.may_write(environment, service):
            raise ApiError(
                403,
                "forbidden",
                f"expected an environment and service of key {key.id}, got {environment!r:.80} and "
                f"{service!r:.80}: make a key for them with trimtab key new",
                {"environment": environment, "service": service},
            )


def admitted(
    key: AgentKey, batch: Batch, measures: Sequence[MeasureRow], events: Sequence[EventRow]
) -> Sequence[MeasureRow]:
    """Check all rows of a batch but its series, and return those measures that are to be stored.

    Measures of what the agent looks at are left out where the key may not write them: they cost
    themselves, not what its services send. Raises ApiError 403.
    """
    if not key.is_scoped:
        # A batch may have thousands of names; a key without a scope looks at none of them.
        return measures
    # As sets: a batch has many rows of few services.
    places = set(map(_process_pair, batch.processes)) | set(map(_pair, events))
    measured = set(map(_pair, measures))
    places |= measured - {_NOBODY}
    places |= {place for place in set(map(_pair, batch.gauges)) if not _is_own(key, *place)}
    check_services(key, places)
    if key.probes or _NOBODY not in measured:
        return measures
    return [row for row in measures if row[:2] != _NOBODY]


def _is_own(key: AgentKey, environment: str, service: str) -> bool:
    """Whether a gauge is of no service, but of the agent itself, and of no foreign environment."""
    return not service and (
        not environment or not key.environments or environment in key.environments
    )
