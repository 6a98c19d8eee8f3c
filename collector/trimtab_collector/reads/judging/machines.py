"""The rules of the analysis of hosts, processes, pools and queues, one function each."""

from collections.abc import Iterator, Sequence
from typing import Final

from trimtab_collector.contract.analysis import Place
from trimtab_collector.reads.judging.facts import Facts, GaugeTrack, whole
from trimtab_collector.reads.judging.findings import (
    HIGH,
    LOW,
    MEDIUM,
    Clue,
    FoundIssue,
    IssueRule,
    Unjudged,
)
from trimtab_collector.reads.judging.pools import ConnectionPool, pools_of
from trimtab_collector.reads.latest import is_probed
from trimtab_collector.reads.measures import calls_of
from trimtab_collector.reads.utilization import CPU_USE, MEMORY_USE, by_machine

__all__ = ["MACHINE_RULES"]

#: readings of a gauge in the range, with fewer of which nothing is said
_READINGS: Final = 3
_CPU: Final = 0.8
_MEMORY: Final = (0.8, 0.9)
_LOOP_S: Final = (0.010, 0.050)
_POOL: Final = 0.8
_POOL_WAIT_MS: Final = 100.0
_WAITS: Final = 20
#: messages that a queue must have gained and must hold, and by how much it must have grown
_GAINED: Final = 100
_GROWN: Final = 1.5
#: steps without which a trend of a queue is none
_TREND_STEPS: Final = 6
_CLUES: Final = 3


