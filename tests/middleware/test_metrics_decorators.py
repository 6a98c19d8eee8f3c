"""What is monitored is as it was, and has its time, calls and errors counted."""

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest

from trimtab.metrics import decorators
from trimtab.metrics.counter import Counter
from trimtab.metrics.decorators import measure, monitored
from trimtab.metrics.histogram import Histogram
from trimtab.metrics.metric import registry


def seen(name: str, **labels: str) -> tuple[float, int, dict[str, float]]:
    """Return calls, durations and errors by type of a name."""
    metrics = registry()
    calls, took = metrics[f"{name}.calls"], metrics[f"{name}.duration"]
    assert isinstance(calls, Counter)
    assert isinstance(took, Histogram)
    assert (took.unit, calls.unit) == ("s", "{call}")
    errors = {
        row.labels["error.type"]: row.value
        for row in metrics[f"{name}.errors"].rows()
        if isinstance(row.value, float) and labels.items() <= row.labels.items()
    }
    return calls.value(**labels), took.statistics(**labels).count, errors


def test_a_function_keeps_its_face_results_and_exceptions() -> None:
    @monitored("deco.divide")
    def divide(a: int, b: int = 1, *, exact: bool = False) -> float:
        """Divide."""
        return a / b

    assert divide(6, b=3, exact=True) == 2
    with pytest.raises(ZeroDivisionError) as raised:
        divide(1, 0)
    assert raised.traceback[-1].name == "divide"
    with pytest.raises(TypeError):
        divide()  # type: ignore[call-arg]
    assert (divide.__name__, divide.__doc__) == ("divide", "Divide.")
    assert list(inspect.signature(divide).parameters) == ["a", "b", "exact"]
    assert seen("deco.divide") == (3, 3, {"ZeroDivisionError": 1, "TypeError": 1})


def test_the_time_is_that_of_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("trimtab.metrics.decorators.perf_counter", lambda: now[0])

    @monitored("deco.slow")
    def slow(seconds: float) -> None:
        now[0] += seconds

    slow(3)
    with measure("deco.slow"):
        slow(4)
    took = registry()["deco.slow.duration"]
    assert isinstance(took, Histogram)
    assert took.statistics().sum == 3 + 4 + 4


@monitored
def plainly_named() -> int:
    return 1


class Shop:
    @monitored
    def method(self) -> "Shop":
        return self

    @monitored
    @classmethod
    def of_class(cls) -> type:
        return cls

    @classmethod
    @monitored("deco.inner")
    def of_class_inside(cls) -> type:
        return cls

    @monitored()
    @staticmethod
    def static() -> int:
        return 3


def test_names_come_from_functions_and_methods_of_each_kind() -> None:
    module = __name__.removeprefix("__main__")
    shop = Shop()
    assert plainly_named() == 1
    assert shop.method() is shop
    assert (Shop.of_class(), Shop.of_class_inside(), shop.static()) == (Shop, Shop, 3)
    assert seen(f"{module}.plainly_named")[0] == 1
    for name in ("method", "of_class", "static"):
        assert seen(f"{module}.Shop.{name}")[0] == 1
    assert seen("deco.inner")[0] == 1


def test_a_name_of_its_own_is_always_good() -> None:
    def named(module: str, qualname: str) -> list[str]:
        def function() -> None: ...

        function.__module__, function.__qualname__ = module, qualname
        before = set(registry())
        monitored(function)()
        return sorted(set(registry()) - before)

    assert named("db.models", "save")[0] == "app.db.models.save.calls"
    assert named("__main__", "main.<locals>.<lambda>")[0] == "main.lambda.calls"
    [calls, duration, errors] = named("m" * 150, "last")
    assert calls.endswith("last.calls")
    assert len(duration) <= 100
    assert errors.endswith("last.errors")


def test_what_is_no_function_and_bad_names_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a function"):
        monitored(Shop)
    with pytest.raises(ValueError, match="write 'two_words'"):
        monitored("two words")(len)
    with pytest.raises(ValueError, match="at most 100 characters"):
        measure("x" * 95)


