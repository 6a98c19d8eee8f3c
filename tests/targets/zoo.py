"""A process that serves requests and meanwhile makes children in one of the ways there are.

`python zoo.py KIND`: the agent and the interval come from the environment. Whoever serves says so
in the file ZOO_ACCOUNTING, a line `pid requests` each; who hangs is ended by an alarm.
"""

import multiprocessing
import os
import pty
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import trimtab.endings
from support.processes.drive import call, call_wsgi
from trimtab import Middleware, WSGIMiddleware
from trimtab.runtime import flush_all

#: What a program that is executed prints: nothing but its three files and the listing itself.
LISTING = "import os; print(len(os.listdir('/proc/self/fd')))"

vars(trimtab.endings)["BACKGROUND_NS"] = 3600 * 10**9  # as in `measuring`
signal.alarm(60)


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """Answer with 200."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


def answer_wsgi(environ: Any, start_response: Any) -> list[bytes]:
    """Answer with 200."""
    start_response("200 OK", [])
    return [b"ok"]


app, wsgi_app = Middleware(answer), WSGIMiddleware(answer_wsgi)


def serve(n: int = 3) -> int:
    """Serve n requests of each kind; return the process id."""
    for _ in range(n):
        assert call(app).status == 200
        call_wsgi(wsgi_app)
    note(2 * n)
    return os.getpid()


def note(requests: int) -> None:
    """Write down what this process has served."""
    accounting = os.open(os.environ["ZOO_ACCOUNTING"], os.O_WRONLY | os.O_APPEND)
    os.write(accounting, b"%d %d\n" % (os.getpid(), requests))
    os.close(accounting)


def descriptors() -> int:
    """Return how many descriptors this process has."""
    return len(os.listdir("/proc/self/fd"))


def fork(child: Callable[[], object]) -> None:
    """Do something in a forked child, flush there, and wait for its end."""
    pid = os.fork()
    if not pid:
        code = 1
        try:
            signal.alarm(30)
            child()
            flush_all()
            code = 0
        except BaseException:
            traceback.print_exc()
        os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


def leave() -> None:
    """Serve nothing."""


def check_closed() -> None:
    """Find nothing of the parent's connection in a child that has served nothing yet."""
    links = [os.path.join("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
    open_files = [os.readlink(link) for link in links if os.path.lexists(link)]
    # Neither a connection nor the file of the parent's memory.
    assert not [name for name in open_files if "socket" in name or "statm" in name], open_files


# ---------------------------------------------------------------- the ways


def processes(method: str) -> None:
    """Make children with multiprocessing; some serve, some do not, they end as they end."""
    context = multiprocessing.get_context(method)
    make: Any = context.Process  # type: ignore[attr-defined]
    children = [make(target=serve, args=(n,)) for n in (1, 2, 3)]
    children += [make(target=leave) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(30)
        assert child.exitcode == 0


def pools() -> None:
    """Serve in the threads and the processes of executors."""
    with ThreadPoolExecutor(4) as threads:
        assert set(threads.map(serve, [2] * 8)) == {os.getpid()}
    with ProcessPoolExecutor(2) as workers:
        assert os.getpid() not in set(workers.map(serve, [2] * 6))


def many_forks() -> None:
    """Fork from two threads, while others serve and the emitter sends all the time."""

    def one_after_the_other() -> None:
        for number in range(60):
            fork(serve if number % 3 == 0 else leave)

    threads = [threading.Thread(target=one_after_the_other) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def generations() -> None:
    """Fork in a fork in a fork; none has more descriptors than the one before it."""
    counts: list[int] = []

    def next_one() -> None:
        check_closed()
        counts.append(descriptors())
        serve(1)
        if len(counts) < 5:
            fork(next_one)
        assert len(set(counts)) == 1, counts

    fork(next_one)


def daemon() -> None:
    """Become a daemon's parent: the grandchild lives on without its parent."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if not pid:
        os.setsid()
        if os.fork():
            os._exit(0)
        serve(4)
        flush_all()
        os.write(theirs, b"x")
        os._exit(0)
    os.close(theirs)
    assert os.waitpid(pid, 0)[1] == 0
    assert os.read(ours, 1) == b"x"
    os.close(ours)


def programs() -> None:
    """Execute other programs in all ways; they inherit three files and nothing else."""
    command = [sys.executable, "-c", LISTING]
    ways: list[dict[str, Any]] = [
        {}, {"preexec_fn": leave}, {"close_fds": False}, {"start_new_session": True},
    ]  # fmt: skip
    for options in ways:
        done = subprocess.run(command, capture_output=True, check=True, **options)
        assert int(done.stdout) == 4, options
    ours, theirs = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, theirs, 1)]
    pid = os.posix_spawn(sys.executable, command, dict(os.environ), file_actions=actions)
    os.close(theirs)
    assert os.waitpid(pid, 0)[1] == 0
    assert int(os.read(ours, 16)) == 4
    os.close(ours)
    fork(lambda: os.execv("/bin/true", ["true"]))


def terminal() -> None:
    """Serve in the child of a pseudo-terminal."""
    pid, end = pty.fork()
    if not pid:
        signal.alarm(30)
        serve(2)
        flush_all()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(end)


KINDS: dict[str, Callable[[], None]] = {
    "fork": lambda: processes("fork"),
    "spawn": lambda: processes("spawn"),
    "forkserver": lambda: processes("forkserver"),
    "pools": pools,
    "many forks": many_forks,
    "generations": generations,
    "daemon": daemon,
    "programs": programs,
    "terminal": terminal,
}


def main(kind: str) -> None:
    """Serve in threads until the children have come and gone.

    Not where descriptors are counted: a fork has copies of those of the event loops in there.
    """
    serve()
    flush_all()  # a later request connects anew
    over = threading.Event()

    def keep_serving() -> None:
        while not over.is_set():
            serve(5)
            over.wait(0.01)

    count = {"generations": 0, "many forks": 8}.get(kind, 2)
    threads = [threading.Thread(target=keep_serving) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        KINDS[kind]()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    serve()


if __name__ == "__main__":
    main(sys.argv[1])
