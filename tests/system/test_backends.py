"""The databases of the tests themselves: real, alone, gone at the end, and missed out loud."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from support.processes.backends import (
    PASSWORD,
    PostgresqlServer,
    RedisServer,
    new_database,
    redis_server,
)
from support.processes.servers import clean_environment, wait_for


def test_a_redis_is_empty_and_leaves_nothing_behind() -> None:
    with redis_server("--maxmemory", "5mb") as url, redis.Redis.from_url(url) as client:
        assert client.dbsize() == 0
        assert client.info("memory")["maxmemory"] == 5 * 2**20
        info = client.info("server")
        assert psutil.pid_exists(info["process_id"])
        directory = Path(client.config_get("dir")["dir"])
    assert not psutil.pid_exists(info["process_id"])
    assert not directory.exists()


def test_a_postgresql_keeps_its_data_over_a_crash_and_leaves_no_process_behind(tmp: Path) -> None:
    with PostgresqlServer(tmp) as server:
        server.start()
        with psycopg.connect(server.dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE things AS SELECT 7 AS a")
            connection.execute("CHECKPOINT")
        first = {server.pid, *server.children()}
        server.kill9()
        wait_for(lambda: not any(map(psutil.pid_exists, first)), "its processes to be gone")
        server.start()
        with psycopg.connect(server.dsn) as connection:
            assert connection.execute("SELECT a FROM things").fetchone() == (7,)
            assert os.geteuid() != 0 or psutil.Process(server.pid).username() == "postgres"
        second = {server.pid, *server.children()}
        home = server.home
    assert not any(map(psutil.pid_exists, second))
    assert not home.exists()


ORPHANS = """
import os, sys
from pathlib import Path
from support.processes.backends import PostgresqlServer, RedisServer
directory = Path(sys.argv[1])
servers = [RedisServer(directory).start(), PostgresqlServer(directory).start()]
print(*(server.pid for server in servers), servers[1].home, flush=True)
os.kill(os.getpid(), 9)
"""


def test_servers_end_with_the_tests_that_are_killed(tmp: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ORPHANS, str(tmp)],
        env=clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == -9, done.stderr
    *pids, home = done.stdout.split()
    try:
        wait_for(lambda: not any(psutil.pid_exists(int(pid)) for pid in pids), "their end")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def test_the_password_of_postgresql_is_asked_for(postgresql_dsn: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(postgresql_dsn.replace(PASSWORD, "another"))


def test_a_new_database_is_empty_and_gone_at_the_end_whoever_still_uses_it(
    postgresql_dsn: str,
) -> None:
    with new_database(postgresql_dsn) as dsn:
        user = psycopg.connect(dsn)
        user.execute("CREATE TABLE things (a int)")
    with pytest.raises(psycopg.OperationalError):
        user.execute("SELECT 1")
    user.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(dsn)


@pytest.mark.parametrize("package", ["redis-server", "postgresql"])
def test_a_program_that_is_missing_skips_and_fails_where_all_must_run(
    package: str, tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp))
    monkeypatch.setattr("support.processes.backends.glob.glob", lambda pattern: [])

    def make() -> None:
        RedisServer(tmp) if package == "redis-server" else PostgresqlServer(tmp)

    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=f"apt install {package}"):
        make()
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=f"apt install {package}"):
        make()
