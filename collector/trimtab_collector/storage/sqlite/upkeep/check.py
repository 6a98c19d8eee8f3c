"""A proof that a store is sound, whether its collector runs or not.

It only reads; compaction and retention wait, so that nothing moves meanwhile. A store is sound if

- SQLite finds every file intact, and every chunk decodes and matches its row;
- in each tier, roll-ups equal the sums of their series, sketches included;
- hours that two tiers hold have the same sums and gauges in both, except for batches that an
  interrupted compaction has added to one of them, which are marked there and still in the journal;
- no batch is in both journal and tiers, or was merged twice, by its name;
- no service has more requests in a tier and the journal than were ever counted.

What retention has deleted cannot be told from what never existed, so the accounting is only an
upper bound. Sums are taken chunk by chunk: memory is that of a chunk and the services of a period.
"""

import sqlite3
import time
from collections.abc import Mapping
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path

import numpy as np

from trimtab_collector.storage.dictionary import Dictionary
from trimtab_collector.storage.sqlite.compactor import METRICS, locked
from trimtab_collector.storage.sqlite.knownfiles import missing_files
from trimtab_collector.storage.sqlite.tierfacts import marked, strangers
from trimtab_collector.storage.sqlite.tierfile import DAMAGED
from trimtab_collector.storage.sqlite.tiernames import load_series
from trimtab_collector.storage.sqlite.tiers import (
    EVERY,
    MEDIUM,
    SUMMED,
    TIERS,
    Retention,
    Tier,
    files_of,
)
from trimtab_collector.storage.sqlite.tierschema import VersionError, open_reader
from trimtab_collector.storage.sqlite.upkeep.files import (
    KEYS,
    STATE,
    WAIT_S,
    Say,
    own_files,
    refuse_other,
)
from trimtab_collector.storage.sqlite.upkeep.findings import CheckReport, Finding
from trimtab_collector.storage.sqlite.upkeep.metrics import (
    JournalRow,
    Metrics,
    look,
    open_file,
    rows,
)
from trimtab_collector.storage.sqlite.upkeep.staterows import look_at_pair, look_at_state
from trimtab_collector.storage.sqlite.upkeep.sums import HOUR_S, instant
from trimtab_collector.storage.sqlite.upkeep.tierfiles import Held, TierFile, look_through

__all__ = ["check"]

_EVERY = 1000
_Hours = Mapping[int, tuple[int, int]]


def check(
    directory: Path, retention: Retention, say: Say, now_s: float | None = None
) -> CheckReport:
    """Check a data directory and return the findings.

    Raises StartupError if there is no store, or a compaction or backup holds it for too long.
    """
    refuse_other(directory)
    report = CheckReport()
    with locked(directory, WAIT_S), ExitStack() as stack:
        for path in own_files(directory):
            if DAMAGED in path.name:
                what = "it was put aside because it was broken: what was in it is missing"
                report.add(Finding(path.name, what))
        metrics = _metrics(directory, report, stack)
        if metrics is None:
            return report
        say(f"looked at {METRICS}")
        tiers = {tier.name: Held() for tier in EVERY}
        for name, what in strangers(files_of(directory), metrics.identity).items():
            report.notes.append(f"{name}: {what}")
        files = _open(directory, metrics, tiers, report, stack)
        for row in rows(metrics, report):
            _place(row, files, tiers, metrics, report)
            if report.journal_batches % _EVERY == 0:
                say(f"read {report.journal_batches} batches of the journal")
        if any(held.ahead for held in tiers.values()):
            report.notes.append(
                "a compaction was cut short: batches of the journal are in some tiers already, "
                "the next run adds them to the others"
            )
        for place, file in enumerate(files, 1):
            before = report.chunks
            try:
                look_through(file, tiers[file.tier.name], metrics, report)
            except sqlite3.Error as error:
                report.add(Finding(file.path.name, f"it cannot be read: {error}"))
            say(f"read {file.path.name}: {report.chunks - before} chunks ({place} of {len(files)})")
        report.files += len(files)
        floors = retention.floors(time.time() if now_s is None else now_s, metrics.floors)
        for name, what in missing_files(directory, metrics.files, floors).items():
            if not (directory / name).exists():
                report.add(Finding(name, f"it {what}"))
        for fine, coarse in (*pairwise(TIERS), (MEDIUM, SUMMED)):
            _compare(fine, coarse, tiers, floors, report)
        _compare_accounting(tiers, metrics, report)
    return report


def _metrics(directory: Path, report: CheckReport, stack: ExitStack) -> Metrics | None:
    metrics = None
    for name in (KEYS, STATE, METRICS):
        if not (directory / name).exists():
            continue
        report.files += 1
        try:
            if name == METRICS:
                connection = open_file(directory / name)
                metrics = look(stack.enter_context(closing(connection)), report)
                if metrics is not None:
                    look_at_pair(directory, connection, report)
            else:
                look_at_state(directory / name, report)
        except sqlite3.Error as error:
            report.add(Finding(name, f"it cannot be read: {error}"))
    return metrics


