"""Real processes for tests: collector, agent and apps on free ports, and load to drive at them.

Nothing here sleeps for a guess: every wait has a condition, a deadline and a name for what did not
come. A process runs in a session of its own, and its whole group is gone when its `with` ends.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import psutil

from support.processes.api import TOKEN, Api
from trimtab_collector.auth.keys import ANY_AGENT, KeyFile

__all__ = ["Agent", "App", "Collector", "Proc", "free_port", "short_dir", "wait_for"]

_T = TypeVar("_T")
#: seconds a process may take to say that it is ready; the machine may be busy with others
START_S = 40.0
_REPOSITORY = Path(__file__).resolve().parents[3]
_LEAN = Path(__file__).with_name("lean.py")
_given: set[int] = set()


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on, below the ephemeral ones (32768).

    Each process of pytest-xdist has a range of its own.
    """
    width = (32_768 - 20_000) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = 20_000 + width * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    for _ in range(200):
        port = random.randrange(first, first + width)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
    raise AssertionError("found no free port below 32768")


@contextmanager
def short_dir() -> Iterator[Path]:
    """Yield a new directory whose path is short enough for Unix sockets; removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="tt-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def wait_for(predicate: Callable[[], _T], what: str, timeout_s: float = 5.0) -> _T:
    """Return the first true value of predicate; fails naming `what` when the time is over.

    predicate is asked every 10 ms at first and every 100 ms after some seconds, as asking may cost
    a process more than what is waited for; an exception in it is the caller's.
    """
    begun = time.monotonic()
    never = threading.Event()
    while True:
        value = predicate()
        if value:
            return value
        waited_s = time.monotonic() - begun
        if waited_s > timeout_s:
            raise AssertionError(f"waited {timeout_s:g} s for {what}, last seen: {value!r}")
        never.wait(min(0.1, 0.01 + waited_s / 20))


def accepts(port: int) -> bool:
    """Whether something on 127.0.0.1 takes connections at a port; sends nothing."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


