"""Where a thread of trimtab runs: whether in a thread of its own, and for whom."""

import signal
import threading
from collections.abc import Callable
from typing import Final

__all__ = ["OwnThread", "has_exit_handlers", "is_left_alone", "runs_in_main_thread"]

#: A thread of ours needs more than 32 KiB.
_LEAST_STACK_BYTES: Final = 256 * 1024
#: Those that a thread brings upon itself; the children that an app's function may start here get
#: what is blocked, and wait for their own.
_KEPT: Final = frozenset(
    getattr(signal, f"SIG{name}", None)
    for name in ("ABRT", "BUS", "CHLD", "FPE", "ILL", "PIPE", "SEGV", "SYS", "TRAP")
)


class OwnThread(threading.Thread):
    """A daemon thread of trimtab's own, in a process whose signals and stacks are the app's."""

    def __init__(self, target: Callable[[], None], name: str) -> None:
        super().__init__(target=target, name=name, daemon=True)

    def start(self) -> None:
        """Start it, with a stack that is large enough; raises RuntimeError where none can be had.

        An app of very many threads may have set a stack so small that ours would end the process.
        Threads that others start at this moment have the larger one, too.
        """
        # Whoever asks for the size sets it, too: to the default, which is enough for any thread.
        size_bytes = threading.stack_size(0)
        if size_bytes >= _LEAST_STACK_BYTES:
            threading.stack_size(size_bytes)
        try:
            super().start()
        finally:
            if size_bytes:
                threading.stack_size(size_bytes)

    def run(self) -> None:
        """Run the target, with signals blocked: they are for threads of the app.

        One that the app blocks in all of its threads, to wait for it, would be given to this one,
        and do what it does by default: end the process.
        """
        if hasattr(signal, "pthread_sigmask") and not runs_in_main_thread():
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _KEPT)
        super().run()


def runs_in_main_thread() -> bool:
    """Tell whether this is the process's main thread, or a greenlet in it.

    What ends the code that runs there may be the end of the app itself, or what a signal handler of
    the app has raised: it must go on.
    """
    return threading.get_native_id() == threading.main_thread().native_id


def is_left_alone() -> bool:
    """Tell whether only threads of trimtab keep this process from its end.

    A child that a thread has forked ends with its last thread, and without exit handlers: its first
    thread is the one that forked, and no main thread of the interpreter.
    """
    if has_exit_handlers() or runs_in_main_thread() or threading.main_thread().is_alive():
        # In a greenlet: other greenlets, of which `threading` does not know, may serve.
        return False
    return all(each.name.startswith("trimtab-") for each in threading.enumerate())


def has_exit_handlers() -> bool:
    """Tell whether the end of this process will run exit handlers, unlike that of such a child."""
    return type(threading.main_thread()).__name__ == "_MainThread"
