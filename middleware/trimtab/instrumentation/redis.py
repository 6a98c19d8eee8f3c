"""redis-py: commands and pipelines, sync and asyncio; names of commands, never keys or values.

Within a request they are cache time, and commands that read tell hits from misses: a GET that
found a value is a hit. Commands that wait for others (BLPOP and the like) and that manage the
server are measured, but are no cache time, and what queues look up is neither hit nor miss.
Subscriptions are left alone.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from time import monotonic_ns
from types import ModuleType
from typing import Any, Final

from trimtab.context import context_variable
from trimtab.instrumentation.calls import error_type
from trimtab.instrumentation.patching import Patches
from trimtab.metrics.measures import Measure
from trimtab.runtime import PROCESS
from trimtab_core.logs import app_logger
from trimtab_core.measures import COUNTER, HISTOGRAM
from trimtab_core.rediscommands import SUBCOMMANDS, command_name

__all__ = ["patch"]

log = app_logger("trimtab.instrument")

#: commands that return a value or None, and those that return a list of these
_ONE: Final = frozenset({"GET", "GETDEL", "GETEX", "HGET", "JSON.GET"})
_MANY: Final = frozenset({"MGET", "HMGET", "JSON.MGET"})
#: commands that return an empty container for a missing key
_WHOLE: Final = frozenset({"HGETALL"})
_WAIT: Final = frozenset({
    "BLMOVE", "BLMPOP", "BLPOP", "BRPOP", "BRPOPLPUSH", "BZMPOP", "BZPOPMAX", "BZPOPMIN",
    "MONITOR", "PSUBSCRIBE", "SSUBSCRIBE", "SUBSCRIBE", "WAIT", "WAITAOF",
})  # fmt: skip
#: commands that wait when BLOCK is among their arguments
_MAY_WAIT: Final = frozenset({"XREAD", "XREADGROUP"})
#: commands that say nothing about the cache, however slow
_MANAGE: Final = SUBCOMMANDS.keys() - {"OBJECT", "XGROUP", "XINFO"}
#: what keys of RQ and of Celery's results begin with
_QUEUES: Final = ("rq:", "celery-task")
_QUEUES_BYTES: Final = tuple(each.encode() for each in _QUEUES)
#: commands at hand; an app may make up names
_MAX_KEPT: Final = 500

_durations: Final = PROCESS.measures.family("db.client.operation.duration", HISTOGRAM, "s")
_hits: Final = PROCESS.measures.family("trimtab.cache.hits", COUNTER).at((("level", "redis"),))
_misses: Final = PROCESS.measures.family("trimtab.cache.misses", COUNTER).at((("level", "redis"),))

#: (hits, misses) of a result
Count = Callable[[Any], tuple[int, int]]


def patch(module: ModuleType, patches: Patches) -> None:
    """Patch the module `redis.client` or `redis.asyncio.client`."""
    is_async = module.__name__.startswith("redis.asyncio")
    command, pipeline = (_command_async, _pipeline_async) if is_async else (_command, _pipeline)
    patches.replace(module.Redis, "execute_command", command)
    # What a pipeline that watches keys sends at once.
    patches.replace(module.Pipeline, "immediate_execute_command", command)
    patches.replace(module.Pipeline, "execute", pipeline)


def _command(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        start_ns = monotonic_ns()
        try:
            result = original(self, *args, **options)
        except BaseException as error:
            _book(args, start_ns, None, type(error))
            raise
        _book(args, start_ns, result, None)
        return result

    return execute_command


def _command_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def execute_command(self: Any, *args: Any, **options: Any) -> Any:
        start_ns = monotonic_ns()
        try:
            result = await original(self, *args, **options)
        except BaseException as error:
            _book(args, start_ns, None, type(error))
            raise
        _book(args, start_ns, result, None)
        return result

    return execute_command


def _pipeline(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        name, stack = _described(self)
        start_ns = monotonic_ns()
        try:
            result = original(self, *args, **kwargs)
        except BaseException as error:
            _book_pipeline(name, stack, start_ns, None, type(error))
            raise
        _book_pipeline(name, stack, start_ns, result, None)
        return result

    return execute


def _pipeline_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(original)
    async def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        name, stack = _described(self)
        start_ns = monotonic_ns()
        try:
            result = await original(self, *args, **kwargs)
        except BaseException as error:
            _book_pipeline(name, stack, start_ns, None, type(error))
            raise
        _book_pipeline(name, stack, start_ns, result, None)
        return result

    return execute


class _Command:
    """What is known of a command, and its measures by class of exception."""

    __slots__ = ("count", "is_cache", "measures", "name", "waiting", "waits")

    def __init__(self, name: str, waits: bool = False) -> None:
        self.name = name
        self.waits = waits or name in _WAIT
        self.is_cache = not self.waits and name.partition(" ")[0] not in _MANAGE
        self.count = _count_of(name)
        #: the same command with BLOCK
        self.waiting = _Command(name, True) if name in _MAY_WAIT and not waits else None
        self.measures: dict[type[BaseException] | None, Measure] = {}

    def measure(self, error: type[BaseException] | None) -> Measure:
        attributes = [("db.operation.name", self.name), ("db.system.name", "redis")]
        if error is not None:
            attributes.append(("error.type", error_type(error)))
        if self.waits:
            attributes.append(("trimtab.blocking", "true"))
        found = _durations.at(tuple(attributes))
        if not found.is_other:
            self.measures[error] = found
        return found

    def add(
        self, start_ns: int, duration_ns: int, hits: int, misses: int, error: type | None
    ) -> None:
        measure = self.measures.get(error) or self.measure(error)
        measure.add(duration_ns / 1e9)
        if hits:
            _hits.add(hits)
        if misses:
            _misses.add(misses)
        context = context_variable.get()
        if context is not None and self.is_cache:
            context.add_cache(duration_ns, hits, misses)
            context.add_span("cache", start_ns, duration_ns, self.name)


def _count_of(name: str) -> Count | None:
    if name in _ONE:
        return lambda result: (0, 1) if result is None else (1, 0)
    if name in _MANY:
        return _count_many
    if name in _WHOLE:
        return lambda result: (1, 0) if result else (0, 1)
    return None


def _count_many(result: Any) -> tuple[int, int]:
    misses = sum(each is None for each in result)
    return len(result) - misses, misses


_commands: Final[dict[Any, _Command]] = {}
_pipelines: Final = {name: _Command(name) for name in ("MULTI", "PIPELINE")}


def _book(
    args: Sequence[Any], start_ns: int, result: Any, error: type[BaseException] | None
) -> None:
    """Book a command that has just ended; never raises, about 1 us."""
    duration_ns = monotonic_ns() - start_ns
    try:
        command = _commands.get(args[0]) or _learn(args[0])
        if command.waiting is not None and _blocks(args):
            command = command.waiting
        hits = misses = 0
        if error is None and command.count is not None and not _is_of_a_queue(args):
            hits, misses = command.count(result)
        command.add(start_ns, duration_ns, hits, misses, error)
    except Exception:
        log.debug("a command to Redis is not measured", exc_info=True)


def _book_pipeline(
    name: str,
    stack: Sequence[Any],
    start_ns: int,
    results: Any,
    error: type[BaseException] | None,
) -> None:
    duration_ns = monotonic_ns() - start_ns
    if not name:
        return
    try:
        hits = misses = 0
        if error is None and len(stack) == len(results):
            for (args, _), result in zip(stack, results, strict=True):
                command = _commands.get(args[0]) or _learn(args[0])
                if command.count is None or _is_of_a_queue(args):
                    continue
                if not isinstance(result, Exception):
                    found, missed = command.count(result)
                    hits, misses = hits + found, misses + missed
        _pipelines[name].add(start_ns, duration_ns, hits, misses, error)
    except Exception:
        log.debug("a pipeline to Redis is not measured", exc_info=True)


def _is_of_a_queue(args: Sequence[Any]) -> bool:
    """Tell whether a queue looks for a task or a result: whether it is there yet is no hit."""
    key = args[1] if len(args) > 1 else None
    if isinstance(key, bytes):
        return key.startswith(_QUEUES_BYTES)
    return isinstance(key, str) and key.startswith(_QUEUES)


def _kind(pipeline: Any) -> str:
    """Return the name that redis-py has for a pipeline, and none for one that sends nothing."""
    if not pipeline.command_stack and not pipeline.watching:
        return ""
    transaction = getattr(pipeline, "is_transaction", None)
    if transaction is None:
        transaction = pipeline.transaction
    return "MULTI" if transaction or pipeline.explicit_transaction else "PIPELINE"


def _described(pipeline: Any) -> tuple[str, Sequence[Any]]:
    """Return the name and the commands of a pipeline; no name for one that is not measured."""
    try:
        return _kind(pipeline), pipeline.command_stack
    except Exception:
        # One of somebody else's making, or of a redis-py unlike those we know.
        log.debug("a pipeline to Redis is not measured", exc_info=True)
        return "", ()


def _learn(raw: Any) -> _Command:
    """Return the command for what an app gave as its name, which may hold more than that."""
    text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw)
    name = command_name(text) or "_OTHER"
    command = _commands.get(name) or _Command(name)
    if len(_commands) >= _MAX_KEPT:
        _commands.clear()
    _commands[name] = command
    if text.upper() == name:
        _commands[raw] = command
    return command


def _blocks(args: Sequence[Any]) -> bool:
    for each in args[1:]:
        word = each.decode("ascii", "replace") if isinstance(each, bytes) else each
        if isinstance(word, str):
            if word.upper() == "STREAMS":
                return False
            if word.upper() == "BLOCK":
                return True
    return False
