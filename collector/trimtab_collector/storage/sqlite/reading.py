"""Reads of a directory: the latest windows from memory, older ones from tiers and the journal.

A read begins a transaction on the journal and on every file it needs while nothing may move from
one to the other (`Publication`); from then on it may take as long as it needs. After an interrupted
compaction a journal row may be in a tier file already: it is marked there, and is left out.
"""

import contextlib
import logging
import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

import numpy as np

from trimtab_collector.storage.columns import (
    WINDOW_S,
    Array,
    Columns,
    columns_of_batch,
    nothing,
    rekey,
    times_of,
)
from trimtab_collector.storage.dictionary import Dictionary, Groups
from trimtab_collector.storage.levels import level_of
from trimtab_collector.storage.merging import merge
from trimtab_collector.storage.sqlite.aside import Aside
from trimtab_collector.storage.sqlite.chunkindex import (
    NOTHING_LISTED,
    ChunkEntry,
    Listed,
    in_batches,
    listed,
    payload_of,
)
from trimtab_collector.storage.sqlite.chunks import ChunkError, decode_chunks
from trimtab_collector.storage.sqlite.dictionaries import Dictionaries
from trimtab_collector.storage.sqlite.head import Head
from trimtab_collector.storage.sqlite.journal import JOURNAL_ROW, batch_of, rows_of_services
from trimtab_collector.storage.sqlite.knownfiles import KnownFiles
from trimtab_collector.storage.sqlite.openfiles import OpenFiles, number_of
from trimtab_collector.storage.sqlite.periods import MergedPeriods
from trimtab_collector.storage.sqlite.plan import ROLLED, SINGLE, TierRun, clear_of, plan
from trimtab_collector.storage.sqlite.publication import Publication
from trimtab_collector.storage.sqlite.tierfacts import facts_of
from trimtab_collector.storage.sqlite.tiers import Tier, file_of
from trimtab_collector.storage.sqlite.tierschema import VersionError, is_damage
from trimtab_collector.storage.steps import PointSteps
from trimtab_collector.storage.store import Rows, Selection, TooMuchError
from trimtab_core.batches import Batch
from trimtab_core.errors import BatchError
from trimtab_core.logs import RateLimited

__all__ = ["Begun", "FileView", "Reader"]

_T = TypeVar("_T")
logger = logging.getLogger("trimtab.reading")

#: buckets of the chunks that are decoded at once
_AT_ONCE: Final = 300_000
#: a read may go through so much
_MOST_POINTS: Final = 10_000_000
_MOST_BUCKETS: Final = 200_000_000
_MOST_BATCHES: Final = 50_000
_ROW: Final = f"SELECT {JOURNAL_ROW} FROM journal WHERE id = ?"  # noqa: S608
_NOTHING: Final[Array] = np.zeros(0, np.int64)


