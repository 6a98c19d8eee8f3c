"""A whole agent with probes: what it sends, what it never shows, and how it refuses to start."""

import subprocess
import sys
import urllib.request
from pathlib import Path

import psycopg
import pytest
import redis
import zstandard

from support.processes.backends import PASSWORD, PostgresqlServer, RedisServer
from support.processes.servers import Agent, clean_environment, free_port, wait_for
from support.processes.stub_collector import Answer, StubCollector
from trimtab_core.batches import Batch, decode
from trimtab_core.rows import unpack_rows

UP = "trimtab.probe.up"
WORD = "r3dis-w0rd"
SECRETS = (WORD, PASSWORD, "t0ken-in-path", "k3y-in-query", "us3r-word", "wr0ng-word")


def test_all_probes_reach_the_collector_and_no_secret_reaches_anything(tmp: Path) -> None:
    for name in ("r", "p", "agent"):
        (tmp / name).mkdir()
    batches: list[bytes] = []

    def answer(body: bytes, _: int) -> Answer:
        if body:
            batches.append(body)
        return Answer()

    with (
        StubCollector(answer) as collector,
        RedisServer(tmp / "r", "--requirepass", WORD) as store,
        PostgresqlServer(tmp / "p") as database,
    ):
        store.start()
        database.start()
        url = f"redis://:{WORD}@127.0.0.1:{store.port}/0"
        down = f"redis://:wr0ng-word@127.0.0.1:{store.port}/3"
        addresses = tmp / "addresses"
        addresses.write_text(f"{url},{down}\n")
        with redis.Redis.from_url(url) as client:
            client.rpush("work", "a", "b", "c")
        site = f"http://name:us3r-word@127.0.0.1:{collector.port}/t0ken-in-path?k=k3y-in-query"
        agent = Agent(
            tmp / "agent",
            collector.url,
            "ttk_some_key",
            TRIMTAB_AGENT_PROBE_S="1",
            TRIMTAB_AGENT_PROBE_REDIS_FILE=str(addresses),
            TRIMTAB_AGENT_PROBE_POSTGRESQL=database.dsn,
            TRIMTAB_AGENT_PROBE_QUEUES=f"{url}#list:work",
            TRIMTAB_AGENT_PROBE_HTTP=f"{site},http://127.0.0.1:{free_port()}/t0ken-in-path",
            TRIMTAB_AGENT_LOG_LEVEL="debug",
        )
        with agent, psycopg.connect(database.dsn, autocommit=True) as connection:
            connection.execute("CREATE TABLE things (a int)")
            connection.execute("CREATE INDEX by_a ON things (a)")
            agent.start()
            up = {
                f"redis:127.0.0.1:{store.port}/0",
                f"postgresql:127.0.0.1:{database.port}/postgres",
                f"http:127.0.0.1:{collector.port}",
                "queue:work",
            }
            wait_for(lambda: up <= targets(batches, 1), "all that are up", 20)
            wait_for(lambda: f"redis:127.0.0.1:{store.port}/3" in targets(batches, 0), "one down")
            (depth,) = {
                gauge.value
                for batch in decoded(batches)
                for gauge in batch.gauges
                if gauge.name == "trimtab.queue.depth"
            }
            assert depth == 3
            with urllib.request.urlopen(f"{agent.http}/metrics", timeout=10) as answered:
                metrics = answered.read()
            agent.stop()
        shown = [metrics, agent.output().encode()]
        shown += [path.read_bytes() for path in agent.data.rglob("*") if path.is_file()]
        shown += [zstandard.ZstdDecompressor().stream_reader(body).read() for body in batches]
        assert b"AuthenticationError" in shown[1]
        assert b"ConnectError" in shown[1]
    for secret in SECRETS:
        assert [text for text in shown if secret.encode() in text] == [], secret


def decoded(bodies: list[bytes]) -> list[Batch]:
    return [decode(body) for body in bodies]


