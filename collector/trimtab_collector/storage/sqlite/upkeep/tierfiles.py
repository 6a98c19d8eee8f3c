"""Checks a tier file: every chunk, and roll-ups against the series that they sum up."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from trimtab_collector.storage.columns import VALUES, Array, Columns, series_of, times_of
from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.levels import LEVELS
from trimtab_collector.storage.sqlite.chunkindex import ChunkEntry, listed, payload_of
from trimtab_collector.storage.sqlite.chunks import ChunkError, decode_chunk
from trimtab_collector.storage.sqlite.tierfacts import facts_of
from trimtab_collector.storage.sqlite.tiers import SUMMED, Tier
from trimtab_collector.storage.sqlite.upkeep.findings import CheckReport, Finding, Wrong
from trimtab_collector.storage.sqlite.upkeep.gaugechecks import gauge_sums_of
from trimtab_collector.storage.sqlite.upkeep.metrics import Metrics, integrity
from trimtab_collector.storage.sqlite.upkeep.sums import Sums, by_hour, difference, digest, instant

__all__ = ["Held", "TierFile", "look_through"]


@dataclass(frozen=True, slots=True)
class TierFile:
    """A file and what it should contain."""

    tier: Tier
    start_s: int
    path: Path
    connection: sqlite3.Connection
    #: journal rows that are in it
    marks: frozenset[int]
    #: its dictionary, and the number of each of its series in this check
    series: Dictionary
    numbers: Array


@dataclass(slots=True)
class Held:
    """The sums of the files of one tier."""

    #: starts of its files that could be read
    files: set[int] = field(default_factory=set)
    #: hour -> a digest that only equal sums share, and requests
    hours: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: the same of gauges
    gauges: dict[int, tuple[int, int]] = field(default_factory=dict)
    #: (environment, service) -> requests
    requests: dict[tuple[str, str], int] = field(default_factory=dict)
    #: hour -> batches that other tiers have already, from an interrupted compaction
    ahead: dict[int, list[Columns]] = field(default_factory=dict)

    def count(self, columns: Columns, metrics: Metrics) -> None:
        """Add requests to their services."""
        numbers, place = np.unique(series_of(columns.key), return_inverse=True)
        sums = np.zeros(len(numbers), np.int64)
        np.add.at(sums, place, columns.value("requests").astype(np.int64))
        for number, requests in zip(numbers.tolist(), sums.tolist(), strict=True):
            key = metrics.series.key(number)
            name = (key.environment, key.service)
            self.requests[name] = self.requests.get(name, 0) + requests


def look_through(file: TierFile, held: Held, metrics: Metrics, report: CheckReport) -> None:
    """Check one file and add its sums to those of its tier; raises sqlite3.Error."""
    name, tier = file.path.name, file.tier
    integrity(file.connection, name, report)
    if wrong := facts_of(file.connection).wrong:
        report.add(Finding(name, wrong))
    for number in file.series.lost:
        report.add(Finding(name, f"the name of series {number} is not as it was written"))
    if file.marks and max(file.marks) > metrics.given:
        report.add(
            Finding(
                name,
                "it has marked journal rows that never were",
                f"numbers up to {metrics.given}",
                str(max(file.marks)),
            )
        )
    span = tier.span(file.start_s)
    found = file.connection.execute("SELECT DISTINCT level, period FROM chunk").fetchall()
    periods = {tier.period(hour) for hour in held.ahead if span[0] <= hour < span[1]}
    for level, period in found:
        if level < 0:
            what = "chunks could not be read and were set aside: what they held is missing"
            report.add(Finding(name, f"{what} ({instant(period)})"))
        elif (
            level not in range(LEVELS) or period % tier.period_s or not span[0] <= period < span[1]
        ):
            what = "chunks lie at a level or period that is not of this file"
            report.add(
                Finding(
                    name,
                    what,
                    f"{instant(span[0])} to {instant(span[1])}",
                    f"level {level}, {instant(period)}",
                )
            )
        else:
            periods.add(period)
    for period in sorted(periods):
        base = 1 if tier is SUMMED else 0
        sums = [_level(file, level, period, metrics, report) for level in range(base, LEVELS)]
        for level, summed in enumerate(sums[1:], base + 1):
            differs = difference(sums[0], summed, metrics.series)
            if differs is not None:
                what = f"level {level} is not the sum of level {base}"
                report.add(Finding(name, f"{what} in the period {instant(period)}", *differs))
        held.count(sums[0], metrics)
        _note(held, tier, period, sums[0], metrics)
    held.gauges |= gauge_sums_of(file.connection, name, tier, report)
    held.files.add(file.start_s)


def _note(held: Held, tier: Tier, period: int, sums: Columns, metrics: Metrics) -> None:
    """Keep the sums of each hour, including batches that other tiers have already."""
    ahead = Sums(metrics.series.parents())
    ahead.add(sums)
    for hour_s in range(period, period + tier.period_s, 3600):
        for columns in held.ahead.get(hour_s, ()):
            ahead.add(columns)
    for hour_s, part in by_hour(ahead.columns()):
        held.hours[hour_s] = (digest(part), int(part.value("requests").sum()))


def _level(
    file: TierFile, level: int, period: int, metrics: Metrics, report: CheckReport
) -> Columns:
    """Check the chunks of a level and period and return their sum."""
    sums = Sums(metrics.series.parents())
    found, damaged = listed(file.connection, level, period, period + 1)
    if damaged:
        what = f"{damaged} (level {level}, {instant(period)})"
        report.add(Finding(file.path.name, what))
    for entry in found:
        report.chunks += 1
        try:
            columns = decode_chunk(payload_of(file.connection, entry))
        except ChunkError as error:
            report.add(Finding(file.path.name, f"it cannot be read: {error}", chunk=entry.id))
            continue
        report.points += len(columns.key)
        wrong = list(_wrong(entry, columns, file, level))
        for what, expected, got in wrong:
            report.add(Finding(file.path.name, what, expected, got, entry.id))
        series = series_of(columns.key)
        if int(series.min()) >= 0 and int(series.max()) < len(file.series):
            key = (file.numbers[series] << 32) | times_of(columns.key)
            sums.add(replace(columns, key=key))
    return sums.columns()


def _wrong(entry: ChunkEntry, columns: Columns, file: TierFile, level: int) -> Iterator[Wrong]:
    """Yield contradictions between a chunk's row and content, and between content and place."""
    told, is_so = (entry.points, entry.buckets), (len(columns.key), len(columns.indexes))
    if told != is_so:
        words = [f"{points} points, {buckets} buckets" for points, buckets in (told, is_so)]
        yield "its row tells another size than it has", words[0], words[1]
    series, t = series_of(columns.key), times_of(columns.key)
    tier = file.tier
    if int(series.min()) < 0 or int(series.max()) >= len(file.series):
        wrong = int(series.max() if series.min() >= 0 else series.min())
        yield "a series is not in the file", f"numbers below {len(file.series)}", str(wrong)
        return
    own = file.series.of_level(level)[series]
    if not own.all():
        key = file.series.key(int(series[~own][0]))
        yield "a series is not of its level", f"one of level {level}", str(key)
    routes = file.series.routes()[series]
    if (int(routes.min()), int(routes.max())) != (entry.first, entry.last):
        got = f"{routes.min()} to {routes.max()}"
        yield "its row tells other routes than it has", f"{entry.first} to {entry.last}", got
    order = np.lexsort((columns.key, routes))
    if (order != np.arange(len(order))).any() or (np.diff(np.sort(columns.key)) == 0).any():
        yield "points are not in order", "each once, by route, series and window", "another order"
    end_s = entry.period + tier.period_s
    outside = (t < entry.period) | (t >= end_s) | (t % tier.width_s != 0)
    if outside.any():
        whole = f"windows of {tier.name} from {instant(entry.period)} to {instant(end_s)}"
        yield "a window is not of its period", whole, instant(int(t[outside][0]))
    yield from _values(columns)


def _values(columns: Columns) -> Iterator[Wrong]:
    for name in VALUES:
        column = columns.value(name)
        if len(column) and int(column.min()) < 0:
            yield f"{name} is below zero", "at least 0", str(int(column.min()))
    over = columns.value("errors") > columns.value("requests")
    if over.any():
        place = int(np.flatnonzero(over)[0])
        requests, errors = columns.value("requests")[place], columns.value("errors")[place]
        yield "a point has more errors than requests", f"at most {requests}", str(errors)