class Reader:
    """Answers selections; from any thread but the loop's."""

    def __init__(
        self,
        directory: Path,
        identity: int,
        recent: Head,
        live: Head,
        journal: Callable[[], sqlite3.Connection],
        floors: Callable[[], Mapping[str, int]],
        periods: MergedPeriods,
        aside: Aside,
        known: KnownFiles,
        named_after: int,
    ) -> None:
        """Take rows of the journal after that number to name all their services."""
        self._aside = aside
        self.known = known
        self._named_after = named_after
        self._directory = directory
        self._identity = identity
        self._dictionaries = Dictionaries()
        self._recent = recent
        self._live = live
        self._journal = journal
        self._floors = floors
        self._log = RateLimited(logger)
        self.files = OpenFiles()
        self.publication = Publication()
        self._periods = periods
        self._damage: dict[tuple[Path, int], str] = {}
        self._unreadable: dict[str, str] = {}

    def damage(self) -> dict[str, str]:
        """Return what reads have found wrong with files that still exist, by name of the file."""
        broken = list(self._damage.items())
        here = {path.name: why for (path, number), why in broken if number_of(path) == number}
        return {**self._unreadable, **here, **self.known.missing()}

    def read(self, selection: Selection) -> Rows:
        """Return merged points; raises TooMuchError before it takes much memory."""
        gathered = PointSteps(selection)
        resolution_s = 1
        if selection.live:
            _, found = self._live.snapshot(selection.start_s, selection.end_s)
            gathered.add_all(found.dictionary, found.parts)
        else:
            level = level_of(selection)
            end_s = selection.end_s
            tiers = ROLLED if level else SINGLE
            border_s, found = self.latest(
                lambda start_s: self._recent.snapshot(start_s, end_s, level),
                selection.start_s,
                tiers,
            )
            gathered.add_all(found.dictionary, found.parts)
            resolution_s = self._older(gathered, selection, level, min(end_s, border_s))
        return gathered.rows(resolution_s)

    def latest(
        self,
        snapshot: Callable[[int], tuple[int, _T]],
        start_s: int,
        tiers: Sequence[Tier] = SINGLE,
    ) -> tuple[int, _T]:
        """Return the time from which on memory answers, and what it has; before that, files do.

        snapshot takes a start and returns memory's floor, and what it holds from that start on.
        """
        while True:
            floor_s, found = snapshot(start_s)
            border_s = clear_of(floor_s, self._floors(), tiers)
            if border_s <= max(floor_s, start_s):
                return border_s, found
            start_s = border_s

    def _older(self, gathered: PointSteps, selection: Selection, level: int, end_s: int) -> int:
        """Add what tiers and journal hold before end_s; returns the resolution of the read."""
        if end_s <= selection.start_s:
            return WINDOW_S
        with ExitStack() as transactions:
            tiers = ROLLED if level else SINGLE
            begun = self.begin(selection.edges_s, end_s, transactions, tiers)
            rows = rows_of_services(begun.journal, begun.rows, selection.where, self._named_after)
            begun = begun._replace(rows=rows)
            chosen = [self._chosen(view, level, gathered.groups) for view in begun.views]
            _check([found for found, _ in chosen], len(begun.rows))
            for view, (found, group) in zip(begun.views, chosen, strict=True):
                self._merge(gathered, selection, level, view, found, group)
            for t0, batch in self.batches(begun):
                try:
                    keys = self._dictionaries.of_batch(batch.series)
                    columns = columns_of_batch(batch, np.arange(len(keys)), t0)
                    gathered.add(columns, gathered.groups.of(keys))
                except BatchError as error:
                    self._log.warning("journal", "a batch has no such points: %s", error)
        return begun.resolution_s

    def begin(
        self,
        edges_s: Sequence[int],
        end_s: int,
        transactions: ExitStack,
        tiers: Sequence[Tier] = SINGLE,
    ) -> "Begun":
        """Begin a transaction on everything that holds windows from the first edge to end_s."""
        with self.publication.beginning():
            runs, resolution_s = plan(edges_s, end_s, self._floors(), tiers)
            journal = self._journal()
            journal.execute("BEGIN")
            transactions.callback(journal.execute, "ROLLBACK")
            rows = journal.execute(
                "SELECT id, t0 FROM journal WHERE t0 >= ? AND t0 < ?", (edges_s[0], end_s)
            ).fetchall()
            views = [view for run in runs for view in self._views(run, transactions)]
        rows = [row for row in rows if not any(view.has(*row) for view in views)]
        return Begun(views, journal, rows, resolution_s)

    def batches(self, begun: "Begun") -> Iterator[tuple[int, Batch]]:
        """Yield window and batch of each journal row that is in none of the files."""
        for row_id, t0 in begun.rows:
            row = begun.journal.execute(_ROW, (row_id,)).fetchone()
            try:
                yield t0, batch_of(row)
            except BatchError as error:
                self._aside.note("journal", row_id, error)

    def _views(self, run: TierRun, transactions: ExitStack) -> Iterator["FileView"]:
        """Begin a transaction on each file of a run and yield what it holds."""
        start_s = run.start_s
        while start_s < run.end_s:
            end_s = min(run.end_s, run.tier.span(start_s)[1])
            path = file_of(self._directory, run.tier, start_s)
            try:
                connection = self.files.connection(path)
                if connection is not None:
                    if not connection.in_transaction:
                        connection.execute("BEGIN")
                        transactions.callback(connection.execute, "ROLLBACK")
                    run_here = TierRun(run.tier, start_s, end_s)
                    view = FileView(run_here, path, connection, self._identity)
                    yield view
                    self._unreadable.pop(path.name, None)
                    if view.facts.wrong:
                        self.damaged(path, ChunkError(view.facts.wrong))
                elif lack := self.known.lack_of(path):
                    self.damaged(path, ChunkError(lack))
            except (sqlite3.Error, VersionError, ValueError, TypeError) as error:
                self.damaged(path, error)
            start_s = end_s

    def _chosen(
        self, view: "FileView", level: int, groups: Groups
    ) -> tuple[list[ChunkEntry], Array]:
        """Return a file's chunks that may hold what is wanted, and the groups of its series."""
        try:
            dictionary = self._dictionaries.of_file(view.path, view.connection)
            group = groups.of(dictionary)
            if dictionary.lost:
                why = f"{len(dictionary.lost)} names of series are not as they were written"
                self.damaged(view.path, ChunkError(why))
            wanted = _wanted(dictionary, group, level)
            found = view.choose(level, wanted) if wanted is None or wanted else NOTHING_LISTED
            if found.wrong:
                self.damaged(view.path, ChunkError(found.wrong))
            return found.entries, group
        except (sqlite3.Error, VersionError, ValueError, TypeError) as error:
            self.damaged(view.path, error)
            return [], _NOTHING

    def _merge(
        self,
        gathered: PointSteps,
        selection: Selection,
        level: int,
        view: "FileView",
        found: list[ChunkEntry],
        group: Array,
    ) -> None:
        """Add the points of a file's chunks; blocks of time as they were merged before."""
        others: list[ChunkEntry] = []
        kept_s = view.run.tier.kept_s(level)
        blocks: dict[int, list[ChunkEntry]] = {}
        for entry in found:
            blocks.setdefault(entry.begin - entry.begin % kept_s, []).append(entry)
        for begin, some in blocks.items():
            if sum(entry.buckets for entry in some) < self._periods.least_buckets:
                others += some
                continue
            run = view.run.within(begin, begin + kept_s)
            part = replace(selection, edges_s=run.edges(selection.edges_s))
            where = tuple(sorted(selection.where.items()))
            key = (view.number, run, level, part.edges_s, part.group_by, where, tuple(some))
            rows = self._periods.find(key)
            if rows is None:
                steps = PointSteps(part)
                view.is_whole = True
                own = steps.groups.of(self._dictionaries.of_file(view.path, view.connection))
                for columns in self._chunks(view, some):
                    steps.add(columns, own)
                rows = steps.rows(run.tier.width_s)
                if view.is_whole:
                    self._periods.keep(key, rows)
            gathered.add_rows(rows)
        for columns in self._chunks(view, others):
            gathered.add(columns, group)

    def _chunks(self, view: "FileView", found: list[ChunkEntry]) -> Iterator[Columns]:
        """Yield the points of chunks within the view's run, many chunks at a time."""
        for some in in_batches(found, _AT_ONCE):
            columns = self._decoded(view, some)
            t = times_of(columns.key)
            keep = (t >= view.run.start_s) & (t < view.run.end_s)
            yield rekey(columns, columns.key[keep], keep)

    def _decoded(self, view: "FileView", found: Sequence[ChunkEntry]) -> Columns:
        payloads: list[bytes] = []
        for entry in found:
            try:
                payloads.append(payload_of(view.connection, entry))
            except (sqlite3.Error, ChunkError) as error:
                view.is_whole = False
                self.damaged(view.path, error)
        if not payloads:
            return nothing()
        try:
            return decode_chunks(payloads)
        except ChunkError as error:
            view.is_whole = False
            self.damaged(view.path, error)
        sound = []
        for payload in payloads:
            with contextlib.suppress(ChunkError):
                sound.append(decode_chunks([payload]))
        return merge(sound)

    def damaged(self, path: Path, error: Exception) -> None:
        """Note that a file could not be read, and whether the file itself is broken."""
        if isinstance(error, sqlite3.Error) and not is_damage(error):
            self._unreadable[path.name] = f"not readable now: {error!s:.180}"
            self._log.warning(path.name, "%s could not be read now: %s", path, error)
            return
        self._damage[path, number_of(path)] = str(error)[:200]
        self._log.warning(path.name, "%s is damaged, the rest answers: %s", path, error)


