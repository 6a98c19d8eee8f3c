"""Which line of an app to look at first: its own, or the one that called a helper.

A helper that runs every query of an app is the line of each of them, and says nothing of any. A
line is taken for a helper where several callers came through it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.storage.store import EventSelection
from trimtab_core.rows import EventRow

__all__ = ["NOWHERE", "AppLine", "Helpers"]

_KINDS: Final = ("n_plus_one", "slow_query")
_FIELDS: Final = ("environment", "service")
#: events of a kind looked at, the latest
_EVENTS: Final = 2000


@dataclass(frozen=True, slots=True)
class AppLine:
    """The line of the app to look at first, as `path/file.py:42 in function`; "" if not known."""

    first: str = ""
    #: the helper by way of which it came; "" for none
    helper: str = ""
    #: what called the line, where it is no helper; "" if not known
    caller: str = ""


NOWHERE: Final = AppLine()


class Helpers:
    """The lines of services through which several callers came; for one reading thread."""

    def __init__(self, reader: StoreReader, time_range: TimeRange) -> None:
        """Look at the events of the range, of all routes and processes."""
        where = time_range.parameters.where
        chosen = {name: text for name, text in where.items() if name in _FIELDS}
        start_s, end_s = time_range.selection.start_s, time_range.selection.end_s
        callers: dict[tuple[str, str, str], set[str]] = {}
        for kind in _KINDS:
            selection = EventSelection(start_s, end_s, kind, chosen, _EVENTS)
            for row in reader.store.read_events(selection):
                if row.event.get("caller"):
                    found = callers.setdefault(_key(row, row.event), set())
                    found.add(str(row.event["caller"]))
        self._helpers = {key for key, found in callers.items() if len(found) > 1}

    def has(self, row: EventRow, event: Mapping[str, Any]) -> bool:
        """Tell whether an event's line is a helper of its service."""
        return _key(row, event) in self._helpers

    def line(self, row: EventRow, event: Mapping[str, Any]) -> AppLine:
        """Return the line of an event to look at first."""
        site, caller = str(event.get("site") or ""), str(event.get("caller") or "")
        if caller and self.has(row, event):
            return AppLine(caller, site)
        return AppLine(site, caller=caller)


def _key(row: EventRow, event: Mapping[str, Any]) -> tuple[str, str, str]:
    return row.environment, row.service, str(event.get("site") or "")
