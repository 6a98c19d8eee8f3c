"""The processes of the demo: collector, agent and services, started, watched, stopped."""

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
from dataclasses import replace
from functools import partial
from pathlib import Path

from examples.demo.fault import alerts_toml
from examples.demo.services import HOST, MAILER, SERVICES, STORY_SERVICES, Service

__all__ = ["ADMIN", "Part", "PartError", "Stack", "environment", "trimtab"]

#: name of the admin of a story
ADMIN = "demo"
START_S = 40.0
STOP_S = 4.0
#: queue on Redis that the agent reads; in a story, that of RQ
_QUEUES = {False: "list:shop:mail", True: "rq:confirmations"}

#: seconds until nobody asks a part any more that is replaced, and that it then has to answer
DRAIN_S, RETIRE_S = 1.5, 30.0


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
        #: whether it may end
        self.is_retired = False

    async def start(self, ready: Callable[[], bool]) -> None:
        """Start the process and wait until ready() is true; raises PartError."""
        with self._log.open("ab") as output:
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
        process = self._process
        if process is not None and process.returncode is not None and not self.is_retired:
            raise PartError(f"{self.name} ended with {process.returncode}", self.tail())

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
            async with asyncio.timeout(RETIRE_S if self.is_retired else STOP_S):
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

    `ports` has the port of each service and of the collector once `start` has returned. With
    `story` there are the services and settings of a day: see examples/demo/story.py.
    """

    def __init__(
        self,
        directory: Path,
        say: Callable[[str], None],
        story: bool = False,
        needs_all: bool = False,
    ) -> None:
        """With needs_all, a part that ends is an error; else only the collector is."""
        self._needs_all = needs_all
        self.token = secrets.token_urlsafe(18)
        #: password of the admin, who is there in a story
        self.password = secrets.token_urlsafe(12)
        self._services = STORY_SERVICES if story else SERVICES
        own = [each.name for each in self._services]
        names = ("collector", "agent", "redis", "webhook", "mail", *own)
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        #: what is not shown, for want of a program
        self.left_out: list[str] = []
        self.url = f"http://{HOST}:{self.ports['collector']}"
        self.directory = directory
        self._story = story
        self._say = say
        self._parts: list[Part] = []
        self._redis_url = ""
        self._agent_socket = directory / "agent.sock"
        self.collector_env = {
            "TRIMTAB_COLLECTOR_HOST": HOST,
            "TRIMTAB_COLLECTOR_PORT": str(self.ports["collector"]),
            "TRIMTAB_COLLECTOR_DATA_DIR": str(directory / "collector"),
            "TRIMTAB_COLLECTOR_TOKEN": self.token,
        }
        if story:
            self.collector_env |= {
                "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
                "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": self.password,
                # Channels refuse addresses of this machine unless they are named here.
                "TRIMTAB_COLLECTOR_ALLOW_HOSTS": HOST,
            }

    def watch_for_fault(self) -> None:
        """Give the collector a rule and channels for the demo's fault; before `start`."""
        path = self.directory / "alerts.toml"
        text = alerts_toml(self.ports["webhook"], self.ports["mail"])
        path.write_text(text, encoding="utf-8")
        self.collector_env["TRIMTAB_COLLECTOR_ALERTS_FILE"] = str(path)
        # Channels refuse addresses of this machine unless they are named here.
        self.collector_env["TRIMTAB_COLLECTOR_ALLOW_HOSTS"] = HOST

    async def start(self) -> None:
        """Start everything; raises PartError with a sentence when one part fails."""
        collector = self._part("collector", trimtab("collector"), self.collector_env)
        await self._ready(collector, lambda: accepts(self.ports["collector"]))
        redis = self._redis_url = await self._redis()
        probes = {
            "TRIMTAB_AGENT_PROBE_REDIS": redis,
            "TRIMTAB_AGENT_PROBE_QUEUES": f"{redis}#{_QUEUES[self._story]}",
            "TRIMTAB_AGENT_PROBE_S": "5",
        }
        agent = self._part(
            "agent",
            trimtab("agent"),
            {
                "TRIMTAB_AGENT_SOCKET": f"unix://{self._agent_socket}",
                "TRIMTAB_AGENT_COLLECTOR_URL": self.url,
                "TRIMTAB_AGENT_KEY": await self.key(),
                "TRIMTAB_AGENT_DATA_DIR": str(self.directory / "agent"),
                "TRIMTAB_AGENT_HTTP": f"{HOST}:{self.ports['agent']}",
                **(probes if redis else {}),
            },
        )
        await self._ready(agent, lambda: listens(self._agent_socket))
        starting: list[Awaitable[None]] = [
            # A connection proves readiness; a request would have to be counted.
            self._ready(self._service(each), partial(accepts, self.ports[each.name]))
            for each in self._services
        ]
        if self._story and redis:
            starting.append(self._ready(self._service(MAILER), lambda: True))
        tasks = [asyncio.ensure_future(each) for each in starting]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def deploy(self, name: str, version: str, env: Mapping[str, str]) -> None:
        """Put another version of a service in the place of the one that runs; raises PartError.

        The new one listens on a port of its own before the old one ends: nothing goes unanswered.
        """
        (service,) = [each for each in self._services if each.name == name]
        old = [part for part in self._parts if part.name == name]
        (port,) = free_ports(1)
        new = self._service(replace(service, version=version, env=env), port)
        await self._ready(new, partial(accepts, port))
        self.ports[name] = port
        await asyncio.sleep(DRAIN_S)
        for part in old:
            part.is_retired = True
        await self._stop(old)
        for part in old:
            self._parts.remove(part)

    def _service(self, service: Service, port: int = 0) -> Part:
        """Return the part of a service, not started yet."""
        name = service.name
        port = port or self.ports.get(name, 0)
        words = service.line.format(host=HOST, port=port, redis=self._redis_url).split()
        env = {
            "TRIMTAB_AGENT": f"unix://{self._agent_socket}",
            "TRIMTAB_SERVICE": name,
            "TRIMTAB_ENVIRONMENT": "demo",
            f"{name.upper()}_DATA": str(self.directory / name),
            # The shop's report is slow on this scale: its database is a small one.
            "TRIMTAB_SLOW_QUERY_MS": "10",
            "TRIMTAB_SERVER_TIMING": "1",
            **({"SHOP_REDIS": self._redis_url} if self._redis_url else {}),
        }
        if self._story:
            env |= {
                "TRIMTAB_VERSION": service.version,
                "TRIMTAB_SLOW_REQUEST_MS": "150",
                "TRIMTAB_CAPTURE_SHARE": "0.01",
                "SHOP_PAYMENTS": f"http://{HOST}:{self.ports['payments']}",
                "SHOP_TASKS": self._redis_url,
            }
        return self._part(name, trimtab("run", "--", *words), env | dict(service.env))

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
        """Raise PartError when the collector has ended, or where all are needed any part.

        Of another that has ended it is said once, with the end of its log; the rest goes on.
        """
        for part in list(self._parts):
            try:
                part.check()
            except PartError as error:
                if self._needs_all or part.name == "collector":
                    raise
                part.is_retired = True
                for line in error.tail:
                    self._say(f"  | {line}")
                self._say(f"{error}; the rest goes on (the end of its log is above)")

    async def stop_services(self) -> None:
        """Ask the services to end and wait until they have."""
        services = {MAILER.name, *(each.name for each in self._services)}
        await self._stop([part for part in self._parts if part.name in services])

    async def stop(self) -> None:
        """End everything at once; what does not end by itself is killed."""
        for part in self._parts:
            part.is_retired = False
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

    async def key(self, *words: str) -> str:
        """Return a new key for an agent, made with further words of the command."""
        command = trimtab("key", "new", "--json", *words)
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment() | self.collector_env,
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
