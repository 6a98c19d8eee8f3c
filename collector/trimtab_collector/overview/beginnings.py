"""Which services began within the last minutes: their rates are over the time since then."""

from collections.abc import Mapping
from typing import Final

from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.overview.spans import Spans, stepped
from trimtab_collector.reads.presence import PROCESS
from trimtab_collector.reads.processes import Owner, ProcessPresence
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import GaugeSelection

__all__ = ["beginnings"]

#: how wide the steps are in which processes are looked for
_STEP_S: Final = 300
_OWNER: Final = ("environment", "service")


def beginnings(
    reader: StoreReader,
    parameters: Parameters,
    spans: Spans,
    processes: Mapping[Owner, ProcessPresence],
) -> dict[Owner, int]:
    """Return service -> start of its first window, of those that began lately.

    One without gauges of processes may just have had no requests before: it is not among them.
    Reads only where there may be any; raises TooMuchError.
    """
    if not spans.is_now:
        return {}
    new = {
        owner
        for owner, each in processes.items()
        if each.first_s is None or each.first_s + _STEP_S > spans.start_s
    }
    if not new:
        return {}
    steps = stepped(reader.ranges, parameters, spans.start_s, spans.end_s, WINDOW_S)
    fields = ("name", *_OWNER)
    gauges = reader.store.read_gauges(
        GaugeSelection(steps.selection.edges_s, (PROCESS,), parameters.where, fields)
    )
    rows = reader.rows(steps, _OWNER)
    found: dict[Owner, int] = {}
    for names, some in ((rows.groups, rows), ([each[1:] for each in gauges.groups], gauges)):
        for group, t in zip(some.group.tolist(), some.t.tolist(), strict=True):
            owner = tuple(names[group])
            if owner in new:
                found[owner] = min(t, found.get(owner, t))
    return {owner: t for owner, t in found.items() if t > spans.start_s}
