"""Advice on Celery: what its workers and publishers have set, and how tasks ran."""

from collections.abc import Callable, Iterator
from typing import Final

from trimtab_collector.contract.analysis import Place
from trimtab_collector.reads.judging.advising import AdviceRule, Advised, Unseen, is_measured
from trimtab_collector.reads.judging.facts import Facts, GaugeTrack, whole
from trimtab_collector.reads.judging.findings import HIGH, LOW, MEDIUM, Clue
from trimtab_collector.reads.latest import is_probed
from trimtab_collector.reads.measures import attribute, calls_of, grouped
from trimtab_collector.storage.store import MeasurePart

__all__ = ["TASK_RULES"]

_SETTING: Final = "trimtab.celery."
_RUN: Final = "messaging.process.duration"
_WAIT: Final = "trimtab.task.wait"
_QUEUE: Final = "messaging.destination.name"
#: runs and waits of a task without which nothing is said of it
_RUNS: Final = 20
#: a task that keeps others waiting behind it
_LONG_MS: Final = 1_000.0
_TIMES_LONGER: Final = 10.0
_TASKS_PER_CHILD: Final = 1_000
_EXPIRES_S: Final = 3_600
_POOL: Final = 20
_DEEP: Final = 1_000
_GROWN: Final = 1.2
_SENT_PER_SECOND: Final = 10.0


def _worst(facts: Facts, setting: str, of: Callable[..., float]) -> list[tuple[Place, float]]:
    """Return for each service the value of the process that has the least or most of a setting."""
    return [
        (Place(environment=owner[0], service=owner[1]), of(part.delta.last for part in parts))
        for owner, parts in facts.by_service(_SETTING + setting).items()
    ]


