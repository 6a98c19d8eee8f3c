"""Accounting: which numbered records of each app process arrived, and what is missing.

A process numbers its records, and batches say which numbers they cover. The union of those ranges
is what was counted; numbers that the process has sent and no range covers are lost. Batches arrive
in any order, so the loss is derived when somebody asks, and shrinks when late data fills a gap.

Changes are staged on immutable values and applied by `confirm` once they are durable. Changes that
are not confirmed leave no trace.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final, NamedTuple

from trimtab_collector.storage.store import Received, ServiceAccounting
from trimtab_collector.storage.tallies import SenderTally
from trimtab_core.batches import Batch

__all__ = [
    "MAX_PROCESSES",
    "UNREADABLE",
    "AccountingTable",
    "CountedProcess",
    "ProcessKey",
    "RecordRanges",
    "Retirement",
    "Staged",
    "covered",
    "with_range",
    "with_ranges",
]

#: sorted, disjoint, not touching: (first, end) with end not included
RecordRanges = tuple[tuple[int, int], ...]

#: a process with more ranges than this has its oldest gap counted as lost for good
_MAX_RANGES: Final = 2_000
#: processes kept separately; those silent the longest are added up into their service
MAX_PROCESSES: Final = 50_000
_MAX_REASONS: Final = 64
#: processes over the limit that are kept until the next retirement
_UNRETIRED: Final = 25_000
#: ranges that are added one by one; more of them are sorted and joined in one pass
_FEW: Final = 8
#: no process sends more records, and no claim counts for more: 10,000 a second for three years
_MOST_RECORDS: Final = 2**40
#: reason of records whose batch the store cannot read any more
UNREADABLE: Final = "unreadable"
#: the largest integer that an engine can store; totals are capped there
_MOST: Final = 2**63 - 1
#: the largest whole number that every reader of JSON has; sums over processes are capped there
_MOST_SUM: Final = 2**53 - 1
#: agents of which is remembered what they hold
_MAX_AGENTS: Final = 20_000


def with_range(ranges: RecordRanges, first: int, count: int) -> RecordRanges:
    """Return the union of ranges and the numbers from first to first + count - 1."""
    if not count:
        return ranges
    end = first + count
    if not ranges or first > ranges[-1][1]:
        return (*ranges, (first, end))
    low = bisect_left(ranges, first, key=lambda pair: pair[1])
    high = bisect_right(ranges, end, key=lambda pair: pair[0])
    if low < high:
        first, end = min(first, ranges[low][0]), max(end, ranges[high - 1][1])
    return (*ranges[:low], (first, end), *ranges[high:])


def with_ranges(ranges: RecordRanges, claims: Sequence[tuple[int, int]]) -> RecordRanges:
    """Return the union of ranges and claims, (first, count) each; in one pass over many."""
    if len(claims) <= _FEW:
        for first, count in claims:
            ranges = with_range(ranges, first, count)
        return ranges
    union: list[tuple[int, int]] = []
    begin = end = -1
    added = ((first, first + count) for first, count in claims if count)
    for first, last in sorted(chain(ranges, added)):
        if first <= end:
            end = max(end, last)
            continue
        if end >= 0:
            union.append((begin, end))
        begin, end = first, last
    return (*union, (begin, end)) if end >= 0 else ()


def covered(ranges: RecordRanges) -> int:
    """Return how many numbers the ranges hold."""
    return sum(end - first for first, end in ranges)


@dataclass(frozen=True, slots=True)
class CountedProcess:
    """The accounting of one app process."""

    environment: str
    service: str
    ranges: RecordRanges = ()
    sent: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    #: records of gaps that were closed because there were too many
    closed: int = 0
    #: the latest window that mentioned it, epoch seconds
    updated_s: int = 0
    #: the key that mentioned it last; empty until one has since the start
    key: str = ""
    #: the agent that told of the latest window; empty where an earlier version wrote it
    agent: str = ""

    @property
    def counted(self) -> int:
        """Records that arrived."""
        return covered(self.ranges) - self.closed

    @property
    def known(self) -> int:
        """Records that the process has sent, as far as known."""
        return max(self.sent, self.ranges[-1][1] if self.ranges else 0)


#: process, environment, service: with the service in the key, a false one affects only that process
ProcessKey = tuple[bytes, str, str]


@dataclass(slots=True)
class Staged:
    """Changes of one transaction."""

    processes: dict[ProcessKey, CountedProcess] = field(default_factory=dict)
    totals: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)


class Retirement(NamedTuple):
    """Processes to keep separately no longer, and the sums over all that were ever retired."""

    gone: Sequence[ProcessKey]
    #: by (environment, service)
    sums: Mapping[tuple[str, str], ServiceAccounting]


class AccountingTable:
    """The accounting of a store. Changes are for the committing thread, `services` for any."""

    def __init__(self, over: SenderTally | None = None) -> None:
        """Count processes over the quota in a tally."""
        self._processes: dict[ProcessKey, CountedProcess] = {}
        #: (environment, service) -> requests and background records
        self._totals: dict[tuple[str, str], tuple[int, int]] = {}
        self._retired: dict[tuple[str, str], ServiceAccounting] = {}
        #: the agent that was heard last is last
        self._held: OrderedDict[str, int] = OrderedDict()
        #: processes that each key has brought; those of keys over the limit
        self._by_key: Counter[str] = Counter()
        self._over = over or SenderTally()

    def load(self, kept: Staged, retired: Mapping[tuple[str, str], ServiceAccounting]) -> None:
        """Take what a store has kept; before anything is staged."""
        self.confirm(kept)
        self._retired = dict(retired)

    def stage(self, staged: Staged, received: Received) -> None:
        """Add a batch to the changes."""
        for claim in received.batch.processes:
            key = (claim.process, claim.environment, claim.service)
            process = staged.processes.get(key) or self._processes.get(key)
            if process is None and not self._has_room(staged, received.key):
                self._over.note("processes", received.key, received.batch.agent)
                continue
            process = process or CountedProcess(claim.environment, claim.service)
            claims = [
                (first, min(count, _MOST_RECORDS - first))
                for first, count in claim.ranges
                if first < _MOST_RECORDS
            ]
            ranges, gaps = _bounded(with_ranges(process.ranges, claims))
            staged.processes[key] = CountedProcess(
                process.environment,
                process.service,
                ranges,
                max(process.sent, min(claim.sent, _MOST_RECORDS)),
                _most(process.dropped, claim.dropped),
                process.closed + gaps,
                max(process.updated_s, received.window_s),
                received.key,
                _latest(process, received),
            )
        for service, (requests, backgrounds) in received.totals.items():
            before = staged.totals.get(service) or self._totals.get(service, (0, 0))
            staged.totals[service] = (
                min(before[0] + requests, _MOST),
                min(before[1] + backgrounds, _MOST),
            )

    def note_held(self, batch: Batch, held: int) -> None:
        """Note what an agent says it holds in addition to a batch; in memory only."""
        self._held.pop(batch.agent, None)
        if held > 0:
            self._held[batch.agent] = held
            while len(self._held) > _MAX_AGENTS:
                self._held.popitem(last=False)

    def confirm(self, staged: Staged) -> None:
        """Apply the changes of a transaction that is durable."""
        for key, process in staged.processes.items():
            before = self._processes.get(key)
            if before is None or before.key != process.key:
                self._by_key[process.key] += 1
                if before is not None:
                    self._by_key[before.key] -= 1
        self._processes.update(staged.processes)
        self._totals.update(staged.totals)

    def retirement(self, most: int = MAX_PROCESSES) -> Retirement:
        """Return what changes when the processes over a limit are added up into their services.

        Those of the key that has the most go first, and of these those of the service that has the
        most: nobody's processes go because of others that send many more.
        """
        gone = self._most_and_oldest(most) if len(self._processes) > most else []
        sums = {service: replace(row) for service, row in self._retired.items()}
        for key in gone:
            total = sums.setdefault(key[1:], ServiceAccounting(*key[1:]))
            total.dropped = dict(total.dropped)
            _add(total, self._processes[key])
        return Retirement(gone, sums)

    def retire(self, retirement: Retirement) -> None:
        """Apply a retirement; before anything else is confirmed."""
        gone = set(retirement.gone)
        self._retired = dict(retirement.sums)
        self._processes = {k: v for k, v in self._processes.items() if k not in gone}
        self._by_key = Counter(process.key for process in self._processes.values())

    def _has_room(self, staged: Staged, key: str) -> bool:
        """Tell whether a key may bring one more process before the next retirement."""
        here = len(self._processes) + len(staged.processes)
        return here < MAX_PROCESSES + _UNRETIRED or self._by_key[key] < MAX_PROCESSES // 2

    def _most_and_oldest(self, most: int) -> list[ProcessKey]:
        """Return the processes that go when this many stay."""
        by_age = sorted(self._processes, key=lambda key: self._processes[key].updated_s)
        gone: list[ProcessKey] = []
        for _, of_key, stay in _levelled(by_age, lambda each: self._processes[each].key, most):
            for _, of_service, few in _levelled(of_key, lambda each: each[1:], stay):
                gone += of_service[: len(of_service) - few]
        return gone

    def unreadable(
        self, lost: Mapping[tuple[str, str], tuple[int, int]]
    ) -> tuple[Staged, Retirement]:
        """Return the changes that book requests and background records as dropped, by service.

        They were counted, and what a store had of them cannot be read. Confirm and retire them.
        """
        staged = Staged()
        sums = {service: replace(row) for service, row in self._retired.items()}
        for service, (requests, backgrounds) in lost.items():
            before = self._totals.get(service, (0, 0))
            staged.totals[service] = (before[0] - requests, before[1] - backgrounds)
            total = sums.setdefault(service, ServiceAccounting(*service))
            count = requests + backgrounds
            # What was sent and what was dropped are two things: their sum is every record.
            total.counted -= count
            total.sent -= count
            total.dropped = {**total.dropped, UNREADABLE: total.dropped.get(UNREADABLE, 0) + count}
        return staged, Retirement((), sums)

    def services(self) -> list[ServiceAccounting]:
        """Return the accounting of each service, by name."""
        found: dict[tuple[str, str], ServiceAccounting] = {}
        for service, (requests, backgrounds) in list(self._totals.items()):
            found[service] = ServiceAccounting(*service, requests=requests, backgrounds=backgrounds)
        for service, row in list(self._retired.items()):
            total = found.setdefault(service, ServiceAccounting(*service))
            total.counted, total.sent = row.counted, row.sent
            total.agent_lost, total.dropped = row.agent_lost, dict(row.dropped)
        missing: dict[tuple[str, str, str], int] = {}
        for process in list(self._processes.values()):
            service = (process.environment, process.service)
            _add(found.setdefault(service, ServiceAccounting(*service)), process)
            if process.agent in self._held and process.known > process.counted:
                told = (*service, process.agent)
                missing[told] = missing.get(told, 0) + process.known - process.counted
        for (environment, name, agent), count in missing.items():
            # What an agent holds is late, not lost: of its own processes, never of another's. How
            # much of it is this service's is unknown.
            total = found[environment, name]
            held = min(count, self._held.get(agent, 0), total.agent_lost)
            total.held += held
            total.agent_lost -= held
        return [found[service] for service in sorted(found)]


def _latest(process: CountedProcess, received: Received) -> str:
    """Return the agent that told of the latest window of a process, whatever came first."""
    told = (process.updated_s, process.agent), (received.window_s, received.batch.agent)
    return max(told)[1]


def _levelled(
    names: Iterable[ProcessKey], group: Callable[[ProcessKey], Hashable], most: int
) -> Iterator[tuple[Hashable, list[ProcessKey], int]]:
    """Yield names by group, with how many of each may stay: all of small groups, alike of others.

    The order within a group is that of names.
    """
    groups: dict[Hashable, list[ProcessKey]] = {}
    for name in names:
        groups.setdefault(group(name), []).append(name)
    left = most
    for place, (value, some) in enumerate(sorted(groups.items(), key=lambda item: len(item[1]))):
        stay = min(len(some), left // (len(groups) - place))
        left -= stay
        yield value, some, stay


def _bounded(ranges: RecordRanges) -> tuple[RecordRanges, int]:
    """Return ranges with the oldest gaps over the limit closed, and the numbers in those gaps."""
    over = len(ranges) - _MAX_RANGES
    if over <= 0:
        return ranges, 0
    joined = (ranges[0][0], ranges[over][1])
    gaps = joined[1] - joined[0] - covered(ranges[: over + 1])
    return (joined, *ranges[over + 1 :]), gaps


def _add(total: ServiceAccounting, process: CountedProcess) -> None:
    total.counted = min(total.counted + process.counted, _MOST_SUM)
    total.sent = min(total.sent + process.known, _MOST_SUM)
    total.agent_lost = min(total.agent_lost + process.known - process.counted, _MOST_SUM)
    for reason, count in process.dropped.items():
        name = reason if reason in total.dropped or len(total.dropped) < _MAX_REASONS else "other"
        total.dropped[name] = min(total.dropped.get(name, 0) + count, _MOST_SUM)


def _most(one: Mapping[str, int], other: Mapping[str, int]) -> Mapping[str, int]:
    if not other:
        return one
    most = dict(one)
    for reason, count in other.items():
        if reason not in most and len(most) >= _MAX_REASONS:
            reason = "other"
        most[reason] = max(most.get(reason, 0), min(count, _MOST_RECORDS))
    return most
