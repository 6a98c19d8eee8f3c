"""Children of a process: how they are known, and how those of multiprocessing send at their end.

They leave by os._exit, so of what is registered for the end of a process they run the finalizers of
multiprocessing alone. Workers of a `Pool` do not even do that: `with Pool() as pool` ends them by
SIGTERM as soon as it has the results. So they send what they have measured before a result.
"""

import os
import sys
from collections.abc import Callable
from time import monotonic
from typing import Any, Final, Protocol

__all__ = ["before_end", "before_results", "is_child"]

#: Kept here: a suite that imports anew takes modules out of sys.modules.
_IMPORTED_BY: Final[int] = vars(sys.modules["trimtab"])["_imported_by"]
#: An agent that was not done by then is not waited for again for this long.
_WAIT_S: Final = 0.1
_AGAIN_S: Final = 30.0


class Added(Protocol):
    """What is measured in a process."""

    @property
    def waiting(self) -> int:
        """Return how many measures have something to be taken."""
        ...


def is_child() -> bool:
    """Tell whether this process was forked, or made by multiprocessing in any of its ways."""
    if os.getpid() != _IMPORTED_BY:
        return True
    module = sys.modules.get("multiprocessing.process")
    return module is not None and module.parent_process() is not None


def before_end(flush: Callable[[], object]) -> None:
    """Call flush before a process that multiprocessing has made ends by itself."""
    module = sys.modules.get("multiprocessing.util")
    if module is not None:
        module.Finalize(None, flush, exitpriority=0)


def before_results(added: Added, flush: Callable[[float], bool]) -> None:
    """In a worker of a Pool, have what was measured sent before each result; else do nothing.

    flush takes the most seconds to wait and tells whether it was done: up to 0.1 s for a result,
    once in 30 s where the agent does not read. Results are pickled by a name in the module of
    queues, which is replaced in this process.
    """
    process, pool, queues = (
        sys.modules.get(f"multiprocessing.{name}") for name in ("process", "pool", "queues")
    )
    pickler = getattr(queues, "_ForkingPickler", None)
    if process is None or pool is None or pickler is None or isinstance(pickler, _Pickler):
        return
    target = getattr(process.current_process(), "_target", None)
    if target is not None and target is getattr(pool, "worker", None):
        vars(queues)["_ForkingPickler"] = _Pickler(pickler, added, flush)


class _Pickler:
    """The pickler of multiprocessing's queues; `dumps` flushes first."""

    def __init__(self, pickler: Any, added: Added, flush: Callable[[float], bool]) -> None:
        self._pickler = pickler
        self._added, self._flush = added, flush
        self._next_s = 0.0

    def dumps(self, *args: Any, **named: Any) -> Any:
        """Return what the pickler does."""
        if self._added.waiting and monotonic() >= self._next_s and not self._flush(_WAIT_S):
            self._next_s = monotonic() + _AGAIN_S
        return self._pickler.dumps(*args, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pickler, name)
