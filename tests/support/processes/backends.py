"""Real databases for tests: Redis and PostgreSQL, each on a free port in its own directory.

The programs are those of Debian's packages redis-server and postgresql (`./dev test` installs them
as root); a service that runs on this machine is never used. Where a program is missing the test is
skipped with the reason; with CI=true it fails.
"""

import glob
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit, urlunsplit

import psutil

from support.lacking import lack
from support.processes.servers import (
    START_S,
    Proc,
    accepts,
    clean_environment,
    free_port,
    short_dir,
    wait_for,
)

__all__ = [
    "PostgresqlServer",
    "RedisServer",
    "Standby",
    "new_database",
    "postgresql",
    "redis_server",
    "replicated",
]

#: Password of PostgreSQL's superuser; it is asked for, so a wrong one is refused.
PASSWORD = "pg-word-of-the-tests"


class RedisServer(Proc):
    """A Redis that keeps nothing on disk; the port stays the same over restarts.

    arguments are further ones of redis-server, as `"--requirepass", "word"`. With a password
    `url` has none in it.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            lack("this needs Debian's package redis-server: apt install redis-server")
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        command = [*_dying_with_us("TERM"), str(program)]
        command += ["--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(directory)]
        super().__init__("redis", [*command, *arguments], directory, {})

    def start(self) -> Self:
        """Start and wait until it takes connections."""
        super().start()
        self.wait_line("Ready to accept connections")
        wait_for(lambda: accepts(self.port), "redis to accept connections", START_S)
        return self


class PostgresqlServer(Proc):
    """A PostgreSQL with pg_stat_statements loaded; port and data stay the same over restarts.

    settings are lines of its configuration, as `"max_connections=20"`. `dsn` is the superuser's
    for the database `postgres`; the extension is created by who needs it. Not durable: a crash of
    the machine would damage it, a killed process does not. The data is gone when its `with` ends.
    """

    def __init__(self, directory: Path, *settings: str) -> None:
        programs = _postgresql_programs()
        self.port = free_port()
        self.dsn = f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/postgres"
        # A directory of its own: the given one, or one above it, may be closed to that user.
        self.home = Path(tempfile.mkdtemp(prefix="tt-"))
        self.data = self.home / "pg"
        # PostgreSQL refuses to be root.
        self._as_user = _dying_with_us("QUIT")
        if os.geteuid() == 0:
            shutil.chown(self.home, "postgres", "postgres")
            ids = ["--reuid", "postgres", "--regid", "postgres", "--init-groups"]
            self._as_user = [*self._as_user, *ids, "env", "--chdir", str(self.home)]
        given = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "shared_preload_libraries": "pg_stat_statements",
            "fsync": "off",
            "full_page_writes": "off",
            "max_connections": "60",
            "shared_buffers": "16MB",
            "jit": "off",
        }
        given |= dict(each.split("=", 1) for each in settings)
        command = [*self._as_user, str(programs / "postgres"), "-D", str(self.data)]
        for name, value in given.items():
            command += ["-c", f"{name}={value}"]
        self._initdb = [*self._as_user, str(programs / "initdb"), "-D", str(self.data)]
        super().__init__("postgresql", command, directory, {"LC_ALL": "C", "TZ": "UTC"})

    def start(self) -> Self:
        """Make its data, start and wait until it takes connections."""
        if not self.data.exists():
            self._make_data()
        super().start()
        self.wait_line("database system is ready to accept")
        wait_for(lambda: accepts(self.port), "postgresql to accept connections", START_S)
        return self

    def stop(self, signal_number: int = signal.SIGINT, timeout_s: float = START_S) -> int:
        """End it in order, without waiting for its clients; return the exit code."""
        return super().stop(signal_number, timeout_s)

    def reap(self) -> None:
        """Leave nothing of it: killed at once it would leave a piece of shared memory."""
        if self.alive:
            self.thaw()
            self.child.send_signal(signal.SIGQUIT)
            try:
                self.child.wait(START_S)
            except subprocess.TimeoutExpired:
                pass
        super().reap()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        super().__exit__(kind, error, trace)
        shutil.rmtree(self.home, ignore_errors=True)

    def _make_data(self) -> None:
        word = self.home / "word"
        word.write_text(PASSWORD + "\n")
        word.chmod(0o644)
        options = ["--username", "postgres", "--pwfile", str(word), "--auth", "scram-sha-256"]
        options += ["--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"]
        done = subprocess.run(
            [*self._initdb, *options],
            env=clean_environment() | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"initdb ended with {done.returncode}: {done.stderr}"

    def _signal_group(self, number: int) -> None:
        # Each of its processes leads a session of its own.
        workers = psutil.Process(self.pid).children(recursive=True) if self.alive else []
        super()._signal_group(number)
        for worker in workers:
            try:
                worker.send_signal(number)
            except psutil.NoSuchProcess:
                pass


class Standby(PostgresqlServer):
    """A standby of another server, made by pg_basebackup; it refuses what is no reading."""

    def __init__(self, directory: Path, primary: PostgresqlServer) -> None:
        super().__init__(directory, "hot_standby=on")
        self._primary = primary.port

    def _make_data(self) -> None:
        source = f"host=127.0.0.1 port={self._primary} user=postgres password={PASSWORD}"
        program = str(Path(self._initdb[-3]).with_name("pg_basebackup"))
        words = [
            program,
            "-D",
            str(self.data),
            "-d",
            source,
            "-R",
            "--checkpoint=fast",
            "--no-sync",
        ]
        subprocess.run(
            [*self._as_user, *words],
            env=clean_environment(),
            check=True,
            capture_output=True,
            timeout=60,
        )


def _dying_with_us(signal_name: str) -> list[str]:
    """Return what starts a program that ends when we do, also when we are killed.

    "We" is the thread that starts it: servers are started from the main one.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", signal_name] if setpriv else []


