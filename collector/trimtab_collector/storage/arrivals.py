"""Which windows have arrived: the latest run of them."""

from collections.abc import Iterable

__all__ = ["latest_run"]


def latest_run(windows: Iterable[int], step_s: int, gap_s: int) -> tuple[int, int] | None:
    """Return start and end of the latest run of windows of step_s, None if there are none.

    windows are their starts, in any order. A run has no gap wider than gap_s.
    """
    starts = sorted(windows, reverse=True)
    if not starts:
        return None
    first = starts[0]
    for start_s in starts[1:]:
        if first - start_s - step_s > gap_s:
            break
        first = start_s
    return first, starts[0] + step_s