def _open(
    directory: Path,
    metrics: Metrics,
    tiers: Mapping[str, Held],
    report: CheckReport,
    stack: ExitStack,
) -> list[TierFile]:
    files = []
    for tier, start_s, path in files_of(directory):
        try:
            connection: sqlite3.Connection = stack.enter_context(closing(open_file(path)))
            if connection.execute("PRAGMA user_version").fetchone() == (0,):
                if path.name in metrics.files:
                    what = "it is empty: the batches that were merged into it are lost there"
                    report.add(Finding(path.name, what))
                else:
                    report.notes.append(f"{path.name} is empty: it was about to be begun")
                    tiers[tier.name].files.add(start_s)
                continue
            connection = stack.enter_context(closing(open_reader(path)))
            own = Dictionary()
            load_series(connection, own)
            numbers = [metrics.series.add(own.key(number)) for number in range(len(own))]
            marks = marked(connection, metrics.identity)
            places = np.array(numbers, np.int64)
            files.append(TierFile(tier, start_s, path, connection, marks, own, places))
        except ValueError as error:
            report.add(Finding(path.name, f"its table of series has a hole: {error}"))
        except VersionError as error:
            report.add(Finding(path.name, str(error)))
        except sqlite3.Error as error:
            report.add(Finding(path.name, f"it cannot be read: {error}"))
    return files


def _place(
    row: JournalRow,
    files: list[TierFile],
    tiers: Mapping[str, Held],
    metrics: Metrics,
    report: CheckReport,
) -> None:
    """Note which tiers have a journal row already, and which are going to have it."""
    within: set[str] = set()
    for file in files:
        if row.id not in file.marks:
            continue
        begin_s, end_s = file.tier.span(file.start_s)
        if begin_s <= row.t0 < end_s:
            within.add(file.tier.name)
        else:
            what = f"it has marked journal row {row.id}, which is not of its time"
            span = f"{instant(begin_s)} to {instant(end_s)}"
            report.add(Finding(file.path.name, what, span, instant(row.t0)))
    if row.columns is None:
        return
    for name, held in tiers.items():
        if name in within:
            continue
        held.count(row.columns, metrics)
        if within:
            held.ahead.setdefault(row.t0 - row.t0 % HOUR_S, []).append(row.columns)


def _compare(
    fine: Tier,
    coarse: Tier,
    tiers: Mapping[str, Held],
    floors: Mapping[str, int],
    report: CheckReport,
) -> None:
    """Add findings for hours that two tiers hold with different content."""
    one, other = tiers[fine.name], tiers[coarse.name]
    ahead = {hour_s for held in tiers.values() for hour_s in held.ahead}
    sums: list[tuple[str, _Hours, _Hours, set[int]]] = [
        ("requests", one.hours, other.hours, set()),
        # Gauges from an interrupted compaction cannot be told from others.
        ("gauges", one.gauges, other.gauges, ahead),
    ]
    # Only tiers with single series have gauges.
    for what, finer, coarser, open_ in sums[: 1 if coarse is SUMMED else 2]:
        apart = []
        for hour_s in sorted({*finer, *coarser} - open_):
            if fine.span(hour_s)[0] not in one.files or coarse.span(hour_s)[0] not in other.files:
                continue
            here, there = finer.get(hour_s, (0, 0)), coarser.get(hour_s, (0, 0))
            # Late batches of a time that the finer tier no longer keeps are only in the other.
            late = hour_s < floors[fine.name] and here[1] <= there[1]
            if here != there and not late:
                apart.append((hour_s, here[1], there[1]))
        if apart:
            hour_s, fewer, more = apart[0]
            report.add(
                Finding(
                    f"{fine.name} and {coarse.name}",
                    f"{len(apart)} hours do not come to the same sums of {what}, the first is "
                    f"{instant(hour_s)}",
                    f"{fewer} {what} as in {fine.name}",
                    f"{more} in {coarse.name}",
                )
            )


def _compare_accounting(tiers: Mapping[str, Held], metrics: Metrics, report: CheckReport) -> None:
    """Add findings for services with more requests kept than counted."""
    for tier, held in tiers.items():
        for name, requests in sorted(held.requests.items()):
            counted = metrics.requests.get(name, 0)
            if requests > counted:
                what = f"{tier} and the journal hold more of {'/'.join(name)} than was counted"
                report.add(Finding(METRICS, what, f"at most {counted}", str(requests)))
    report.counted_requests = sum(metrics.requests.values())
    report.kept_requests = max(sum(held.requests.values()) for held in tiers.values())
