"""The slot of a request: what code inside it may add to its record.

One mutable object is put into a ContextVar at entry and taken out in `finally`. Code below mutates
it and never sets the variable: BaseHTTPMiddleware and thread pools run the app in a copy of the
context, which shares the object and would hide a new one. `+=` under the GIL is enough.
"""

from contextvars import ContextVar, Token

__all__ = ["Slot", "current_slot", "reset_slot", "slot_variable"]


class Slot:
    """Times in ns and counts of one request; whoever measures adds to them."""

    __slots__ = (
        "cache_hits",
        "cache_misses",
        "cache_ns",
        "db_calls",
        "db_ns",
        "external_calls",
        "external_ns",
        "touched",
    )

    def __init__(self) -> None:
        #: set by whoever adds, so that the record of an untouched request stays cheap
        self.touched = False
        self.db_ns = 0
        self.db_calls = 0
        self.external_ns = 0
        self.external_calls = 0
        self.cache_ns = 0
        self.cache_hits = 0
        self.cache_misses = 0

    def add_db(self, duration_ns: int, calls: int = 1) -> None:
        """Book time in database calls."""
        self.touched = True
        self.db_ns += duration_ns
        self.db_calls += calls

    def add_external(self, duration_ns: int, calls: int = 1) -> None:
        """Book time in calls to other services."""
        self.touched = True
        self.external_ns += duration_ns
        self.external_calls += calls

    def add_cache(self, duration_ns: int, hits: int = 0, misses: int = 0) -> None:
        """Book time in cache calls."""
        self.touched = True
        self.cache_ns += duration_ns
        self.cache_hits += hits
        self.cache_misses += misses


slot_variable: ContextVar[Slot | None] = ContextVar("trimtab_slot", default=None)


def reset_slot(token: Token[Slot | None]) -> None:
    """Take the slot of a request out again; whoever ends the request may be in another context."""
    try:
        slot_variable.reset(token)
    except ValueError:
        pass


def current_slot() -> Slot | None:
    """Return the slot of the request that is running here, None outside one."""
    return slot_variable.get()
