"""Time, calls and errors by type, of functions by a decorator and of blocks by `with`.

    @monitored
    async def checkout(basket): ...          # shop.checkout.duration, .calls, .errors

    with measure("shop.render", template="basket"): ...

A duration is a histogram in seconds; calls count what has ended, errors what ended by an Exception,
by its class (`error.type`), or returned what a predicate calls a failure (`error.type=returned`).
What ends by cancellation, `close()` or an end of the process is a call and no error. About 1 us.
"""

import functools
import inspect
import re
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from time import perf_counter
from types import TracebackType
from typing import Any, Final, Self, TypeVar, overload

from trimtab.metrics.counter import Counter
from trimtab.metrics.histogram import Histogram
from trimtab_core.logs import app_logger
from trimtab_core.names import MAX_METRIC_NAME, check_name, suggest_name

__all__ = ["measure", "monitored"]

log = app_logger("trimtab.metrics.decorators")

_F = TypeVar("_F", bound=Callable[..., Any])
#: `error.type` of a returned value that is a failure
_RETURNED: Final = "returned"
#: the longest of what is appended to a name
_LONGEST: Final = len(".duration")
_MOST_BLOCKS: Final = 2000


class _Metrics:
    """The three metrics of a name and labels."""

    __slots__ = ("_errors", "_failed", "_labels", "called", "is_other", "took")

    def __init__(
        self, name: str, labels: Mapping[str, object], failed: Callable[[Any], object] | None = None
    ) -> None:
        check_name(name)
        check_name(f"{name}.duration")
        names = tuple(labels)
        duration = Histogram(f"{name}.duration", f"Duration of {name}.", "s", names)
        calls = Counter(f"{name}.calls", f"Calls of {name} that ended.", "{call}", names)
        self._errors = Counter(
            f"{name}.errors", f"Failures of {name}, by type.", "{error}", (*names, "error.type")
        )
        self._labels: dict[str, Any] = dict(labels)
        self._failed = failed
        took = duration.labels(**labels) if names else duration
        called = calls.labels(**labels) if names else calls
        #: whether all over the cap share them, so that they are not to be kept
        self.is_other = took.is_other or called.is_other
        # Of a series without buckets, observe and inc do no more than this.
        self.took, self.called = took._add, called._add

    def error(self, kind: str) -> None:
        self._errors.labels(**(self._labels | {"error.type": kind})).inc()

    def ended(self, started: float) -> None:
        self.took(perf_counter() - started)
        self.called(1)

    def judge(self, result: object) -> None:
        """Count a returned value that is a failure."""
        if self._failed is not None:
            try:
                if self._failed(result):
                    self.error(_RETURNED)
            except Exception:
                log.debug("a predicate of failures failed", exc_info=True)


@overload
def monitored(name: _F, /) -> _F: ...


@overload
def monitored(
    name: str = "",
    /,
    *,
    labels: Mapping[str, object] | None = None,
    failed: Callable[[Any], object] | None = None,
) -> Callable[[_F], _F]: ...


def monitored(
    name: Any = "",
    /,
    *,
    labels: Mapping[str, object] | None = None,
    failed: Callable[[Any], object] | None = None,
) -> Any:
    """Measure a function, method, coroutine function, generator function or async one.

    The name is the function's own (module and qualified name) unless given. Labels have fixed
    values. `failed` is called with what a function or coroutine returned; true is a failure; what
    it raises is ignored. Signature, results, exceptions, cancellation and send, throw and close
    stay as they are; of a generator the time counts from the first step to its end.

    Raises ValueError for an invalid name or label, TypeError for anything but a function.
    """
    if callable(name) or isinstance(name, (classmethod, staticmethod)):
        return _wrap(name, "", {}, None)
    return lambda function: _wrap(function, name, labels or {}, failed)


