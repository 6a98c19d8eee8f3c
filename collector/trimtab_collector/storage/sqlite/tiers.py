"""The tiers of the store: the width of their windows, their files, and how long they are kept.

A file holds one tier over one span of time, so that retention only deletes files. A tier answers
from its floor on: the start of the oldest span that is still kept whole.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from trimtab_collector.settings import CollectorSettings

__all__ = [
    "COARSE",
    "EVERY",
    "FINE",
    "MEDIUM",
    "SUMMED",
    "TIERS",
    "Retention",
    "Tier",
    "file_of",
    "files_of",
    "start_of",
]

HOUR_S: Final = 3600
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Tier:
    """One resolution. A chunk holds at most one period, a file holds one span."""

    name: str
    width_s: int
    period_s: int
    #: whether a file holds a calendar month of UTC, instead of a day
    monthly: bool = False
    #: time in a chunk of roll-ups: short, since a read of all routes decodes every chunk it meets
    rolled_s: int = 0
    #: time of roll-ups that reads keep as they were merged; the period, if it is 0
    block_s: int = 0

    def chunk_s(self, level: int) -> int:
        """Return the time that a chunk of a level covers; it divides the period."""
        return self.rolled_s if level and self.rolled_s else self.period_s

    def kept_s(self, level: int) -> int:
        """Return the time of a level that is kept together; whole chunks, and within a period."""
        return self.block_s if level and self.block_s else self.period_s

    def period(self, t: int) -> int:
        """Return the start of the period in which a time lies."""
        return t - t % self.period_s

    def span(self, t: int) -> tuple[int, int]:
        """Return start and end of the file in which a time lies, epoch seconds."""
        if not self.monthly:
            return t - t % DAY_S, t - t % DAY_S + DAY_S
        first = datetime.fromtimestamp(t, UTC).replace(
            day=1, hour=0, minute=0, second=0, microsecond=0
        )
        month = first.month % 12 + 1
        after = first.replace(year=first.year + (month == 1), month=month)
        return int(first.timestamp()), int(after.timestamp())


FINE: Final = Tier("10s", 10, HOUR_S, rolled_s=120, block_s=600)
MEDIUM: Final = Tier("1m", 60, HOUR_S, rolled_s=600)
COARSE: Final = Tier("1h", HOUR_S, DAY_S, monthly=True)
#: holds roll-ups only: with it, roll-ups of a range that begins at any time are read nearly as
#: quickly as those of whole hours
SUMMED: Final = Tier("10m", 600, 6 * HOUR_S)
#: tiers that hold every series, finest first
TIERS: Final = (FINE, MEDIUM, COARSE)
#: all tiers, finest first
EVERY: Final = (FINE, MEDIUM, SUMMED, COARSE)
_NAME: Final = re.compile(r"(10s|1m|10m|1h)-(\d{4})(\d{2})(\d{2})?\.db")


@dataclass(frozen=True, slots=True)
class Retention:
    """How many seconds each tier is kept; a file is deleted when everything in it is older."""

    fine_s: int = 48 * HOUR_S
    medium_s: int = 15 * DAY_S
    coarse_s: int = 400 * DAY_S

    @classmethod
    def of(cls, settings: CollectorSettings) -> Self:
        """Return the retention that settings ask for."""
        return cls(
            settings.keep_10s_hours * HOUR_S,
            settings.keep_1m_days * DAY_S,
            settings.keep_1h_days * DAY_S,
        )

    def floors(self, now_s: float, dropped: Mapping[str, int]) -> dict[str, int]:
        """Return the floor of each tier, not below those in dropped.

        dropped has the floors of tiers whose files were deleted for lack of space.
        """
        kept = (self.fine_s, self.medium_s, self.medium_s, self.coarse_s)
        return {
            tier.name: max(tier.span(int(now_s) - age_s)[0], dropped.get(tier.name, 0))
            for tier, age_s in zip(EVERY, kept, strict=True)
        }


def file_of(directory: Path, tier: Tier, t: int) -> Path:
    """Return the file of a tier in which a time lies."""
    start = datetime.fromtimestamp(tier.span(t)[0], UTC)
    return directory / f"{tier.name}-{start:{'%Y%m' if tier.monthly else '%Y%m%d'}}.db"


def files_of(directory: Path) -> Iterable[tuple[Tier, int, Path]]:
    """Return tier, start and path of every tier file: the finest tier first, then by age."""
    found = []
    for path in directory.iterdir():
        begin = start_of(path.name)
        if begin is not None:
            found.append((*begin, path))
    return sorted(found, key=lambda row: (EVERY.index(row[0]), row[1]))


def start_of(name: str) -> tuple[Tier, int] | None:
    """Return tier and start of the file of that name, None for any other file."""
    match = _NAME.fullmatch(name)
    tier = next((tier for tier in EVERY if match and tier.name == match[1]), None)
    if match is None or tier is None or tier.monthly != (match[4] is None):
        return None
    try:
        start = datetime(int(match[2]), int(match[3]), int(match[4] or 1), tzinfo=UTC)
    except ValueError:
        return None
    return tier, int(start.timestamp())