def test_labels_have_fixed_values() -> None:
    def parse(text: str) -> int:
        return int(text)

    mail = monitored("deco.send", labels={"queue": "mail"})(parse)
    sms = monitored("deco.send", labels={"queue": "sms"})(parse)
    assert mail("1") == 1
    with pytest.raises(ValueError, match="invalid literal"):
        sms("x")
    assert seen("deco.send", queue="mail") == (1, 1, {})
    assert seen("deco.send", queue="sms") == (1, 1, {"ValueError": 1})


def test_a_returned_failure_is_counted_and_returned() -> None:
    find = monitored("deco.find", failed=lambda found: found is None)({"a": 1}.get)
    assert [find("a"), find("b")] == [1, None]
    assert seen("deco.find") == (2, 2, {"returned": 1})


def test_a_predicate_that_fails_costs_nothing() -> None:
    find = monitored("deco.bad.predicate", failed=lambda found: found.missing)(Shop.static)
    assert find() == 3
    assert seen("deco.bad.predicate") == (1, 1, {})


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_end_of_the_process_is_a_call_and_no_error(error: type[BaseException]) -> None:
    name = f"deco.end.{error.__name__}"

    @monitored(name)
    def end() -> None:
        raise error

    with pytest.raises(error):
        end()
    with pytest.raises(error), measure(name):
        raise error
    assert seen(name) == (2, 2, {})


# ---------------------------------------------------------------- coroutines


@pytest.mark.asyncio
async def test_a_coroutine_function_stays_one() -> None:
    @monitored("deco.coroutine", failed=lambda result: result == "bad")
    async def fetch(answer: str) -> str:
        await asyncio.sleep(0)
        if answer == "raise":
            raise LookupError(answer)
        return answer

    assert inspect.iscoroutinefunction(fetch)
    assert await fetch("good") == "good"
    assert await fetch("bad") == "bad"
    with pytest.raises(LookupError, match="raise"):
        await fetch("raise")
    assert seen("deco.coroutine") == (3, 3, {"returned": 1, "LookupError": 1})


@pytest.mark.asyncio
async def test_a_cancelled_task_is_cancelled_and_no_error() -> None:
    cleaned = []

    @monitored("deco.cancelled")
    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaned.append(True)

    async def block() -> None:
        async with measure("deco.cancelled"):
            await asyncio.Event().wait()

    for target in (wait, block):
        task = asyncio.create_task(target())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert task.cancelled()
    assert cleaned == [True]
    assert seen("deco.cancelled") == (2, 2, {})


@pytest.mark.asyncio
async def test_an_object_whose_call_is_a_coroutine_function_and_a_partial_are_awaited() -> None:
    class Caller:
        async def __call__(self) -> int:
            raise KeyError

    async def add(a: int, b: int) -> int:
        return a + b

    with pytest.raises(KeyError):
        await monitored("deco.caller")(Caller())()
    assert await monitored("deco.partial")(functools.partial(add, 1))(2) == 3
    assert seen("deco.caller") == (1, 1, {"KeyError": 1})
    assert seen("deco.partial") == (1, 1, {})


# ---------------------------------------------------------------- generators

said: list[object] = []


def echo(first: object) -> Generator[object, object, str]:
    """Answer what is sent or thrown; 'end' returns, 'fail' raises."""
    got: object = first
    try:
        while got != "end":
            if got == "fail":
                raise ValueError("told to")
            try:
                got = yield ("got", got)
            except LookupError as error:
                got = repr(error)
        return "ended"
    finally:
        said.append("closed")


async def aecho(first: object) -> AsyncIterator[object]:
    """The same, async."""
    got: object = first
    try:
        while got != "end":
            if got == "fail":
                raise ValueError("told to")
            try:
                await asyncio.sleep(0)
                got = yield ("got", got)
            except LookupError as error:
                got = repr(error)
    finally:
        await asyncio.sleep(0)
        said.append("closed")


def play(generator: Any, steps: list[tuple[str, Any]]) -> list[object]:
    """Return what a generator, of either kind, answers to steps; an exception ends them."""
    names = {"send": "asend", "throw": "athrow", "close": "aclose"}
    is_async = hasattr(generator, "asend")
    said.clear()

    async def go() -> list[object]:
        found: list[object] = []
        for name, argument in steps:
            call = getattr(generator, names[name] if is_async else name)
            try:
                given = call() if name == "close" else call(argument)
                found.append(await given if is_async else given)
            except BaseException as error:  # whatever it is, it is compared
                found.append((type(error), error.args, repr(error.__context__)))
        return [*found, *said]

    return asyncio.run(go())


