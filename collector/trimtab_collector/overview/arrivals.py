"""When data last came in, looked for further and further back."""

from collections.abc import Mapping
from typing import Final

from trimtab_collector.reads.presence import HOST, PROCESS
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import GaugeSelection, Selection, Store

__all__ = ["last_arrival", "last_request"]

#: how far to look, and in which steps
_BACK_S: Final = ((3600, 60), (86_400, 1800), (30 * 86_400, 43_200), (400 * 86_400, 10 * 86_400))
_FINER: Final = 60
_OWNED: Final = ("environment", "service")


def last_arrival(store: Store, where: Mapping[str, str], until_s: int) -> int | None:
    """Return the end of the last window that holds something before a time; None without any.

    A request or a gauge of a process counts, and, where nothing is chosen, one of a host. Raises
    TooMuchError.
    """
    until_s -= until_s % WINDOW_S
    for back_s, step_s in _BACK_S:
        start_s = max(0, until_s - back_s)
        found = _last_step(store, where, (*range(start_s, until_s, step_s), until_s))
        while found is not None and found[1] - found[0] > WINDOW_S:
            start_s, end_s = found
            finer_s = -(-(end_s - start_s) // _FINER // WINDOW_S) * WINDOW_S
            finer = _last_step(store, where, (*range(start_s, end_s, finer_s), end_s))
            if finer is None or finer == found:
                break
            found = finer
        if found is not None:
            return found[1]
    return None


def last_request(store: Store, where: Mapping[str, str], until_s: int) -> int | None:
    """Return the end of a step that holds the last request before a time; None without any.

    Raises TooMuchError.
    """
    until_s -= until_s % WINDOW_S
    for back_s, step_s in _BACK_S:
        edges_s: tuple[int, ...] = (*range(max(0, until_s - back_s), until_s, step_s), until_s)
        if len(edges_s) > 1:
            starts = [int(t) for t in store.read(Selection(edges_s, (), where)).t.tolist()]
            if starts:
                return edges_s[edges_s.index(max(starts)) + 1]
    return None


def _last_step(
    store: Store, where: Mapping[str, str], edges_s: tuple[int, ...]
) -> tuple[int, int] | None:
    """Return start and end of the last step that holds something."""
    if len(edges_s) < 2:
        return None
    rows = store.read(Selection(edges_s, (), where))
    owned = {name: text for name, text in where.items() if name in _OWNED}
    names = (PROCESS,) if owned else (PROCESS, HOST)
    gauges = store.read_gauges(GaugeSelection(edges_s, names, owned, ("name",)))
    last = max([*rows.t.tolist(), *gauges.t.tolist()], default=None)
    if last is None:
        return None
    place = edges_s.index(last)
    return last, edges_s[place + 1]