class Begun(NamedTuple):
    """What a read reads, within open transactions: files, and journal rows that are in no file."""

    views: "list[FileView]"
    journal: sqlite3.Connection
    #: (id, window) of journal rows that are in none of the files
    rows: Sequence[tuple[int, int]]
    resolution_s: int


class FileView:
    """A file within an open transaction, for the windows of one run."""

    def __init__(
        self, run: TierRun, path: Path, connection: sqlite3.Connection, identity: int
    ) -> None:
        self.run = run
        self.path = path
        self.connection = connection
        self.facts = facts_of(connection)
        self.number = self.facts.values.get("file", 0)
        #: False once a chunk could not be read, in this very transaction
        self.is_whole = True
        self._marked = self.facts.marked(identity)

    def has(self, row_id: int, t0: int) -> bool:
        """Return whether a journal row is in this file and its window in this run."""
        return row_id in self._marked and self.run.start_s <= t0 < self.run.end_s

    def choose(self, level: int, wanted: list[int] | None) -> Listed:
        """Return the chunks that may hold points of the run and of the wanted routes."""
        start_s, end_s, tier = self.run.start_s, self.run.end_s, self.run.tier
        routes = None if wanted is None else (wanted[0], wanted[-1])
        begins = (start_s - tier.chunk_s(level), end_s)
        period = tier.period(start_s)
        found = listed(self.connection, level, period, end_s, routes, begins)
        return found._replace(
            entries=[
                entry
                for entry in found.entries
                if wanted is None or _meets(wanted, entry.first, entry.last)
            ]
        )


