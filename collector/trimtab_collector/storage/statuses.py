"""Requests by status code, point by point: carried along and added up with the points they are of.

A point has a few codes in ascending order, each with the number of requests that it answered; 0
stands for all codes outside 100 to 599. Together they are at most the requests of the point: what
an agent without codes has sent is known by its class alone.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trimtab_core.errors import BatchError

__all__ = ["Statuses", "added", "checked", "joined", "no_statuses"]

#: codes are 0, or from the first to below the second of these
_LEAST: Final = 100
_CODES: Final = 600
#: cells that adding may take for each code that is added, before it sorts instead
_CELLS: Final = 8
_NO_CODES: Final[NDArray[Any]] = np.zeros(0, np.uint16)
_NO_COUNTS: Final[NDArray[Any]] = np.zeros(0, np.int64)


class Statuses(NamedTuple):
    """The codes of n points, k in all; the codes of a point are in ascending order."""

    #: number of codes of each point (n,)
    sizes: NDArray[Any]
    #: code and number of requests of each (k,)
    codes: NDArray[Any]
    counts: NDArray[Any]

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.sizes.nbytes + self.codes.nbytes + self.counts.nbytes

    def kept(self, keep: NDArray[Any]) -> "Statuses":
        """Return the points where keep is true."""
        within = np.repeat(keep, self.sizes)
        return Statuses(self.sizes[keep], self.codes[within], self.counts[within])

    def part(self, begin: int, end: int) -> "Statuses":
        """Return the points from begin to end - 1."""
        sizes = self.sizes[begin:end]
        low = int(self.sizes[:begin].sum(dtype=np.int64))
        high = low + int(sizes.sum(dtype=np.int64))
        return Statuses(sizes, self.codes[low:high], self.counts[low:high])

    def taken(self, order: NDArray[Any]) -> "Statuses":
        """Return the points at these places, in this order."""
        sizes = self.sizes.astype(np.int64)
        begins = (np.cumsum(sizes) - sizes)[order]
        sizes = sizes[order]
        place = np.repeat(begins - (np.cumsum(sizes) - sizes), sizes)
        place += np.arange(len(place))
        return Statuses(sizes, self.codes[place], self.counts[place])


def no_statuses(points: int) -> Statuses:
    """Return the statuses of points of which no code is known."""
    return Statuses(np.zeros(points, np.uint8), _NO_CODES, _NO_COUNTS)


def checked(
    sizes: NDArray[Any], codes: NDArray[Any], counts: NDArray[Any], requests: NDArray[Any]
) -> Statuses:
    """Return the statuses that a batch states; raises BatchError for what no agent sends."""
    # What is below 100 must be 0.
    if len(codes) and (
        np.maximum.reduce(codes) >= _CODES
        or np.count_nonzero(codes) != np.count_nonzero(codes >= _LEAST)
    ):
        raise BatchError(f"expected status codes of 100 to {_CODES - 1}, or 0, got another")
    if np.count_nonzero(counts) != len(counts):
        raise BatchError("expected counts of at least 1, got a status code with 0")
    sums = counts
    # As a rule each point has one code.
    if len(codes) != len(sizes) or np.maximum.reduce(sizes) != 1:
        some = sizes
        if np.count_nonzero(sizes) != len(sizes):
            filled = sizes > 0
            some, requests = sizes[filled], requests[filled]
        begins = some.cumsum(dtype=np.int64)
        begins -= some
        falls = codes[1:] <= codes[:-1]
        falls[begins[1:] - 1] = False
        if np.count_nonzero(falls):
            raise BatchError("expected the status codes of a point in ascending order")
        # Of at most 501 codes with counts up to 2**53, so that none wraps around.
        sums = np.add.reduceat(counts, begins, dtype=np.int64) if len(begins) else counts
    if np.count_nonzero(sums > requests):
        raise BatchError("expected at most as many status codes as requests, got more")
    return Statuses(sizes, codes.astype(np.uint16, copy=False), counts)


def joined(parts: Sequence[tuple[Statuses | None, int]]) -> Statuses | None:
    """Return the statuses of parts with so many points each, one after the other."""
    if all(statuses is None for statuses, _ in parts):
        return None
    known = [no_statuses(points) if some is None else some for some, points in parts]
    if len(known) == 1:
        return known[0]
    sizes, codes, counts = (np.concatenate(arrays) for arrays in zip(*known, strict=True))
    return Statuses(sizes, codes, counts)


def added(statuses: Statuses, row: NDArray[Any], rows: int) -> Statuses:
    """Return the sum of the points of each row; row is the row of each point, 0 to rows - 1."""
    present = np.zeros(_CODES, bool)
    present[statuses.codes] = True
    (names,) = np.nonzero(present)
    width = max(1, len(names))
    owner = np.repeat(row, statuses.sizes)
    cell = owner * width + (np.cumsum(present) - 1)[statuses.codes]
    if rows * width <= _CELLS * len(cell) + _CODES:
        # float64 within, exact to 2**53
        dense = np.bincount(cell, statuses.counts, rows * width)
        cell = np.flatnonzero(dense)
        counts = dense[cell].astype(np.int64)
    else:
        order = np.argsort(cell, kind="stable")
        cell, ordered = cell[order], statuses.counts[order]
        first = np.flatnonzero(np.diff(cell, prepend=-1))
        counts = np.add.reduceat(ordered, first, dtype=np.int64) if len(first) else _NO_COUNTS
        cell = cell[first]
    codes = names[cell % width].astype(np.uint16) if len(names) else _NO_CODES
    return Statuses(np.bincount(cell // width, minlength=rows), codes, counts)
