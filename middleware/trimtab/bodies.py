"""WSGI bodies that are no list: counted while the server takes them, the record at their end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from time import monotonic_ns
from typing import Any

from trimtab.recorder import UNKNOWN_SIZE
from trimtab_core.records import FLAG_FAILED

__all__ = ["Finish", "measured_body"]

#: Appends the record of a request, once: status (0 for the app's own), flags, ns at the first
#: part (0 for none), size.
Finish = Callable[[int, int, int, int], None]


def measured_body(
    body: Iterable[bytes], finish: Finish, file_wrapper: Any, method: str
) -> Iterable[bytes]:
    """Return what the server takes in place of body, with its `len()` and `close()`."""
    if isinstance(body, (str, bytes)) or not _is_iterable(body):
        # No body of WSGI: the server refuses it, or knows what to do with it.
        finish(0, 0, 0, UNKNOWN_SIZE)
        return body
    if isinstance(file_wrapper, type) and isinstance(body, file_wrapper):
        return _closing_file(body, finish)
    kind = _SizedBody if hasattr(body, "__len__") else _Body
    return kind(body, finish, method)


def _is_iterable(body: object) -> bool:
    return hasattr(body, "__iter__") or hasattr(body, "__getitem__")


def _closing_file(body: Any, finish: Finish) -> Iterable[bytes]:
    # The server looks for its own type, to hand the file to the kernel: only close is ours.
    close = getattr(body, "close", None)

    def finishing_close() -> None:
        try:
            if close is not None:
                close()
        finally:
            finish(0, 0, 0, UNKNOWN_SIZE)

    try:
        body.close = finishing_close
    except AttributeError:
        finish(0, 0, 0, UNKNOWN_SIZE)
    return body  # type: ignore[no-any-return]


class _Body:
    __slots__ = ("_body", "_finish", "_first", "_iterator", "_method", "_size")

    def __init__(self, body: Iterable[bytes], finish: Finish, method: str) -> None:
        self._body = body
        self._finish = finish
        self._method = method
        self._iterator: Iterator[bytes] | None = None
        self._first = self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        iterator = self._iterator
        try:
            if iterator is None:
                iterator = self._iterator = iter(self._body)
            part = next(iterator)
        except StopIteration:
            self._finish(0, 0, self._first, self._size)
            raise
        except BaseException:
            if self._size:
                self._finish(0, FLAG_FAILED, self._first, self._size)
            else:
                # Nothing has left yet: the server answers with its own 500.
                self._finish(500, 0, 0, 0)
            raise
        if not self._first:
            self._first = monotonic_ns()
        try:
            self._size += len(part)
        except TypeError:  # no bytes: the server's to refuse
            pass
        return part

    def close(self) -> None:
        """Close the app's body; a body that was not taken to its end is a client that left."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            left = self._iterator is not None and self._method != "HEAD"
            self._finish(499 if left else 0, 0, self._first, self._size)


class _SizedBody(_Body):
    __slots__ = ()

    def __len__(self) -> int:
        return len(self._body)  # type: ignore[arg-type]