PLAYS: dict[str, list[tuple[str, Any]]] = {
    "to its end": [("send", None), ("send", 1), ("send", "end"), ("send", 2)],
    "closed": [("send", None), ("close", None), ("send", None)],
    "closed before it began": [("close", None), ("send", None)],
    "handles what is thrown": [("send", None), ("throw", KeyError("k")), ("send", "end")],
    "does not handle it": [("send", None), ("throw", OSError("o")), ("send", None)],
    "raises": [("send", None), ("send", "fail"), ("send", None)],
    "raises after what is thrown": [("send", None), ("throw", KeyError("k")), ("send", "fail")],
    "thrown at its start": [("throw", OSError("o")), ("send", None)],
    "sent a value at its start": [("send", 1)],
    "told to stop by a throw": [("send", None), ("throw", StopIteration(1))],
    "told to stop async": [("send", None), ("throw", StopAsyncIteration(1))],
    "exit is thrown": [("send", None), ("throw", GeneratorExit()), ("send", None)],
}


@pytest.mark.parametrize("played", PLAYS)
@pytest.mark.parametrize("function", [echo, aecho], ids=["sync", "async"])
def test_a_generator_answers_as_before(played: str, function: Callable[..., Any]) -> None:
    wrapped = monitored(f"deco.{function.__name__}.{played.replace(' ', '_')}")(function)
    assert play(wrapped("first"), PLAYS[played]) == play(function("first"), PLAYS[played])


def test_generator_functions_stay_what_they_are() -> None:
    assert inspect.isgeneratorfunction(monitored("deco.kinds")(echo))
    assert inspect.isasyncgenfunction(monitored("deco.kinds")(aecho))


def test_a_generator_counts_when_it_ends() -> None:
    wrapped = monitored("deco.counted")(echo)
    running = wrapped("x")
    assert seen("deco.counted") == (0, 0, {})
    next(running)
    running.close()
    play(wrapped("x"), PLAYS["raises"])
    assert seen("deco.counted") == (2, 2, {"ValueError": 1})
    awrapped = monitored("deco.acounted")(aecho)
    play(awrapped("x"), PLAYS["raises"])
    play(awrapped("x"), PLAYS["closed"])
    play(awrapped("x"), PLAYS["to its end"])
    assert seen("deco.acounted") == (3, 3, {"ValueError": 1})


@pytest.mark.asyncio
async def test_context_managers_may_be_made_of_what_is_monitored() -> None:
    @contextmanager
    @monitored("deco.context")
    def held() -> Iterator[int]:
        yield 1

    @asynccontextmanager
    @monitored("deco.acontext")
    async def aheld() -> AsyncIterator[int]:
        yield 2

    with held() as inside:
        assert inside == 1
    found: list[object] = []
    try:
        async with aheld() as given:
            found.append(given)
            raise OSError("inside")
    except OSError as error:
        found.append(error.args)
    assert found == [2, ("inside",)]
    assert seen("deco.context") == (1, 1, {})
    assert seen("deco.acontext") == (1, 1, {"OSError": 1})


# ---------------------------------------------------------------- blocks


@pytest.mark.asyncio
async def test_a_block_is_measured_with_its_labels_and_raises_what_it_raises() -> None:
    with measure("deco.block", page="a"):
        pass
    with pytest.raises(LookupError), measure("deco.block", page="a"):
        raise LookupError
    async with measure("deco.block", page="b"):
        await asyncio.sleep(0)
    assert seen("deco.block", page="a") == (2, 2, {"LookupError": 1})
    assert seen("deco.block", page="b") == (1, 1, {})


def test_blocks_of_labels_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decorators, "_MOST_BLOCKS", len(decorators._blocks) + 5)
    for number in range(1100):
        with measure("deco.endless", number=number):
            pass
    assert 0 < len(decorators._blocks) <= decorators._MOST_BLOCKS
    assert seen("deco.endless", number="other")[0] == 100