def _wanted(dictionary: Dictionary, group: Array, level: int) -> list[int] | None:
    """Return the numbers of routes that a selection is about, None for all."""
    within = group >= 0
    # Routes are numbered as they come: a lost name may have been the first of its route.
    if within.all() or dictionary.lost:
        return None
    routes = dictionary.routes()[: len(group)]
    found = np.unique(routes[within & dictionary.of_level(level)[: len(group)]])
    return [int(route) for route in found]


def _check(chosen: Sequence[list[ChunkEntry]], batches: int) -> None:
    """Raise TooMuchError for a read over more than the limits."""
    points = sum(entry.points for found in chosen for entry in found)
    buckets = sum(entry.buckets for found in chosen for entry in found)
    if points > _MOST_POINTS or buckets > _MOST_BUCKETS:
        raise TooMuchError(
            f"the read would go through {points / 1e6:.1f} M points and {buckets / 1e6:.0f} M "
            f"buckets, over the limits of {_MOST_POINTS / 1e6:.0f} M and "
            f"{_MOST_BUCKETS / 1e6:.0f} M: ask for a shorter range, whole hours, or one service; "
            "questions that do not name an instance go through far less"
        )
    if batches > _MOST_BATCHES:
        raise TooMuchError(
            f"the read would go through {batches} batches that are not merged yet, over the limit "
            f"of {_MOST_BATCHES}: ask for a shorter range, or again when compaction has caught up"
        )


def _meets(wanted: list[int], first: int, last: int) -> bool:
    place = bisect_left(wanted, first)
    return place < len(wanted) and wanted[place] <= last