def high_cpu_usage(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge the mean CPU use of containers, else of hosts: over 80 % is high."""
    tracks = _of_machines(facts, CPU_USE)
    for track in tracks:
        if track.mean > _CPU:
            throttled = facts.track("container.cpu.throttled", track.instance)
            yield FoundIssue(
                HIGH,
                {"usage": track.mean, "throttling": throttled.mean if throttled else None},
                Place(instance=track.instance),
                (
                    Clue(
                        "gauge_share",
                        {"mean": track.mean, "max": track.max},
                        Place(instance=track.instance),
                    ),
                    *_busiest(facts, track.instance),
                ),
                size=track.mean,
            )
    if not tracks:
        yield Unjudged("no_host")


def high_memory_usage(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge memory in use, of containers, else of hosts: from 80 % medium, from 90 % high."""
    tracks = _of_machines(facts, MEMORY_USE)
    for track in tracks:
        if track.last < _MEMORY[0] or track.mean < _MEMORY[0]:
            continue  # a peak that is over, or one that has only begun
        kind = track.name.partition(".")[0]
        used, limit = (
            facts.track(f"{kind}.memory.{each}", track.instance) for each in ("usage", "limit")
        )
        yield FoundIssue(
            HIGH if track.mean >= _MEMORY[1] else MEDIUM,
            {
                "usage": track.last,
                "used": used.last if used else None,
                "limit": limit.last if limit else None,
            },
            Place(instance=track.instance),
            tuple(_largest(facts, track.instance)),
            size=track.last,
        )
    if not tracks:
        yield Unjudged("no_host")


def _of_machines(facts: Facts, names: Sequence[str]) -> list[GaugeTrack]:
    """Return the use of each host, of the container around its agent where there is one."""
    found = (
        (each.instance, name, each)
        for name in names
        for each in facts.tracks(name)
        if not each.service and each.count >= _READINGS
    )
    return list(by_machine(found, names).values())


def _processes(facts: Facts, name: str, host: str) -> list[GaugeTrack]:
    """Return a gauge of the processes of a host."""
    return [
        each
        for each in facts.tracks(name)
        if each.service and each.instance.rpartition("#")[0] == host
    ]


def _busiest(facts: Facts, host: str) -> Iterator[Clue]:
    """Yield the processes of a host that use most of its CPUs."""
    processes = _processes(facts, "process.cpu.utilization", host)
    for each in sorted(processes, key=lambda one: -one.mean)[:_CLUES]:
        yield Clue("process_cpu", {"cpus": each.mean}, _place_of(each))


def _largest(facts: Facts, host: str) -> Iterator[Clue]:
    """Yield the processes of a host with the most memory, and how much they gained."""
    processes = _processes(facts, "process.memory.usage", host)
    for each in sorted(processes, key=lambda one: -one.last)[:_CLUES]:
        gained = each.last - each.steps[0].mean
        fields = {"mib": each.last / 2**20, "gained": gained / 2**20}
        yield Clue("process_memory", fields, _place_of(each))


def _place_of(track: GaugeTrack) -> Place:
    return Place(environment=track.environment, service=track.service, instance=track.instance)


def event_loop_delay(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge the mean delay of event loops: from 10 ms medium, from 50 ms high."""
    owners: dict[tuple[str, str], list[GaugeTrack]] = {}
    for track in facts.tracks("trimtab.app.loop_delay"):
        if track.service and track.count >= _READINGS and track.mean >= _LOOP_S[0]:
            owners.setdefault((track.environment, track.service), []).append(track)
    for (environment, service), tracks in sorted(owners.items()):
        tracks.sort(key=lambda each: -each.mean)
        worst = tracks[0]
        yield FoundIssue(
            HIGH if worst.mean >= _LOOP_S[1] else MEDIUM,
            {"delay": worst.mean * 1000, "max": max(each.max for each in tracks) * 1000,
             "processes": len(tracks)},
            Place(environment=environment, service=service),
            tuple(
                Clue("loop", {"mean": each.mean * 1000, "max": each.max * 1000},
                     Place(environment=environment, service=service, instance=each.instance))
                for each in tracks[:_CLUES]
            ),
            size=worst.mean,
        )  # fmt: skip


def pool_saturation(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge pools of connections: time-outs are high, long waits or 80 % in use medium."""
    for pool in pools_of(facts):
        waits = calls_of(pool.waits, facts.seconds)
        waited = waits.p90 if waits.count >= _WAITS else None
        is_full = pool.use is not None and pool.use >= _POOL
        if not pool.timeouts and not is_full and (waited is None or waited <= _POOL_WAIT_MS):
            continue
        yield FoundIssue(
            HIGH if pool.timeouts else MEDIUM,
            {"used": pool.used, "max": pool.most, "utilization": pool.use,
             "waitP90": waited, "timeouts": pool.timeouts},
            pool.where,
            (
                *(
                    Clue("pool_wait", {"p90": each.p90 or 0.0, "count": each.count}, where)
                    for each, where in pool.slowest(facts.seconds)[:_CLUES]
                ),
                *_held(facts, pool),
            ),
            size=pool.timeouts + (pool.use or 0.0),
        )  # fmt: skip


def _held(facts: Facts, pool: ConnectionPool) -> Iterator[Clue]:
    """Yield servers on which connections do nothing within a transaction, and are taken so."""
    if pool.where.target.startswith("postgresql"):
        for track in facts.tracks("postgresql.backends.idle_in_transaction"):
            if track.mean >= 1:
                yield Clue("held", {"count": track.mean}, Place(target=track.instance))


def queue_growth(facts: Facts) -> Iterator[FoundIssue | Unjudged]:
    """Judge queues: half as long again, and 100 messages more, is medium; threefold high."""
    probed = [each for each in facts.tracks("trimtab.queue.depth") if is_probed(each.instance)]
    queues = [*probed, *facts.own_queues]
    for queue in queues:
        third = len(queue.steps) // 3
        if len(queue.steps) < _TREND_STEPS:
            continue
        before = sum(each.mean for each in queue.steps[:third]) / third
        after = sum(each.mean for each in queue.steps[-third:]) / third
        gained = after - before
        if gained < _GAINED or after < _GROWN * before or queue.last < _GAINED:
            continue
        apart_s = queue.steps[-1].t - queue.steps[third - 1].t
        place = Place(environment=queue.environment, service=queue.service, target=queue.instance)
        yield FoundIssue(
            HIGH if after >= 3 * before else MEDIUM,
            {"depth": queue.last, "before": before, "perMinute": gained / apart_s * 60},
            place,
            tuple(_of_queue(facts, queue)),
            size=gained,
        )
    if not queues:
        yield Unjudged("no_queue")


def _of_queue(facts: Facts, queue: GaugeTrack) -> Iterator[Clue]:
    """Yield how tasks of a queue ran, if workers say so."""
    name = queue.instance.removeprefix("queue:")
    key = ("messaging.destination.name", name)
    ran = [part for part in facts.of("messaging.process.duration") if key in part.key.attributes]
    place = Place(target=queue.instance)
    if ran:
        done = whole(ran)
        fields = {"perMinute": done.count / facts.seconds * 60, "mean": done.sum / done.count}
        yield Clue("tasks", fields, place)
    else:
        yield Clue("no_tasks", {}, place)


MACHINE_RULES: Final[tuple[IssueRule, ...]] = (
    IssueRule("high_cpu_usage", "reduce_cpu", HIGH, high_cpu_usage),
    IssueRule("high_memory_usage", "reduce_memory", HIGH, high_memory_usage),
    IssueRule("event_loop_delay", "unblock_event_loop", MEDIUM, event_loop_delay),
    IssueRule("pool_saturation", "tune_pool", MEDIUM, pool_saturation),
    IssueRule("queue_growth", "add_workers", LOW, queue_growth),
)
