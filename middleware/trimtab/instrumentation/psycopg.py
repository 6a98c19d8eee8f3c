"""psycopg 3: the statements of its cursors, sync and async, server-side ones included.

In pipeline mode a statement's time is that of sending it: its answer comes later. The time of a
stream is what it took to get rows, without what the app did between them.
"""

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from time import monotonic_ns
from types import ModuleType
from typing import Any, Final

from trimtab.instrumentation.patching import Patches
from trimtab.instrumentation.queries import book, hooked, hooked_async, nested, text_of

__all__ = ["patch"]

_SYSTEM: Final = "postgresql"


def patch(module: ModuleType, patches: Patches) -> None:
    """Measure the statements of all cursors; those derived from them are among them."""
    for cursor in (module.Cursor, module.ServerCursor):
        patches.replace(cursor, "execute", lambda each: hooked(each, _describe, _rows))
    patches.replace(module.Cursor, "executemany", lambda each: hooked(each, _describe, _rows))
    patches.replace(module.Cursor, "stream", _stream)
    for cursor in (module.AsyncCursor, module.AsyncServerCursor):
        patches.replace(cursor, "execute", lambda each: hooked_async(each, _describe, _rows))
    patches.replace(
        module.AsyncCursor, "executemany", lambda each: hooked_async(each, _describe, _rows)
    )
    patches.replace(module.AsyncCursor, "stream", _stream_async)


def _describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str]:
    query = args[1] if len(args) > 1 else kwargs["query"]
    return _SYSTEM, text_of(query, args[0])


def _rows(args: tuple[Any, ...], result: Any) -> int:
    rows: int = args[0].rowcount
    return rows


class _Streamed:
    """What a stream took so far."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            self._described: tuple[str, str] | None = None if nested() else _describe(args, kwargs)
        except Exception:  # noqa: BLE001 - a call that is wrong is psycopg's to refuse
            self._described = None
        self.rows = 0
        self.spent_ns = 0
        self.error: BaseException | None = None
        self.start_ns = monotonic_ns()

    def book(self) -> None:
        if self._described is not None:
            end = self.start_ns + self.spent_ns
            book(*self._described, self.start_ns, end, self.error, self.rows)
        # An exception that is kept keeps its frames.
        self.error = None


def _stream(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        streamed = _Streamed(args, kwargs)
        rows = original(*args, **kwargs)
        try:
            while True:
                start = monotonic_ns()
                try:
                    row = next(rows)
                except StopIteration:
                    return
                except BaseException as error:
                    streamed.error = error
                    raise
                finally:
                    streamed.spent_ns += monotonic_ns() - start
                streamed.rows += 1
                yield row
        finally:
            rows.close()
            streamed.book()

    return stream


def _stream_async(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    async def stream(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        streamed = _Streamed(args, kwargs)
        rows = original(*args, **kwargs)
        try:
            while True:
                start = monotonic_ns()
                try:
                    row = await anext(rows)
                except StopAsyncIteration:
                    return
                except BaseException as error:
                    streamed.error = error
                    raise
                finally:
                    streamed.spent_ns += monotonic_ns() - start
                streamed.rows += 1
                yield row
        finally:
            await rows.aclose()
            streamed.book()

    return stream
