"""The last flush of a process under uvicorn, which raises its signal again: no atexit runs then.

An app with a lifespan is flushed when its shutdown completes; one without has only this.
"""

import functools
import sys
from types import ModuleType
from typing import Any, Final

from trimtab.runtime import flush_all

__all__ = ["MARK", "flush_after_uvicorn", "hook_uvicorn"]

#: Set on what trimtab has wrapped or put in place of something, so that it is done once.
MARK: Final = "__trimtab__"


def hook_uvicorn() -> None:
    """Flush at the end of uvicorn's server, when uvicorn runs this process; harmless to repeat."""
    module = sys.modules.get("uvicorn.server")
    if module is not None and hasattr(getattr(module, "Server", None), "shutdown"):
        flush_after_uvicorn(module)


def flush_after_uvicorn(module: ModuleType) -> None:
    """Patch `uvicorn.server` so that a shutdown ends with a flush of at most 0.25 s."""
    original = module.Server.shutdown
    if hasattr(original, MARK):
        return

    @functools.wraps(original)
    async def shutdown(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            await original(self, *args, **kwargs)
        finally:
            flush_all()

    setattr(shutdown, MARK, True)
    module.Server.shutdown = shutdown
