"""Bodies of WSGI responses, of every kind; what is done with them they note in the environ."""

from collections.abc import Iterator
from typing import Any

__all__ = [
    "Body", "Closing", "Items", "Iterating", "NoIterator", "Pair", "Parts", "Sized", "Text",
    "Unwilling", "note",
]  # fmt: skip

Environ = dict[str, Any]


def note(environ: Environ, what: str) -> None:
    environ.get("test.events", []).append(what)


class Body:
    """A body that notes what is done with it; a part that is an exception is raised."""

    def __init__(self, environ: Environ, *parts: Any) -> None:
        self.environ = environ
        self.parts = parts

    def __iter__(self) -> Iterator[Any]:
        note(self.environ, "iterated")
        for part in self.parts:
            if isinstance(part, BaseException):
                raise part
            yield part
        note(self.environ, "taken whole")


class Closing(Body):
    """With close."""

    def close(self) -> None:
        note(self.environ, "closed")


class Sized(Closing):
    """With close and len()."""

    def __len__(self) -> int:
        return len(self.parts)


class Unwilling(Closing):
    """With a len() that it will not tell, and a close that fails."""

    def __len__(self) -> int:
        raise NotImplementedError

    def close(self) -> None:
        note(self.environ, "closed")
        raise RuntimeError("close")


class Items:
    """A sequence without `__iter__`."""

    def __init__(self, environ: Environ) -> None:
        self.environ = environ

    def __getitem__(self, index: int) -> bytes:
        note(self.environ, f"item {index}")
        return [b"a", b"b"][index]


class NoIterator:
    """Fails when it is iterated."""

    def __init__(self, environ: Environ) -> None:
        self.environ = environ

    def __iter__(self) -> Iterator[bytes]:
        raise RuntimeError("no iterator")

    def close(self) -> None:
        note(self.environ, "closed")


class Iterating:
    """Its own iterator, with close."""

    def __init__(self, environ: Environ) -> None:
        self.environ = environ
        self.left = [b"c", b"b", b"a"]

    def __iter__(self) -> "Iterating":
        return self

    def __next__(self) -> bytes:
        if not self.left:
            raise StopIteration
        return self.left.pop()

    def close(self) -> None:
        note(self.environ, "closed")


class Parts(list[bytes]):
    """A list of its own type."""


class Pair(tuple[bytes, ...]):
    """A tuple of its own type."""

    __slots__ = ()


class Text(bytes):
    """Bytes of their own type."""
