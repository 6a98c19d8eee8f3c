"""The agent of `trimtab up`: a child process that is given the collector's address and a key.

Run as a module it is that child: the agent, which ends when the collector is gone.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from typing import Final

from trimtab_core.console import EXIT_FAILED, EXIT_USAGE, main

__all__ = ["UpAgent", "say"]

#: seconds until an agent that ended is started again, doubled each time it ends soon
FIRST_PAUSE_S: Final = 1.0
LAST_PAUSE_S: Final = 60.0
#: seconds that Ctrl-C, which reaches both processes of a terminal, may take to reach the collector
_GRACE_S: Final = 1.0
_STOP_S: Final = 5.0
#: how an agent ends by Ctrl-C
_INTERRUPTED: Final = (0, 130, -signal.SIGINT)
_LOOK_S: Final = 0.5


def say(text: str) -> None:
    """Print a line of `trimtab up`; any thread."""
    print(f"trimtab up: {text}", file=sys.stderr, flush=True)


class UpAgent:
    """A child process that is started again when it ends by itself; the collector goes on.

    Only an agent that refuses to start at all ends the collector too, as by SIGTERM: a setting is
    wrong, and somebody is there to read it. Any thread but for `start`, which is for the main one.
    """

    def __init__(self, file: str | None) -> None:
        """Take the settings file, None for the usual one."""
        given = ["--config", file] if file else []
        this = [sys.executable, "-m", "trimtab_collector.companion", str(os.getpid())]
        self._command = [*this, "agent", *given]
        self._environ: Mapping[str, str] = {}
        self._child: subprocess.Popen[bytes] | None = None
        self._ending = threading.Event()
        #: held while a child is started, so that none is started at the end
        self._lock = threading.Lock()
        self._watcher: threading.Thread | None = None
        #: exit code: that of an agent that could not start, 1 while one that ended is not back
        self.code = 0

    def start(self, url: str, key: str) -> None:
        """Start the agent for a collector, with its key."""
        # By environment: arguments can be read by everybody on the machine.
        self._environ = {
            **os.environ,
            "TRIMTAB_AGENT_COLLECTOR_URL": url,
            "TRIMTAB_AGENT_KEY": key,
        }
        # The child inherits what is ignored: SIGHUP would end one that does not know it yet.
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        try:
            child = self._started()
        finally:
            signal.signal(signal.SIGHUP, before)
        if child is not None:
            self._watcher = threading.Thread(
                target=self._watch, args=(child,), name="trimtab-agent-wait", daemon=True
            )
            self._watcher.start()

    def stop(self) -> None:
        """End the agent while the collector still takes its last batches; may be repeated."""
        with self._lock:
            self._ending.set()
            child = self._child
        if child is None:
            return
        if child.poll() is None:
            child.send_signal(signal.SIGTERM)
            try:
                child.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                child.kill()
        if self._watcher is not None:
            self._watcher.join()

    def read_again(self) -> None:
        """Have the agent read its settings again."""
        child = self._child
        if child is not None and child.poll() is None:
            child.send_signal(signal.SIGHUP)

    def _started(self) -> "subprocess.Popen[bytes] | None":
        """Return a new child, None at the end; raises OSError."""
        with self._lock:
            if self._ending.is_set():
                return None
            self._child = subprocess.Popen(
                self._command, env=self._environ, stdin=subprocess.DEVNULL
            )
            return self._child

    def _watch(self, child: "subprocess.Popen[bytes] | None") -> None:
        """Start the agent again whenever it ends, until the end."""
        is_first, pause_s, begun_s = True, FIRST_PAUSE_S, time.monotonic()
        while child is not None:
            code = child.wait()
            if code in _INTERRUPTED:
                self._ending.wait(_GRACE_S)
            if self._ending.is_set():
                return
            if is_first and code == EXIT_USAGE:
                self.code = code
                say("the agent cannot start, as it says above; the collector ends too")
                os.kill(os.getpid(), signal.SIGTERM)
                return
            if time.monotonic() - begun_s > LAST_PAUSE_S:
                pause_s = FIRST_PAUSE_S
            child, pause_s = self._again(_ended(code), pause_s)
            is_first, begun_s = False, time.monotonic()

    def _again(self, how: str, pause_s: float) -> "tuple[subprocess.Popen[bytes] | None, float]":
        """Start the agent after a pause; return it, None at the end, and the next pause."""
        while True:
            self.code = EXIT_FAILED
            say(f"the agent {how}; the collector goes on, the agent starts again in {pause_s:g} s")
            if self._ending.wait(pause_s):
                return None, pause_s
            pause_s = min(2 * pause_s, LAST_PAUSE_S)
            try:
                child = self._started()
            except OSError as error:
                how = f"could not be started: {error.strerror}"
                continue
            self.code = 0 if child is not None else EXIT_FAILED
            return child, pause_s


def _ended(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _follow(parent: int) -> None:
    """Tell this process to stop in order when its parent is gone."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    say(
        "the collector ended without stopping its agent (was it killed?); the agent ends too, and "
        "keeps on disk what was not sent until the next start"
    )
    os.kill(os.getpid(), signal.SIGTERM)


def _main(arguments: list[str]) -> int:
    parent = int(arguments[0])
    threading.Thread(target=_follow, args=(parent,), name="trimtab-up", daemon=True).start()
    return main(arguments[1:])


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
