"""Where a thread of trimtab runs: whether in a thread of its own, and for whom."""

import threading

__all__ = ["has_exit_handlers", "is_left_alone", "runs_in_main_thread"]


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