class Proc:
    """A process with its own group and its output in files `<name>.out` and `<name>.err`.

    May be started again after it ended; the files go on. Leaving the `with` kills and reaps the
    group, whatever state it is in.
    """

    def __init__(
        self, name: str, command: Sequence[str], directory: Path, env: Mapping[str, str]
    ) -> None:
        self.name = name
        self.command = [*command]
        self.directory = directory
        self.env = clean_environment() | dict(env)
        self.stdout = directory / f"{name}.out"
        self.stderr = directory / f"{name}.err"
        self._child: subprocess.Popen[bytes] | None = None
        self._from = {self.stdout: 0, self.stderr: 0}

    @property
    def child(self) -> subprocess.Popen[bytes]:
        """The process; fails when it was never started."""
        assert self._child is not None, f"{self.name} was not started"
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> Self:
        """Start the process; returns at once. Lines of an earlier life no longer count."""
        self.reap()
        for path in self._from:
            path.touch()
            self._from[path] = path.stat().st_size
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            self._child = subprocess.Popen(
                self.command,
                env=self.env,
                cwd=_REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        return self

    def output(self) -> str:
        """Return what this life of the process has written, stdout first."""
        return "".join(
            path.read_bytes()[start:].decode("utf-8", "replace")
            for path, start in self._from.items()
        )

    def wait_line(self, text: str, timeout_s: float = START_S) -> str:
        """Return the first line that holds text; fails when the process ends without it."""

        def line() -> str | None:
            # Asked in this order, so that the last words of a process are still seen.
            ended = not self.alive
            for candidate in self.output().splitlines():
                if text in candidate:
                    return candidate
            if ended:
                code = self.child.returncode
                raise AssertionError(f"{self.name} ended with {code}, no {text!r}:\n{self.tail()}")
            return None

        try:
            found = wait_for(line, f"{text!r} from {self.name}", timeout_s)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.tail()}") from None
        assert found is not None
        return found

    def wait_exit(self, timeout_s: float = START_S) -> int:
        """Return the exit code; fails when the process lives on."""
        try:
            return self.child.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} still runs after {timeout_s:g} s\n{self.tail()}"
            ) from None

    def tail(self, lines: int = 30) -> str:
        """Return the last lines of its output."""
        return "\n".join(self.output().splitlines()[-lines:])

    def kill9(self) -> None:
        """Kill the process and all its children at once; they can do nothing about it."""
        self._signal_group(signal.SIGKILL)
        self.child.wait(START_S)

    def stop(self, signal_number: int = signal.SIGTERM, timeout_s: float = START_S) -> int:
        """Ask the process (not its children) to end and return its exit code."""
        if self.alive:
            self.child.send_signal(signal_number)
        return self.wait_exit(timeout_s)

    def freeze(self) -> None:
        """Stop the process and its children where they are (SIGSTOP)."""
        self._signal_group(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen process go on."""
        self._signal_group(signal.SIGCONT)

    def children(self) -> list[int]:
        """Return the pids below the process."""
        return [child.pid for child in psutil.Process(self.pid).children(recursive=True)]

    def rss_bytes(self) -> int:
        """Return the resident memory of the process and its children."""
        pids = [self.pid, *self.children()]
        return sum(int(psutil.Process(pid).memory_info().rss) for pid in pids)

    def reap(self) -> None:
        """Leave nothing of the process or its group."""
        if self._child is not None:
            self._signal_group(signal.SIGKILL)
            self._child.wait(START_S)
            self._child = None

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.child.pid, number)
        except ProcessLookupError:
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.reap()


def clean_environment() -> dict[str, str]:
    """Return this environment with the interpreter's scripts on PATH and no setting of trimtab.

    Bytecode is written: else each of the many processes would compile all of trimtab.
    """
    foreign = ("TRIMTAB_", "OTEL_", "COV_", "PYTEST_", "PYTHONDONTWRITEBYTECODE")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    scripts = str(Path(sys.executable).parent)
    environment["PATH"] = scripts + os.pathsep + environment.get("PATH", os.defpath)
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def trimtab(*words: str) -> list[str]:
    """Return the command line of the console command under this interpreter."""
    return [sys.executable, "-m", "trimtab_core.console", *words]


class Collector(Proc):
    """A collector with its data in `<directory>/c`; the port stays the same over restarts."""

    def __init__(self, directory: Path, **env: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.data = directory / "c"
        settings = {
            "TRIMTAB_COLLECTOR_PORT": str(self.port),
            "TRIMTAB_COLLECTOR_DATA_DIR": str(self.data),
            "TRIMTAB_COLLECTOR_TOKEN": TOKEN,
        }
        command = [sys.executable, "-P", str(_LEAN), "collector"]
        super().__init__("collector", command, directory, settings | env)
        self.api = Api(self.url)

    def start(self) -> Self:
        """Start and wait until it listens."""
        super().start()
        self.wait_line("trimtab collector listening on")
        return self

    def new_key(
        self,
        environments: Iterable[str] = (),
        services: Iterable[str] = (),
        agents: Iterable[str] = (ANY_AGENT,),
    ) -> str:
        """Return a new agent key, made as `trimtab key new` makes it; for every agent unless told.

        With no agents it is that of the first one to write.
        """
        text, _ = KeyFile(self.data).new("", environments, services, agents)
        return text


class Agent(Proc):
    """An agent with socket, spool and local HTTP in `directory`; windows of 1 s unless told."""

    def __init__(self, directory: Path, collector_url: str, key: str, **env: str) -> None:
        self.http_port = free_port()
        self.http = f"http://127.0.0.1:{self.http_port}"
        self.socket_path = directory / "a.sock"
        self.socket = f"unix://{self.socket_path}"
        self.data = directory / "a"
        settings = {
            "TRIMTAB_AGENT_SOCKET": self.socket,
            "TRIMTAB_AGENT_COLLECTOR_URL": collector_url,
            "TRIMTAB_AGENT_KEY": key,
            "TRIMTAB_AGENT_DATA_DIR": str(self.data),
            "TRIMTAB_AGENT_HTTP": f"127.0.0.1:{self.http_port}",
            "TRIMTAB_AGENT_WINDOW_S": "1",
        }
        super().__init__("agent", trimtab("agent"), directory, settings | env)

    def start(self) -> Self:
        """Start and wait until it listens."""
        super().start()
        self.wait_line("trimtab agent listening on")
        return self

    def metric(self, sample: str) -> float:
        """Return the value of a sample that it exposes, 0 when there is none; raises OSError."""
        with urllib.request.urlopen(f"{self.http}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        found = [each for each in lines if each.startswith(f"{sample} ")]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def held(self) -> int:
        """Return the batches in its spool; -1 while it does not answer, 0 when it has ended."""
        if not self.alive:
            return 0
        try:
            return int(self.metric("trimtab_agent_spool_batches"))
        except OSError:
            return -1


class App(Proc):
    """A server under `trimtab run`; `{port}` in its command line stands for the port."""

    def __init__(
        self, directory: Path, service: str, agent: str, command: Sequence[str], **env: str
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.service = service
        words = [word.replace("{port}", str(self.port)) for word in command]
        settings = {"TRIMTAB_AGENT": agent, "TRIMTAB_SERVICE": service}
        super().__init__(service, trimtab("run", "--", *words), directory, settings | env)

    def start(self) -> Self:
        """Start and wait until it takes connections; no request is sent."""
        super().start()

        def ready() -> bool:
            assert self.alive, f"{self.name} ended with {self.child.returncode}:\n{self.tail()}"
            return accepts(self.port)

        wait_for(ready, f"{self.name} to accept connections", START_S)
        return self
