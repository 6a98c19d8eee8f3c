"""The probe of Redis against a real one: its numbers are what the test did to it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from support.processes.backends import RedisServer
from support.processes.probing import gauges, read, running, until
from support.processes.servers import short_dir
from trimtab_agent.probes import Probes
from trimtab_agent.probes.redis import RedisProbe
from trimtab_core.catalog import CATALOG
from trimtab_core.errors import SettingsError
from trimtab_core.measures import Delta

DOCS = (Path(__file__).parents[2] / "docs/databases.md").read_text(encoding="utf-8")
UP = "trimtab.probe.up"
RATIO = "redis.keyspace.hit_ratio"
WORD = "s3cret-w0rd"


@pytest.fixture
def server(tmp: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp) as process:
        yield process.start()


@contextmanager
def connected(url: str) -> Iterator[Any]:
    client = redis.Redis.from_url(url)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def probing(url: str) -> Iterator[RedisProbe]:
    probe = RedisProbe(url)
    try:
        yield probe
    finally:
        probe.close()


def look_up(client: Any, hits: int, misses: int) -> None:
    client.set("there", "x")
    for name in ["there"] * hits + ["not-there"] * misses:
        client.get(name)


def by_command(measures: Any) -> dict[str, Delta]:
    return {
        dict(key.attributes)["db.operation.name"]: delta
        for key, delta in measures
        if key.name == "redis.slowlog.duration"
    }


def test_the_hit_ratio_is_that_of_the_lookups_between_two_readings(server: RedisServer) -> None:
    with connected(server.url) as client, probing(server.url) as probe:
        look_up(client, 7, 90)
        assert RATIO not in read(probe).gauges
        look_up(client, 60, 40)
        found = read(probe).gauges
        assert found[RATIO] == 0.6
        assert (found["redis.keyspace.hits"], found["redis.keyspace.misses"]) == (67, 130)
        assert RATIO not in read(probe).gauges, "nothing was looked up"


def test_a_reset_of_the_statistics_costs_one_ratio_and_never_makes_one_up(
    server: RedisServer,
) -> None:
    with connected(server.url) as client, probing(server.url) as probe:
        look_up(client, 50, 50)
        read(probe)
        client.config_resetstat()
        look_up(client, 1, 9)
        assert RATIO not in read(probe).gauges
        look_up(client, 3, 1)
        assert read(probe).gauges[RATIO] == 0.75


def test_clients_memory_keys_and_refusals_are_read(server: RedisServer) -> None:
    with connected(server.url) as client, probing(server.url) as probe:
        client.config_set("maxmemory", 3_000_000)
        client.config_set("maxmemory-policy", "allkeys-lru")
        for number in range(40):
            client.set(f"key-{number}", b"x" * 100_000)
        client.set("brief", 1, px=1)
        until_gone(client, "brief")
        with connected(server.url) as second:
            second.ping()
            found = read(probe).gauges
            assert found["redis.clients.connected"] == 3
        info = client.info()
        assert found["redis.keys.evicted"] == info["evicted_keys"] > 0
        assert found["redis.keys.expired"] == 1
        assert found["redis.maxmemory"] == 3_000_000
        assert found["redis.memory.used"] == pytest.approx(info["used_memory"], rel=0.2)
        assert 0 < found["redis.ping.duration"] < 1
        client.config_set("maxclients", 2)
        with connected(server.url) as third, pytest.raises(redis.RedisError):
            third.ping()
        client.config_set("maxclients", 10)
        assert read(probe).gauges["redis.connections.rejected"] == 1


def until_gone(client: Any, name: str) -> None:
    while client.exists(name):
        pass


def test_every_gauge_and_measure_is_in_the_catalogue(server: RedisServer) -> None:
    with connected(server.url) as client, probing(server.url) as probe:
        client.config_set("slowlog-log-slower-than", 0)
        client.config_set("latency-monitor-threshold", 1)
        read(probe)
        client.eval(BUSY, 0)
        found = read(probe)
    assert len(found.gauges) > 14
    assert {CATALOG[name].kind for name in found.gauges} == {"gauge", "counter"}
    assert {(key.kind, key.unit) for key, _ in found.measures} == {
        (CATALOG[key.name].kind, CATALOG[key.name].unit) for key, _ in found.measures
    }
    assert len({key.name for key, _ in found.measures}) == 2


#: takes some 20 ms
BUSY = """local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
local begun = now() while now() - begun < 20 do end"""


def test_the_slow_log_gives_names_of_commands_and_times_and_no_argument(
    server: RedisServer,
) -> None:
    with connected(server.url) as client, probing(server.url) as probe:
        client.eval(BUSY, 0)
        assert by_command(read(probe).measures) == {}, "that was before the first reading"
        client.config_set("slowlog-log-slower-than", 0)
        for _ in range(3):
            client.set("planted-key", "planted-value")
        client.config_set("slowlog-log-slower-than", 10_000)
        client.eval(BUSY, 0, "planted-argument")
        found = read(probe)
        slow = by_command(found.measures)
        assert slow["SET"].count == 3
        assert slow["EVAL"].count == 1
        assert 0.02 <= slow["EVAL"].sum < 2
        assert sum(slow["EVAL"].buckets.values()) == 1
        assert "planted" not in repr(found)
        assert found.gauges["redis.slowlog.length"] == client.slowlog_len()
        client.slowlog_reset()
        assert by_command(read(probe).measures) == {}
        client.eval(BUSY, 0)
        assert by_command(read(probe).measures)["EVAL"].count == 1


def test_a_command_that_a_server_calls_something_secret_is_other(tmp: Path) -> None:
    with RedisServer(tmp, "--rename-command", "EVAL", "Secret-Word") as server:
        server.start()
        with connected(server.url) as client, probing(server.url) as probe:
            read(probe)
            client.config_set("slowlog-log-slower-than", 0)
            client.execute_command("Secret-Word", "return 1", 0)
            found = read(probe)
    assert by_command(found.measures)["other"].count == 1
    assert "secret" not in repr(found).lower()


def test_the_very_first_entry_of_the_slow_log_counts(server: RedisServer) -> None:
    with connected(server.url) as client, probing(server.url) as probe:
        read(probe)
        client.eval(BUSY, 0)
        assert by_command(read(probe).measures)["EVAL"].count == 1


def test_the_rights_that_the_docs_name_are_enough(server: RedisServer) -> None:
    rights = ["+ping", "+info", "+slowlog|get", "+slowlog|len", "+latency|latest"]
    assert all(word in DOCS for word in rights)
    with connected(server.url) as client:
        client.execute_command("ACL", "SETUSER", "probe", "on", f">{WORD}", *rights)
        client.config_set("latency-monitor-threshold", 5)
        with probing(f"redis://probe:{WORD}@127.0.0.1:{server.port}/0") as probe:
            read(probe)
            client.eval(BUSY, 0)
            found = read(probe)
    assert {key.name for key, _ in found.measures} == {
        "redis.slowlog.duration",
        "redis.latency.latest",
    }


def test_what_an_error_says_is_told_without_any_form_of_the_secrets() -> None:
    url = "redis://us:p%40ss%3Aw0rd@127.0.0.1:1/0?client_name=n4me-of-it"
    probe = RedisProbe(url)
    error = RuntimeError(f"cannot take {url},\n p@ss:w0rd nor p%40ss%3Aw0rd for n4me-of-it")
    assert probe.redacted(error) == "RuntimeError: cannot take ***, *** nor *** for ***"
    assert len(probe.redacted(RuntimeError("x" * 10_000))) < 300
    assert url not in repr(probe._address)


def test_the_latest_spike_of_an_event_that_redis_watches_is_read(server: RedisServer) -> None:
    with connected(server.url) as client, probing(server.url) as probe:
        client.config_set("latency-monitor-threshold", 5)
        client.eval(BUSY, 0)
        # A busy machine has spikes of other events, too: `fork`, for example.
        spikes = {
            key.attributes: delta for key, delta in read(probe).measures if "latency" in key.name
        }
        assert 0.02 <= spikes[(("redis.latency.event", "command"),)].last < 2


def test_a_user_without_the_rights_to_the_slow_log_still_reads_the_rest(
    server: RedisServer,
) -> None:
    with connected(server.url) as client:
        client.execute_command("ACL", "SETUSER", "probe", "on", f">{WORD}", "+ping", "+info")
        with probing(f"redis://probe:{WORD}@127.0.0.1:{server.port}/0") as probe:
            found = read(probe)
    assert found.gauges["redis.clients.connected"] == 2
    assert found.measures == []
    assert "redis.slowlog.length" not in found.gauges


@pytest.mark.asyncio
async def test_a_server_that_dies_and_comes_back_is_down_and_up_again(
    server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(probe_redis=(server.url,)) as probes:
        await until(lambda: gauges(probes).get(UP) == 1, "the first reading")
        assert gauges(probes)["redis.uptime"] >= 0
        server.kill9()
        await until(lambda: gauges(probes) == {UP: 0}, "the server to be missed")
        with caplog.at_level(logging.WARNING):
            server.start()
        await until(lambda: gauges(probes).get(UP) == 1, "the server to be found again")
        assert RATIO not in gauges(probes)
        assert next(gauge.instance for gauge in probes.gauges()) == (
            f"redis:127.0.0.1:{server.port}/0"
        )
    lines = [record for record in caplog.records if record.name == "trimtab.probes"]
    assert len(lines) == 1


def test_entries_of_the_slow_log_after_a_restart_are_counted(server: RedisServer) -> None:
    with probing(server.url) as probe:
        read(probe)
        server.kill9()
        with pytest.raises(redis.ConnectionError):
            read(probe)
        server.start()
        with connected(server.url) as client:
            client.eval(BUSY, 0)
        assert by_command(read(probe).measures)["EVAL"].count == 1


@pytest.mark.asyncio
async def test_a_frozen_server_is_down_holds_nothing_up_and_is_never_asked_twice_at_once(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_agent.probes.schedule.LIMIT_S", 0.5)
    monkeypatch.setattr("trimtab_agent.probes.redis._WAIT_S", 1.5)
    with short_dir() as directory, RedisServer(directory) as other:
        other.start()
        targets = [f"redis:127.0.0.1:{each.port}/0" for each in (server, other)]
        async with running(probe_redis=(server.url, other.url)) as probes:
            await until(lambda: all(is_up(probes, each) for each in targets), "both")
            server.freeze()
            try:
                await until(lambda: gauges(probes, targets[0]) == {UP: 0}, "the frozen one")
                before = gauges(probes, targets[1])["redis.uptime"]
                await until(
                    lambda: gauges(probes, targets[1])["redis.uptime"] > before + 1,
                    "the other",
                )
                assert probe_threads() <= 2
            finally:
                server.thaw()
            await until(lambda: gauges(probes, targets[0]).get(UP) == 1, "it to thaw")


def is_up(probes: Probes, target: str) -> bool:
    return gauges(probes, target).get(UP) == 1


def probe_threads() -> int:
    return sum(thread.name == "trimtab-probe" for thread in threading.enumerate())


@pytest.mark.asyncio
async def test_a_password_is_shown_nowhere_whether_right_wrong_or_encoded(
    tmp: Path, caplog: pytest.LogCaptureFixture
) -> None:
    right = "p%40ss:w0rd-of-it"
    caplog.set_level(logging.DEBUG)

    async def scenario(port: int) -> list[str]:
        urls = tuple(
            f"redis://:{word}@127.0.0.1:{port}/0" for word in (right, WORD, "w%2Fr0ng-w0rd")
        )
        async with running(probe_redis=urls) as probes:
            target = f"redis:127.0.0.1:{port}/0"
            await until(lambda: gauges(probes, target).get(UP) == 1, "the right one")
            wrong = [f"{target}#{number}" for number in (2, 3)]
            await until(
                lambda: [gauges(probes, each) for each in wrong] == [{UP: 0}] * 2, "the others"
            )
            return [repr(probes.gauges()), repr(probes.measures())]

    with RedisServer(tmp, "--requirepass", "p@ss:w0rd-of-it") as server:
        server.start()
        shown = [*await scenario(server.port), caplog.text]
        assert "AuthenticationError" in caplog.text
    for piece in ("p%40ss", "p@ss", "w0rd-of-it", WORD, "r0ng"):
        assert [text for text in shown if piece in text] == []


@pytest.mark.parametrize(
    "url",
    [
        f"http://:{WORD}@h/0",
        f"redis://:{WORD}@:1/0",
        f"redis://h:{WORD}/0",
        WORD,
        f"redis://u:12/{WORD}@h/0",
    ],
)
def test_an_address_that_is_none_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError, match="probe_redis: expected redis://") as caught:
        RedisProbe(url)
    assert WORD not in repr(caught.getrepr(style="long"))