def targets(bodies: list[bytes], up: int) -> set[str]:
    return {
        gauge.instance
        for batch in decoded(bodies)
        for gauge in batch.gauges
        if gauge.name == UP and gauge.value == up
    }


def test_statements_and_slow_commands_go_along_as_measures(tmp: Path) -> None:
    (tmp / "r").mkdir()
    batches: list[bytes] = []

    def answer(body: bytes, _: int) -> Answer:
        if body:
            batches.append(body)
        return Answer()

    with StubCollector(answer) as collector, RedisServer(tmp / "r") as store:
        store.start()
        agent = Agent(
            tmp,
            collector.url,
            "ttk_some_key",
            TRIMTAB_AGENT_PROBE_S="1",
            TRIMTAB_AGENT_PROBE_REDIS=store.url,
        )
        with agent, redis.Redis.from_url(store.url) as client:
            agent.start()
            name = f"redis:127.0.0.1:{store.port}/0"
            wait_for(lambda: name in targets(batches, 1), "the first reading", 20)
            client.config_set("slowlog-log-slower-than", 0)
            client.set("planted-key", "planted-value")
            client.config_set("slowlog-log-slower-than", -1)

            def counted() -> int:
                rows = [row for each in decoded(batches) for row in unpack_rows(each.rows)[0]]
                return sum(
                    row.delta.count
                    for row in rows
                    if row.instance == name and dict(row.key.attributes).get(OPERATION) == "SET"
                )

            wait_for(lambda: counted() == 1, "the slow command", 20)
            agent.stop()
            assert counted() == 1, "it is counted once"


OPERATION = "db.operation.name"


def test_an_agent_without_probes_loads_no_driver(tmp: Path) -> None:
    agent = Agent(tmp, f"http://127.0.0.1:{free_port()}", "")
    with agent:
        agent.start()
        maps = Path(f"/proc/{agent.pid}/maps").read_text()
        assert "psycopg" not in maps
    code = (
        "import sys, trimtab_agent.agent; from trimtab_agent.probes import Probes; "
        "from trimtab_agent.settings import AgentSettings; Probes(AgentSettings()); "
        "print([name for name in ('redis', 'psycopg') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("setting", "module", "extra"),
    [
        ("PROBE_REDIS", "redis", "redis"),
        ("PROBE_QUEUES", "redis", "redis"),
        ("PROBE_POSTGRESQL", "psycopg", "postgresql"),
    ],
)
def test_a_probe_without_its_driver_says_what_to_install(
    setting: str, module: str, extra: str, tmp: Path
) -> None:
    code = (
        f"import sys; sys.modules[{module!r}] = None; "
        "from trimtab_core.console import main; sys.exit(main(['agent']))"
    )
    done = run(["-c", code], tmp, {f"TRIMTAB_AGENT_{setting}": f"redis://:{WORD}@h/0#list:a"})
    assert done.returncode == 2
    assert done.stderr.endswith(f"needs {module}: pip install 'trimtab[{extra}]'\n")
    assert WORD not in done.stderr


@pytest.mark.parametrize("kind", ["REDIS", "QUEUES", "POSTGRESQL", "HTTP"])
def test_an_address_that_is_none_stops_the_start_and_is_not_shown(kind: str, tmp: Path) -> None:
    given = {f"TRIMTAB_AGENT_PROBE_{kind}": f"gopher://user:{WORD}@h/0"}
    done = run(["-m", "trimtab_core.console", "agent"], tmp, given)
    assert done.returncode == 2
    assert f"probe_{kind.lower()}: expected " in done.stderr
    assert WORD not in done.stderr


def run(
    words: list[str], directory: Path, given: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    own = {
        "TRIMTAB_AGENT_SOCKET": f"unix://{directory}/a.sock",
        "TRIMTAB_AGENT_DATA_DIR": str(directory / "a"),
        "TRIMTAB_AGENT_HTTP": f"127.0.0.1:{free_port()}",
        "TRIMTAB_AGENT_KEY": "ttk_some_key",
    }
    return subprocess.run(
        [sys.executable, *words],
        env=clean_environment() | own | given,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
