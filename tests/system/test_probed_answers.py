"""What agents read of real databases, queues and services comes back from the API, all of it.

The names are those of docs/databases.md: what is promised there has an endpoint that returns it.
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import redis

from support.processes.backends import RedisServer, replicated
from support.processes.probing import running, until
from support.processes.servers import short_dir
from support.processes.stub_collector import Answer, StubCollector
from support.stores.apiworld import NOW_S, World, world
from support.stores.batches import a_batch
from support.stores.engines import Sent, append
from trimtab_core.catalog import CATALOG
from trimtab_core.rows import MeasureRow, pack_rows

DOCS: Final = (Path(__file__).parents[2] / "docs" / "databases.md").read_text(encoding="utf-8")
#: names there that are of attributes and of a file
OTHERS: Final = {
    "postgresql.index.columns",
    "postgresql.index.name",
    "postgresql.table.name",
    "trimtab.toml",
}
_NAME: Final = re.compile(r"`((?:redis|postgresql|trimtab)(?:\.\w+)+|(?:\.\w+)+)`")
#: measure -> path and key of its rows in the answer
MEASURES: Final = {
    "postgresql.statement.duration": ("/database", "serverStatements"),
    "postgresql.index.unused.size": ("/database", "unusedIndexes"),
    **{
        name: ("/database", "serverTables")
        for name in CATALOG
        if name.startswith(("postgresql.table.", "postgresql.index.size"))
    },
    "redis.slowlog.duration": ("/cache", "slowCommands"),
    "redis.latency.latest": ("/cache", "latencySpikes"),
}
#: takes some 20 ms
BUSY: Final = """local function now()
local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
local begun = now() while now() - begun < 20 do end"""


def promised() -> set[str]:
    """Return the names of the page in full: `.rss` after `redis.memory.used` is its sibling."""
    found: set[str] = set()
    last = ""
    for name in _NAME.findall(DOCS):
        if name.startswith("."):
            name = last.rpartition(".")[0] + name
        else:
            last = name
        found.add(name)
    return found - OTHERS


def test_the_page_names_what_the_catalogue_has_of_targets_and_nothing_else() -> None:
    prefixes = ("redis.", "postgresql.", "trimtab.probe.", "trimtab.queue.")
    assert promised() == {name for name in CATALOG if name.startswith(prefixes)}


async def probed(settings: Mapping[str, Any], writer: Any, client: Any) -> tuple[Any, Any]:
    """Return gauges and measures of a few readings, while there is something to read."""
    rows: list[MeasureRow] = []
    async with running(**settings) as probes:

        def all_seen() -> bool:
            writer.execute("SELECT name FROM things WHERE name = 'never-shown'")
            writer.execute("SELECT count(*) FROM things")
            writer.execute("SELECT count(*) FROM others WHERE word = 'x'")
            client.eval(BUSY, 0)
            client.get("some-key")
            rows.extend(MeasureRow(*row) for row in probes.measures())
            gauges = {gauge.name for gauge in probes.gauges()}
            return promised() <= gauges | {row.key.name for row in rows}

        def missing() -> set[str]:
            return promised() - {gauge.name for gauge in probes.gauges()} - MEASURES.keys()

        try:
            await until(all_seen, "all that the page promises", 20)
        except AssertionError as error:
            raise AssertionError(f"not read: {missing()}") from error
        return probes.gauges(), rows


@pytest.fixture(scope="module")
def answers() -> Iterator[tuple[World, dict[str, str]]]:
    """Read real targets, store what was read, and yield the API with the names of the targets."""
    with (
        short_dir() as directory,
        RedisServer(directory) as store,
        replicated() as (primary, standby),
        StubCollector(lambda *_: Answer(200)) as site,
        psycopg.connect(primary.dsn, autocommit=True) as writer,
        redis.Redis.from_url(store.start().url) as client,
        short_dir() as data,
        world(data, empty=True) as found,
    ):
        writer.execute("CREATE EXTENSION pg_stat_statements")
        writer.execute("CREATE TABLE things AS SELECT 'a' AS name FROM generate_series(1, 3000)")
        writer.execute("CREATE INDEX by_name_unused ON things ((name || 'x'))")
        writer.execute(
            "CREATE TABLE others AS SELECT n AS id, 'y' AS word FROM generate_series(1, 2000) n"
        )
        writer.execute("CREATE UNIQUE INDEX others_id ON others (id)")
        writer.execute("SELECT pg_stat_force_next_flush()")
        writer.execute("ANALYZE")
        client.config_set("latency-monitor-threshold", 5)
        client.rpush("jobs", "a", "b", "c")
        client.zadd("rq:failed:mail", {"job": 1})
        client.xadd("events", {"a": 1})
        client.xgroup_create("events", "readers", "0")
        settings = {
            "probe_redis": (store.url,),
            "probe_postgresql": (primary.dsn, standby.dsn),
            "probe_queues": tuple(
                f"{store.url}#{queue}" for queue in ("list:jobs", "rq:mail", "stream:events")
            ),
            "probe_http": (site.url,),
        }
        gauges, rows = asyncio.run(probed(settings, writer, client))
        (packed,) = pack_rows(rows, ())
        batch = a_batch(0, {}, window_s=NOW_S - 10, gauges=gauges, rows=packed)
        append(found.engine, Sent(batch, {}))
        yield (
            found,
            {
                "redis": f"redis:127.0.0.1:{store.port}/0",
                "postgresql": f"postgresql:127.0.0.1:{primary.port}/postgres",
            },
        )


def test_everything_that_the_page_promises_comes_back_from_some_endpoint(
    answers: tuple[World, dict[str, str]],
) -> None:
    ask = answers[0].ask
    returned: set[str] = set()
    for path, lists in (
        ("/database", ("servers",)),
        ("/cache", ("servers",)),
        ("/external", ("dependencies",)),
        ("/queues", ("queues",)),
    ):
        answer = ask(path)
        returned |= {name for each in lists for row in answer[each] for name in row["gauges"]}
    returned |= {name for name, (path, key) in MEASURES.items() if ask(path)[key]}
    assert promised() - returned == set()


def test_statements_come_back_as_the_server_counted_them(
    answers: tuple[World, dict[str, str]],
) -> None:
    found = answers[0].ask("/database", service="any", limit=1000)
    (statement,) = [
        each for each in found["serverStatements"] if each["query"].startswith("SELECT name FROM")
    ]
    assert statement["query"] == "SELECT name FROM things WHERE name = ?"
    assert (statement["target"], statement["database"]) == (answers[1]["postgresql"], "postgres")
    calls = statement["calls"]
    assert calls["count"] >= 1
    assert calls["mean"] == pytest.approx(calls["totalTime"] / calls["count"])
    assert calls["p95"] is calls["p50"] is None
    assert "never-shown" not in json.dumps(found)
    first = answers[0].ask("/database", limit=1)
    assert first["serverStatements"] == found["serverStatements"][:1]
    assert first["serverStatementsLeftOut"] == len(found["serverStatements"]) - 1 > 0
    alone = answers[0].ask("/database", instance="postgresql:elsewhere:5432/shop")
    assert alone["serverStatements"] == alone["unusedIndexes"] == alone["servers"] == []


def test_unused_indexes_come_back_with_table_and_size(
    answers: tuple[World, dict[str, str]],
) -> None:
    found = answers[0].ask("/database", instance=answers[1]["postgresql"])
    assert found["unusedIndexesLeftOut"] == 0
    (index,) = found["unusedIndexes"]
    assert index.pop("size") > 8192
    assert index == {
        "target": answers[1]["postgresql"],
        "index": "public.by_name_unused",
        "table": "public.things",
    }


def test_scanned_tables_come_back_with_their_indexes(
    answers: tuple[World, dict[str, str]],
) -> None:
    found = answers[0].ask("/database", service="any")
    tables = {each["table"]: each for each in found["serverTables"]}
    table = tables["public.others"]
    assert table["target"] == answers[1]["postgresql"]
    assert (table["rows"], table["modifiedRows"]) == (2000, 0)
    assert table["sequentialScans"] >= 1
    assert table["sequentialRows"] == 2000 * table["sequentialScans"]
    (index,) = table["indexes"]
    assert (index["index"], index["columns"]) == ("public.others_id", "id")
    assert index["size"] > 8192
    assert found["serverTablesLeftOut"] == 0


def test_slow_commands_and_spikes_come_back_by_command_and_event(
    answers: tuple[World, dict[str, str]],
) -> None:
    found = answers[0].ask("/cache", environment="any")
    (slow,) = [each for each in found["slowCommands"] if each["command"] == "EVAL"]
    assert slow["target"] == answers[1]["redis"]
    assert slow["calls"]["count"] >= 1
    assert 20 <= slow["calls"]["p50"] < 2000
    (spike,) = [each for each in found["latencySpikes"] if each["event"] == "command"]
    assert spike["target"] == answers[1]["redis"]
    assert 20 <= spike["latest"] <= spike["longest"] < 2000


def test_replication_comes_back_of_the_primary_and_of_its_standby(
    answers: tuple[World, dict[str, str]],
) -> None:
    servers = {each["target"]: each["gauges"] for each in answers[0].ask("/database")["servers"]}
    primary = servers.pop(answers[1]["postgresql"])
    (standby,) = servers.values()
    assert primary["postgresql.replication.standbys"] == 1
    assert "postgresql.replication.lag" in standby