def prefetch(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have workers take one message at a time, where tasks are long."""
    found = _worst(facts, "prefetch_multiplier", max)
    if not found:
        yield Unseen("no_worker")
    for where, value in found:
        if value == 1:
            continue
        tasks = _of_service(facts, where, _RUN)
        runs = calls_of(tasks, facts.seconds)
        if runs.count < _RUNS or runs.p95 is None:
            yield Unseen("few_tasks", where)
        elif runs.p95 >= _LONG_MS:
            clue = Clue("task_runs", {"p95": runs.p95, "count": runs.count}, where)
            yield Advised(MEDIUM, LOW, where, {"value": value}, (clue,),
                          ("app.conf.worker_prefetch_multiplier = 1",))  # fmt: skip


def acks_late(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have messages acknowledged after the work, so that a killed worker loses none."""
    found = _worst(facts, "acks_late", min)
    if not found:
        yield Unseen("no_worker")
    for where, value in found:
        if value:
            continue
        lost = int(whole(_of_service(facts, where, "trimtab.task.lost")).sum)
        clues = (Clue("tasks_lost", {"count": lost}, where),) if lost else ()
        yield Advised(HIGH if lost else LOW, MEDIUM, where, {}, clues,
                      ("app.conf.task_acks_late = True",
                       "app.conf.task_reject_on_worker_lost = True"))  # fmt: skip


def max_tasks_per_child(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have worker processes replaced after 1,000 tasks, so that leaks stay small."""
    found = _worst(facts, "max_tasks_per_child", min)
    if not found:
        yield Unseen("no_worker")
    for where, value in found:
        if value:
            continue
        clues = tuple(
            Clue("process_memory",
                 {"mib": each.last / 2**20, "gained": (each.last - each.steps[0].mean) / 2**20},
                 Place(environment=each.environment, service=each.service, instance=each.instance))
            for each in facts.tracks("process.memory.usage")
            if (each.environment, each.service) == (where.environment, where.service)
            and each.last >= _GROWN * each.steps[0].mean
        )[:3]  # fmt: skip
        yield Advised(MEDIUM if clues else LOW, LOW, where, {}, clues,
                      (f"app.conf.worker_max_tasks_per_child = {_TASKS_PER_CHILD}",))  # fmt: skip


def result_expires(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have results forgotten after an hour, where they are kept at all."""
    found = _worst(facts, "result_expires", lambda values: _longest(list(values)))
    if not found:
        yield Unseen("no_results")
    for where, value in found:
        if value <= 0 or value > _EXPIRES_S:
            priority = LOW if value > 0 else MEDIUM
            yield Advised(priority, LOW, where, {"hours": value / 3600}, (),
                          (f"app.conf.result_expires = {_EXPIRES_S}",))  # fmt: skip


def _longest(values: list[float]) -> float:
    """Return the longest time; 0 stands for ever."""
    return 0.0 if 0.0 in values else max(values)


def compression(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have messages compressed where many of them wait in memory of the broker."""
    found = _worst(facts, "compression", min)
    if not found:
        yield Unseen("no_celery")
        return
    deep = [each for each in _queues(facts) if each.max >= _DEEP]
    for where, value in found:
        if not value and deep:
            clues = tuple(Clue("queue_depth", {"max": each.max}, Place(target=each.instance))
                          for each in sorted(deep, key=lambda one: -one.max)[:3])  # fmt: skip
            yield Advised(LOW, LOW, where, {}, clues, ('app.conf.task_compression = "gzip"',))
    if not _queues(facts):
        yield Unseen("no_queue_depth")


def _queues(facts: Facts) -> list[GaugeTrack]:
    return [each for each in facts.tracks("trimtab.queue.depth") if is_probed(each.instance)]


def queue_per_type(facts: Facts) -> Iterator[Advised | Unseen]:
    """Find queues in which short tasks wait behind long ones."""
    celery = [part for part in facts.of(_RUN) if attribute(part, "messaging.system") == "celery"]
    if not celery:
        yield Unseen("no_tasks")
    queues = grouped(celery, lambda part: (part.environment, attribute(part, _QUEUE)))
    for (environment, queue), parts in sorted(queues.items()):
        runs = {
            task: calls_of(some, facts.seconds)
            for task, some in grouped(parts, lambda part: attribute(part, "trimtab.task")).items()
        }
        means = {task: calls.mean for task, calls in runs.items()
                 if calls.count >= _RUNS and calls.mean is not None}  # fmt: skip
        if len(means) < 2:
            continue
        short, long = (pick(means, key=lambda task: means[task]) for pick in (min, max))
        waits = [
            part
            for part in facts.of(_WAIT)
            if part.environment == environment
            and (attribute(part, "trimtab.task"), attribute(part, _QUEUE)) == (short, queue)
        ]
        waited = calls_of(waits, facts.seconds)
        apart = means[long] >= _TIMES_LONGER * means[short]
        if apart and waited.p90 is not None and waited.p90 > means[short]:
            where = Place(environment=environment, target=f"queue:{queue}")
            clues = (
                Clue("task_mean", {"task": long, "mean": means[long]}, where),
                Clue("task_waits", {"task": short, "mean": means[short], "p90": waited.p90}, where),
            )
            fields = {"queue": queue, "short": short, "long": long}
            route = f'app.conf.task_routes = {{"{long}": {{"queue": "{queue}-long"}}}}'
            yield Advised(MEDIUM, MEDIUM, where, fields, clues, (route,))


def broker_pool(facts: Facts) -> Iterator[Advised | Unseen]:
    """Give publishers that send much more connections to the broker."""
    found = _worst(facts, "broker_pool_limit", min)
    if not found:
        yield Unseen("no_celery")
    for where, value in found:
        sent = _of_service(facts, where, "trimtab.task.sent")
        processes = {part.instance for part in sent}
        rate = whole(sent).sum / facts.seconds / max(1, len(processes))
        if value < _POOL and rate >= _SENT_PER_SECOND:
            clue = Clue("tasks_sent", {"rate": rate}, where)
            yield Advised(MEDIUM if value <= 0 else LOW, LOW, where, {"value": value}, (clue,),
                          (f"app.conf.broker_pool_limit = {_POOL}",))  # fmt: skip


def _of_service(facts: Facts, where: Place, name: str) -> list[MeasurePart]:
    return list(facts.by_service(name).get((where.environment, where.service), ()))


def _without_celery(
    look: Callable[[Facts], Iterator[Advised | Unseen]],
) -> Callable[[Facts], Iterator[Advised | Unseen]]:
    """Return a rule that says once that Celery was not seen at all."""

    def looked(facts: Facts) -> Iterator[Advised | Unseen]:
        if is_measured(facts, _RUN, _WAIT, "trimtab.task.sent", _SETTING + "broker_pool_limit"):
            yield from look(facts)
        else:
            yield Unseen("no_celery")

    return looked


TASK_RULES: Final = (
    AdviceRule("celery_prefetch", "celery", _without_celery(prefetch), limit="value"),
    AdviceRule("celery_acks_late", "celery", _without_celery(acks_late)),
    AdviceRule("celery_max_tasks_per_child", "celery", _without_celery(max_tasks_per_child)),
    AdviceRule("celery_result_expires", "celery", _without_celery(result_expires), limit="hours"),
    AdviceRule("celery_compression", "celery", _without_celery(compression)),
    AdviceRule("celery_queue_per_type", "celery", _without_celery(queue_per_type)),
    AdviceRule("celery_broker_pool", "celery", _without_celery(broker_pool), limit="value"),
)
