"""Processes under measurement: their CPU and memory, the core they run on, what they are made of.

CPU comes from the kernel's process clock (nanoseconds, all threads, ended ones too) and not from
/proc/<pid>/stat, whose 10 ms ticks are coarse beside a window of a second.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from typing import Final

from harness import progress

__all__ = [
    "CACHE",
    "CHILDREN",
    "ROOT",
    "busy_s",
    "core_pair",
    "cpu_s",
    "environment",
    "free_port",
    "node_modules",
    "own_path",
    "pin",
    "rss_mb",
    "running",
    "stop",
    "tree",
    "tree_cpu_s",
    "wait_for",
]

#: the repository
ROOT: Final = Path(__file__).resolve().parent.parent
#: where benchmarks keep environments and compiled clients; safe to delete
CACHE: Final = ROOT / ".cache" / "bench"
#: scripts that run as processes of their own
CHILDREN: Final = ROOT / "benchmarks" / "children"
_TICK_S: Final = 1 / os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGESIZE")
# Another process that benchmarks at the same time begins elsewhere.
_ports = (20_000 + (os.getpid() * 101 + step) % 12_000 for step in count())


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of all threads of a process; raises OSError when it is gone."""
    # MAKE_PROCESS_CPUCLOCK(pid, CPUCLOCK_SCHED) of the kernel's posix-timers.h
    return time.clock_gettime(~pid << 3 | 2)


def tree(pid: int) -> list[int]:
    """Return a process and all its descendants that are alive."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += map(int, children.read_text().split())
            except OSError:
                continue
    return found


def tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process and its living descendants."""
    total = 0.0
    for member in tree(pid):
        try:
            total += cpu_s(member)
        except OSError:
            continue
    return total


def rss_mb(pid: int) -> float:
    """Return the resident memory of a process in MB (10**6 bytes)."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 1e6


def busy_s(core: int) -> float:
    """Return the seconds a core was busy for anybody, this machine's own host included (steal)."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{core} "):
            user, nice, system, _idle, _wait, irq, softirq, steal = map(int, line.split()[1:9])
            return (user + nice + system + irq + softirq + steal) * _TICK_S
    raise OSError(f"expected a line cpu{core} in /proc/stat")


def core_pair() -> tuple[int, int] | None:
    """Return a core for the server and another for its client; None where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


def pin(core: int | None, pid: int = 0) -> None:
    """Keep a process (0: the caller) and what it starts on one core; None changes nothing."""
    if core is not None:
        os.sched_setaffinity(pid, {core})


def free_port() -> int:
    """Return a loopback TCP port that is free now, below the range the kernel gives out.

    No two calls of a process return the same one, until some ten thousand are used up.
    """
    for port in islice(_ports, 12_000):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("expected a free port between 20000 and 32000 on 127.0.0.1, found none")


def environment(name: str, packages: Sequence[str]) -> Path:
    """Return the Python of a virtual environment with exactly these pinned packages.

    It lies in .cache/bench/<name> and is made again when the packages or the Python differ.
    Raises CalledProcessError when pip fails; its output has then been shown.
    """
    place = CACHE / name
    python = place / "bin" / "python"
    stamp = place / "packages.txt"
    wanted = "\n".join([sys.version.split()[0], *packages]) + "\n"
    if stamp.is_file() and stamp.read_text() == wanted:
        return python
    progress(f"making the environment {name!r} with {len(packages)} packages, once")
    shutil.rmtree(place, ignore_errors=True)
    venv.create(place, with_pip=True)
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        *packages,
    ]
    subprocess.run(command, check=True, stdout=sys.stderr)
    stamp.write_text(wanted)
    progress(f"the environment {name!r} is ready")
    return python


def node_modules(name: str, package: str) -> Path | None:
    """Return the node_modules with one pinned npm package; None without node or without it."""
    if shutil.which("node") is None or (npm := shutil.which("npm")) is None:
        return None
    place = CACHE / name
    stamp = place / "package.txt"
    if not (stamp.is_file() and stamp.read_text() == package):
        progress(f"installing {package} with npm, once")
        place.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--silent", "--no-audit", "--no-fund", "--omit=optional"]
        done = subprocess.run(
            [*command, "--prefix", str(place), package], check=False, stdout=sys.stderr
        )
        if done.returncode:
            return None
        stamp.write_text(package)
    return place / "node_modules"


def own_path(*parts: str) -> str:
    """Return a PYTHONPATH of folders of this repository, for environments that lack trimtab."""
    return os.pathsep.join(str(ROOT / part) for part in parts)


@contextmanager
def running(
    command: Sequence[str | Path],
    *,
    core: int | None = None,
    environ: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a child for the length of a block, on one core if asked, and end it by its pid.

    Its output goes to `log`, else nowhere. environ is added to this process's own.
    """
    with open(log or os.devnull, "wb") as output:
        child = subprocess.Popen(
            list(map(str, command)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            cwd=cwd,
        )
        try:
            # The child may run a few instructions elsewhere first; threads inherit the core.
            pin(core, child.pid)
            yield child
        finally:
            stop(child)


def stop(child: subprocess.Popen[bytes], seconds: float = 10.0) -> None:
    """End a child: SIGTERM, and SIGKILL when it stays longer than that."""
    if child.poll() is None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(seconds)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def wait_for(
    target: str | tuple[str, int], child: subprocess.Popen[bytes], seconds: float = 30.0
) -> None:
    """Return when a Unix path or a (host, port) accepts connections.

    Raises TimeoutError after that many seconds, ChildProcessError when the child ended before.
    """
    family = socket.AF_UNIX if isinstance(target, str) else socket.AF_INET
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if child.poll() is not None:
            raise ChildProcessError(f"expected a server at {target}, it ended: {child.returncode}")
        with socket.socket(family) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(target)
            except OSError:
                time.sleep(0.02)
                continue
            return
    raise TimeoutError(f"expected a server at {target} within {seconds:.0f} s, none came")