def _postgresql_programs() -> Path:
    """Return the directory of the newest PostgreSQL; on Debian its programs are not on PATH."""
    found = [Path(path).parent for path in glob.glob("/usr/lib/postgresql/*/bin/initdb")]
    found.sort(key=lambda path: [int(digits) for digits in re.findall(r"\d+", str(path))])
    elsewhere = shutil.which("initdb")
    if not found and elsewhere:
        found = [Path(elsewhere).resolve().parent]
    if not found:
        lack("this needs Debian's package postgresql: apt install postgresql")
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        lack("as root, PostgreSQL needs setpriv to run as another user: apt install util-linux")
    return found[-1]


@contextmanager
def redis_server(*arguments: str) -> Iterator[str]:
    """Yield the URL of a new Redis, `redis://127.0.0.1:PORT/0`; arguments as of RedisServer."""
    with short_dir() as directory, RedisServer(directory, *arguments) as server:
        yield server.start().url


@contextmanager
def postgresql(*settings: str) -> Iterator[str]:
    """Yield the superuser's DSN of a new PostgreSQL; settings as of PostgresqlServer.

    `postgresql://USER:PASSWORD@127.0.0.1:PORT/postgres`
    """
    with short_dir() as directory, PostgresqlServer(directory, *settings) as server:
        yield server.start().dsn


@contextmanager
def replicated() -> Iterator[tuple[PostgresqlServer, Standby]]:
    """Yield a running primary and a running standby of it."""
    with short_dir() as one, short_dir() as two, PostgresqlServer(one) as primary:
        primary.start()
        with Standby(two, primary) as standby:
            yield primary, standby.start()


@contextmanager
def new_database(dsn: str) -> Iterator[str]:
    """Yield the DSN of a new, empty database on the same server; dropped at the end."""
    import psycopg  # tests of what hooks do at its import must see it imported themselves

    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))
        finally:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
