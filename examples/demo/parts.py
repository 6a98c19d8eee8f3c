"""The processes of the demo: collector, agent and three services, started, watched, stopped."""

import asyncio
import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from examples.demo.fault import alerts_toml

__all__ = ["HOST", "Part", "PartError", "Stack"]

HOST = "127.0.0.1"
START_S = 40.0
STOP_S = 4.0

#: name -> command line of a service, an ordinary one: none knows of trimtab
SERVICES: Mapping[str, str] = {
    "shop": "uvicorn --host {host} --port {port} --workers 2 --log-level warning "
    "examples.shop.app:app",
    "library": "gunicorn --bind {host}:{port} --workers 2 --log-level warning "
    "examples.library.app:app",
    "records": "uvicorn --host {host} --port {port} --log-level warning --factory "
    "examples.records:create",
}


class PartError(Exception):
    """A part did not start or has ended; a sentence, and the end of its log beside it."""

    def __init__(self, sentence: str, tail: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.tail = tail


class Part:
    """One process in a session of its own, its output in a file."""

    def __init__(
        self, name: str, command: Sequence[str], env: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.command = command
        self._env = env
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, ready: Callable[[], bool]) -> None:
        """Start the process and wait until ready() is true; raises PartError."""
        with self._log.open("wb") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                env=self._env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Ctrl-C reaches the demo alone, which then stops its parts in order.
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise PartError(f"{self.name} was not ready after {START_S:.0f} s", self.tail())
            await asyncio.sleep(0.05)

    def check(self) -> None:
        """Raise PartError when the process has ended."""
        if self._process is not None and self._process.returncode is not None:
            raise PartError(f"{self.name} ended with {self._process.returncode}", self.tail())

    def signal(self, number: int) -> None:
        """Send a signal to the process, SIGKILL to its whole group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)
            elif self._process.returncode is None:
                os.kill(self._process.pid, number)

    async def end(self) -> None:
        """Wait until it has ended by itself, or end it and what it left behind."""
        if self._process is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S):
                await self._process.wait()
        self.signal(signal.SIGKILL)
        await self._process.wait()

    def tail(self) -> list[str]:
        """Return the last lines of its log."""
        try:
            return self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
        except OSError:
            return []


class Stack:
    """All parts, with their data, sockets and logs in one directory.

    `ports` has the port of each service and of the collector once `start` has returned.
    """

    def __init__(self, directory: Path, say: Callable[[str], None]) -> None:
        self.token = secrets.token_urlsafe(18)
        names = ("collector", "agent", "redis", "webhook", "mail", *SERVICES)
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        #: what is not shown, for want of a program
        self.left_out: list[str] = []
        self.url = f"http://{HOST}:{self.ports['collector']}"
        self.directory = directory
        self._say = say
        self._parts: list[Part] = []
        self._collector_env = {
            "TRIMTAB_COLLECTOR_HOST": HOST,
            "TRIMTAB_COLLECTOR_PORT": str(self.ports["collector"]),
            "TRIMTAB_COLLECTOR_DATA_DIR": str(directory / "collector"),
            "TRIMTAB_COLLECTOR_TOKEN": self.token,
        }

    def watch_for_fault(self) -> None:
        """Give the collector a rule and channels for the demo's fault; before `start`."""
        path = self.directory / "alerts.toml"
        text = alerts_toml(self.ports["webhook"], self.ports["mail"])
        path.write_text(text, encoding="utf-8")
        self._collector_env["TRIMTAB_COLLECTOR_ALERTS_FILE"] = str(path)
        # Channels refuse addresses of this machine unless they are named here.
        self._collector_env["TRIMTAB_COLLECTOR_ALLOW_HOSTS"] = HOST

    async def start(self) -> None:
        """Start everything; raises PartError with a sentence when one part fails."""
        collector = self._part("collector", trimtab("collector"), self._collector_env)
        await self._ready(collector, lambda: accepts(self.ports["collector"]))
        redis = await self._redis()
        probes = {
            "TRIMTAB_AGENT_PROBE_REDIS": redis,
            "TRIMTAB_AGENT_PROBE_QUEUES": f"{redis}#list:shop:mail",
            "TRIMTAB_AGENT_PROBE_S": "5",
        }
        socket_path = self.directory / "agent.sock"
        agent = self._part(
            "agent",
            trimtab("agent"),
            {
                "TRIMTAB_AGENT_SOCKET": f"unix://{socket_path}",
                "TRIMTAB_AGENT_COLLECTOR_URL": self.url,
                "TRIMTAB_AGENT_KEY": await self._key(),
                "TRIMTAB_AGENT_DATA_DIR": str(self.directory / "agent"),
                "TRIMTAB_AGENT_HTTP": f"{HOST}:{self.ports['agent']}",
                **(probes if redis else {}),
            },
        )
        await self._ready(agent, lambda: listens(socket_path))
        starting: list[Awaitable[None]] = []
        for name, line in SERVICES.items():
            words = line.format(host=HOST, port=self.ports[name]).split()
            env = {
                "TRIMTAB_AGENT": f"unix://{socket_path}",
                "TRIMTAB_SERVICE": name,
                "TRIMTAB_ENVIRONMENT": "demo",
                f"{name.upper()}_DATA": str(self.directory / name),
                # The shop's report is slow on this scale: its database is a small one.
                "TRIMTAB_SLOW_QUERY_MS": "10",
                "TRIMTAB_SERVER_TIMING": "1",
                **({"SHOP_REDIS": redis} if redis else {}),
            }
            part = self._part(name, trimtab("run", "--", *words), env)
            # A connection proves readiness; a request would have to be counted.
            starting.append(self._ready(part, partial(accepts, self.ports[name])))
        tasks = [asyncio.ensure_future(each) for each in starting]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _redis(self) -> str:
        """Start a Redis where there is one and return its URL, empty where there is none."""
        program = shutil.which("redis-server")
        if program is None:
            self.left_out += ["redis", "queue"]
            self._say(
                "no redis-server here: the shop caches by itself and has no queue; to see both, "
                "install it (on Debian and Ubuntu: apt install redis-server) and start again"
            )
            return ""
        port = self.ports["redis"]
        options = {"bind": HOST, "port": str(port), "save": "", "dir": str(self.directory)}
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        part = self._part("redis", [program, *words], {})
        await self._ready(part, lambda: accepts(port))
        return f"redis://{HOST}:{port}/0"

    def check(self) -> None:
        """Raise PartError when a part has ended."""
        for part in self._parts:
            part.check()

    async def stop_services(self) -> None:
        """Ask the services to end and wait until they have."""
        await self._stop([part for part in self._parts if part.name in SERVICES])

    async def stop(self) -> None:
        """End everything at once; what does not end by itself is killed."""
        await self._stop(self._parts)

    async def _stop(self, parts: Sequence[Part]) -> None:
        for part in parts:
            part.signal(signal.SIGTERM)
        await asyncio.gather(*(part.end() for part in parts))

    def _part(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> Part:
        part = Part(name, command, environment() | dict(env), self.directory / f"{name}.log")
        self._parts.append(part)
        return part

    async def _ready(self, part: Part, ready: Callable[[], bool]) -> None:
        begun = time.monotonic()
        await part.start(ready)
        # Shown as one would type it.
        ours = part.command[0] == sys.executable
        shown = " ".join(["trimtab", *part.command[3:]] if ours else part.command)
        self._say(f"{part.name:<9} ready after {time.monotonic() - begun:.1f} s   {shown}")

    async def _key(self) -> str:
        command = trimtab("key", "new", "--json")
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment() | self._collector_env,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        try:
            return str(json.loads(out)["key"])
        except (ValueError, KeyError, TypeError):
            said = (err or out).decode("utf-8", "replace").strip()
            raise PartError(
                f"trimtab key new --json gave no key (exit {process.returncode}): {said}"
            ) from None


def trimtab(*words: str) -> list[str]:
    """Return the command line of the console command, under this interpreter."""
    return [sys.executable, "-m", "trimtab_core.console", *words]


def environment() -> dict[str, str]:
    """Return this environment, without settings of trimtab and with our scripts on PATH."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TRIMTAB_")}
    scripts = str(Path(sys.executable).parent)
    kept["PATH"] = scripts + os.pathsep + kept.get("PATH", os.defpath)
    kept["PYTHONUNBUFFERED"] = "1"
    return kept


def free_ports(count: int) -> list[int]:
    """Return ports that nothing listens on, below those the system hands out (32768)."""
    found: set[int] = set()
    for port in random.sample(range(20_000, 32_000), 500):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, port))
            found.add(port)
        if len(found) == count:
            return sorted(found)
    raise PartError(f"expected {count} free ports on {HOST}, found {len(found)}")


def accepts(port: int) -> bool:
    """Whether something takes connections at a port."""
    try:
        with socket.create_connection((HOST, port), timeout=1):
            return True
    except OSError:
        return False


def listens(path: Path) -> bool:
    """Whether something takes connections at a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True