def _wrap(
    function: Any, name: str, labels: Mapping[str, object], failed: Callable[[Any], object] | None
) -> Any:
    if isinstance(function, (classmethod, staticmethod)):
        return type(function)(_wrap(function.__func__, name, labels, failed))
    if not callable(function) or inspect.isclass(function):
        raise TypeError(f"expected a function, got {function!r:.100}: decorate its methods")
    metrics = _Metrics(name or _own_name(function), labels, failed)
    # An object's call may be a coroutine function.
    call = getattr(type(function), "__call__", None)  # noqa: B004 - its kind matters
    for kind, wrapper in _WRAPPERS:
        if kind(function) or kind(call):
            return functools.wraps(function)(wrapper(function, metrics))
    return functools.wraps(function)(_function(function, metrics))


def _own_name(function: Any) -> str:
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    module = str(getattr(function, "__module__", "") or "").removeprefix("__main__")
    text = f"{module}.{named.__qualname__}".replace(".<locals>", "").replace("<lambda>", "lambda")
    name = suggest_name(re.sub(r"^\.", "", text))
    # Of a long one the end tells more.
    return name if len(name) <= MAX_METRIC_NAME - _LONGEST else suggest_name(text[-80:])


def _function(function: Any, metrics: _Metrics) -> Any:
    took, called, judged = metrics.took, metrics.called, metrics._failed is not None

    def timed(*args: Any, **kwargs: Any) -> Any:
        started = perf_counter()
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            metrics.error(type(error).__name__)
            raise
        finally:
            took(perf_counter() - started)
            called(1)
        if judged:
            metrics.judge(result)
        return result

    return timed


def _coroutine(function: Any, metrics: _Metrics) -> Any:
    took, called, judged = metrics.took, metrics.called, metrics._failed is not None

    async def timed(*args: Any, **kwargs: Any) -> Any:
        started = perf_counter()
        try:
            result = await function(*args, **kwargs)
        except Exception as error:
            metrics.error(type(error).__name__)
            raise
        finally:
            took(perf_counter() - started)
            called(1)
        if judged:
            metrics.judge(result)
        return result

    return timed


def _generator(function: Any, metrics: _Metrics) -> Any:
    def timed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        started = perf_counter()
        try:
            return (yield from function(*args, **kwargs))
        except Exception as error:
            metrics.error(type(error).__name__)
            raise
        finally:
            metrics.ended(started)

    return timed


def _async_generator(function: Any, metrics: _Metrics) -> Any:
    async def timed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        started = perf_counter()
        inner = function(*args, **kwargs)
        # What `yield from` does, which async generators do not have (PEP 380, PEP 525).
        step = inner.__anext__()
        try:
            while True:
                try:
                    item = await step
                except StopAsyncIteration:
                    return
                thrown: BaseException | None = None
                sent = None
                try:
                    sent = yield item
                except GeneratorExit:
                    await inner.aclose()
                    raise
                except BaseException as error:  # noqa: BLE001 - it is the inner one's to handle
                    thrown = error
                # Outside the handler, or it would be the context of what is raised there.
                step = inner.asend(sent) if thrown is None else inner.athrow(thrown)
                thrown = None
        except Exception as error:
            metrics.error(type(error).__name__)
            raise
        finally:
            metrics.ended(started)

    return timed


_WRAPPERS: Final[tuple[tuple[Callable[[Any], bool], Callable[[Any, _Metrics], Any]], ...]] = (
    (inspect.isasyncgenfunction, _async_generator),
    (inspect.isgeneratorfunction, _generator),
    (inspect.iscoroutinefunction, _coroutine),
)


#: of names and labels that blocks were measured by
_blocks: dict[tuple[Any, ...], _Metrics] = {}


class measure:  # noqa: N801 - it is used as a function
    """Measure a block, by `with` or `async with`: as `monitored`, with labels of this block.

    About 3 us; the decorator is cheaper.

    Use one object per block. Raises ValueError for an invalid name or label.
    """

    __slots__ = ("_metrics", "_started")

    def __init__(self, name: str, /, **labels: object) -> None:
        key = (name, *((label, str(value)) for label, value in labels.items()))
        found = _blocks.get(key)
        if found is None:
            found = _Metrics(name, labels)
            if not found.is_other:
                if len(_blocks) >= _MOST_BLOCKS:
                    _blocks.clear()
                _blocks[key] = found
        self._metrics = found
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._metrics.ended(self._started)
        if kind is not None and issubclass(kind, Exception):
            self._metrics.error(kind.__name__)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)
