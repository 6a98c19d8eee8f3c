"""GET /advice on pools and PostgreSQL: each rule with its evidence, without it, and blind."""

from collections.abc import Callable
from typing import Any

import pytest

from support.stores.planted import AdviceByRule, Planted
from trimtab_collector.reads.advice import ADVICE_RULES

SHOP = {"environment": "test", "service": "shop"}
POOL: dict[str, Any] = {"db_client_connection_pool_name": "postgresql"}
DATABASE = "postgresql:db:5432/shop"
SERVER = ("", "", DATABASE)
DURATION = "db.client.operation.duration"
Plant = Callable[[Planted], object]


@pytest.fixture
def planted() -> Planted:
    return Planted()


def test_nothing_measured_gives_no_advice_and_says_so_for_every_rule(planted: Planted) -> None:
    found = AdviceByRule(planted)
    assert (found.advice, found.fine) == ({}, set())
    assert set(found.reasons) == {rule.type for rule in ADVICE_RULES}


# ---------------------------------------------------------------- pools


def pool(planted: Planted, *, instance: str = "host#0", used: float = 1, **settings: float) -> None:
    of = ("test", "shop", instance)
    made = {"size": 5, "max_overflow": 10, "pre_ping": 1, "recycle": 1800, **settings}
    for name, value in made.items():
        planted.level(f"trimtab.db.pool.{name}", value, of=of, **POOL)
    most = made["size"] + max(0, made["max_overflow"])
    planted.level("db.client.connection.max", most, of=of, **POOL)
    planted.level("db.client.connection.count", used, of=of, db_client_connection_state="used",
                  **POOL)  # fmt: skip


def waits(planted: Planted) -> None:
    pool(planted)
    planted.durations("db.client.connection.wait_time", 0.05, each=30, **POOL)


def timeouts(planted: Planted) -> None:
    pool(planted)
    planted.counter("db.client.connection.timeouts", 2, **POOL)


def test_a_pool_that_is_sound_is_fine(planted: Planted) -> None:
    pool(planted)
    found = AdviceByRule(planted)
    assert found.advice == {}
    assert found.fine == {"pool_size", "pool_pre_ping", "pool_recycle"}


@pytest.mark.parametrize(
    ("plant", "priority"),
    [
        (waits, "medium"),
        (timeouts, "high"),
        (lambda each: pool(each, used=14), "medium"),
    ],
    ids=["waits", "time-outs", "use"],
)
def test_a_small_pool_is_enlarged_when_requests_wait_for_it(
    planted: Planted, plant: Plant, priority: str
) -> None:
    plant(planted)
    item = AdviceByRule(planted).advice["pool_size"]
    assert (item["priority"], item["effort"], item["area"]) == (priority, "low", "pool")
    assert item["where"] == {**SHOP, "target": "postgresql"}
    assert item["set"] == "pool_size 5, max_overflow 10 (processes: 1)"
    assert item["change"].startswith("pool_size 20, max_overflow 30 (50 connections")
    assert item["commands"] == ["create_engine(url, pool_size=20, max_overflow=30)"]
    assert len(item["evidence"]) == 1


def test_a_pool_of_the_advised_size_is_not_enlarged_further(planted: Planted) -> None:
    pool(planted, size=20, max_overflow=30)
    planted.durations("db.client.connection.wait_time", 0.05, each=30, **POOL)
    assert "pool_size" in AdviceByRule(planted).fine


def test_a_pool_is_enlarged_only_as_far_as_the_server_has_room(planted: Planted) -> None:
    waits(planted)
    for number in range(1, 4):
        pool(planted, instance=f"host#{number}")
    planted.gauge("postgresql.connection.max", 100, of=DATABASE)
    item = AdviceByRule(planted).advice["pool_size"]
    assert item["change"].startswith("pool_size 8, max_overflow 14 (88 connections")
    for number in range(4, 6):
        pool(planted, instance=f"host#{number}")
    assert "pool_size" in AdviceByRule(planted).fine, "90 are in use by 6 processes"


def test_a_pool_without_a_ping_is_urgent_once_connections_were_lost(planted: Planted) -> None:
    pool(planted, pre_ping=0, recycle=-1)
    found = AdviceByRule(planted).advice
    assert found["pool_pre_ping"]["priority"] == found["pool_recycle"]["priority"] == "low"
    assert found["pool_recycle"]["set"] == "pool_recycle off: connections live for ever"
    planted.durations(DURATION, 0.1, each=3, db_query_text="SELECT ?", error_type="connection")
    found = AdviceByRule(planted).advice
    assert found["pool_pre_ping"]["priority"] == "high"
    assert found["pool_recycle"]["priority"] == "medium"
    assert found["pool_pre_ping"]["evidence"][0]["text"].endswith("connection was gone: 3")


@pytest.mark.parametrize(
    ("recycle", "fires"), [(-1, True), (3601, True), (3600, False), (60, False)]
)
def test_connections_are_to_be_replaced_within_the_hour(
    planted: Planted, recycle: float, fires: bool
) -> None:
    pool(planted, recycle=recycle)
    assert ("pool_recycle" in AdviceByRule(planted).advice) is fires


@pytest.mark.parametrize(("limit", "fires"), [(32, True), (33, False)])
def test_all_pools_together_are_compared_with_the_limit_of_the_server(
    planted: Planted, limit: float, fires: bool
) -> None:
    for number in range(2):
        pool(planted, instance=f"host#{number}")
    planted.gauge("postgresql.connection.max", limit, of=DATABASE)
    item = AdviceByRule(planted).advice.get("pools_beyond_server")
    assert (item is not None) is fires
    if item:
        assert item["priority"] == "high"
        assert item["set"] == "pools may open 30 connections; the server allows 32"


def test_pools_of_an_older_app_are_not_looked_at(planted: Planted) -> None:
    planted.level("db.client.connection.max", 15, **POOL)
    assert "older" in AdviceByRule(planted).reasons["pool_size"]


# ---------------------------------------------------------------- PostgreSQL


def probed(planted: Planted, **settings: float) -> None:
    planted.gauge("postgresql.backends", 3, 3, of=DATABASE)
    for name, value in settings.items():
        planted.gauge(f"postgresql.setting.{name}", value, value, of=DATABASE)


@pytest.mark.parametrize(
    ("seconds", "says"),
    [(0, "statement_timeout off"), (45, "statement_timeout 45 s"), (30, None), (5, None)],
)
def test_statements_are_to_end_after_half_a_minute(
    planted: Planted, seconds: float, says: str | None
) -> None:
    probed(planted, statement_timeout=seconds)
    found = AdviceByRule(planted)
    if says is None:
        assert "statement_timeout" in found.fine
    else:
        item = found.advice["statement_timeout"]
        assert item["set"].startswith(says)
        assert item["commands"] == ["ALTER DATABASE shop SET statement_timeout = '30s';"]


@pytest.mark.parametrize(
    ("values", "says"),
    [((0,), "command_timeout off"), ((60, 0), "command_timeout off"),
     ((90,), "command_timeout 90 s"), ((60,), None)],
)  # fmt: skip
def test_commands_of_asyncpg_are_to_end_after_a_minute(
    planted: Planted, values: tuple[float, ...], says: str | None
) -> None:
    planted.level("trimtab.db.command_timeout", *values, db_system_name="postgresql")
    found = AdviceByRule(planted)
    item = found.advice.get("command_timeout")
    assert (item["set"] if item else None) == says
    assert ("command_timeout" in found.fine) is (says is None)


def statements(planted: Planted, seconds: float, count: int = 100, text: str = "SELECT $1") -> None:
    planted.durations("postgresql.statement.duration", seconds, each=count, of=SERVER,
                      db_query_text=text)  # fmt: skip


def test_the_compiler_is_to_be_off_where_statements_are_short(planted: Planted) -> None:
    probed(planted, jit=1)
    assert "pg_stat_statements" in AdviceByRule(planted).reasons["jit_off"]
    statements(planted, 0.01)
    item = AdviceByRule(planted).advice["jit_off"]
    assert item["commands"] == ["ALTER DATABASE shop SET jit = off;"]
    assert item["evidence"][0]["text"] == "100 statements, 10.0 ms each on average"


@pytest.mark.parametrize(("jit", "seconds"), [(0, 0.01), (1, 0.5)], ids=["off", "long statements"])
def test_the_compiler_is_left_alone_otherwise(planted: Planted, jit: float, seconds: float) -> None:
    probed(planted, jit=jit)
    statements(planted, seconds)
    assert "jit_off" in AdviceByRule(planted).fine


def table(planted: Planted, *, rows: float, changed: float = 0, scans: float = 0) -> None:
    whose: dict[str, Any] = {"of": SERVER, "postgresql_table_name": "public.orders"}
    for figure, value in (("rows", rows), ("modified_rows", changed)):
        planted.level(f"postgresql.table.{figure}", value, **whose)
    if scans:
        for figure, value in (("scans", scans), ("rows", scans * rows)):
            planted.counter(f"postgresql.table.sequential_{figure}", value, **whose)


@pytest.mark.parametrize(
    ("rows", "changed", "fires"),
    [(10_000, 2_000, True), (10_000, 1_999, False), (100, 999, False), (100, 1_000, True)],
)
def test_statistics_are_to_be_taken_anew_after_many_changes(
    planted: Planted, rows: float, changed: float, fires: bool
) -> None:
    table(planted, rows=rows, changed=changed)
    found = AdviceByRule(planted)
    assert ("analyze" in found.advice) is fires
    if fires:
        assert found.advice["analyze"]["commands"] == ["ANALYZE public.orders;"]
    else:
        assert "analyze" in found.fine


def test_an_index_is_suggested_for_what_reads_a_table_as_a_whole(planted: Planted) -> None:
    table(planted, rows=50_000, scans=20)
    item = AdviceByRule(planted).advice["missing_index"]
    assert item["commands"] == [], "no statement is known"
    assert item["set"] == "20 scans read 50,000 rows each of a table of 50,000"
    statements(planted, 0.2, text="SELECT * FROM orders WHERE customer_id = $1 AND at > $2")
    statements(planted, 0.1, text="SELECT * FROM other WHERE id = $1")
    found = AdviceByRule(planted)
    item = found.advice["missing_index"]
    assert item["commands"] == ["CREATE INDEX CONCURRENTLY ON public.orders (customer_id, at);"]
    assert item["evidence"][0]["query"].startswith("SELECT * FROM orders WHERE")
    assert "partial_index" in found.fine


@pytest.mark.parametrize(
    ("columns", "command"),
    [
        ("at, customer_id, id", None),
        ("customer_id", "(customer_id, at)"),
        ("id, customer_id, at", "(customer_id, at)"),
        ('"AT", customer_id', "(customer_id, at)"),
    ],
)
def test_an_index_that_is_there_is_named_and_not_suggested_again(
    planted: Planted, columns: str, command: str | None
) -> None:
    table(planted, rows=50_000, scans=20)
    statements(planted, 0.2, text="SELECT * FROM orders WHERE Customer_id = $1 AND at > $2")
    planted.level(
        "postgresql.index.size", 1e6, of=SERVER, postgresql_index_columns=columns,
        postgresql_index_name="public.by_at", postgresql_table_name="public.orders",
    )  # fmt: skip
    item = AdviceByRule(planted).advice["missing_index"]
    commands = " ".join(item["commands"]).lower()
    assert command is None or command in commands
    assert bool(commands) is (command is not None)
    assert any("public.by_at" in each["text"] for each in item["evidence"]) is (command is None)


@pytest.mark.parametrize(("rows", "scans"), [(9_000, 100), (50_000, 9)], ids=["small", "seldom"])
def test_small_tables_and_rare_scans_need_no_index(
    planted: Planted, rows: float, scans: float
) -> None:
    table(planted, rows=rows, scans=scans)
    assert {"missing_index", "partial_index"} <= AdviceByRule(planted).fine


@pytest.mark.parametrize(
    ("where", "index"),
    [
        ("paid_at IS NULL AND customer = $1", "(customer) WHERE paid_at IS NULL"),
        ("paid_at IS NULL", "(paid_at) WHERE paid_at IS NULL"),
        ("NOT done", "(done) WHERE NOT done"),
    ],
)
def test_a_partial_index_is_suggested_for_a_condition_that_is_always_there(
    planted: Planted, where: str, index: str
) -> None:
    table(planted, rows=50_000, scans=20)
    statements(planted, 0.2, text=f"SELECT * FROM orders WHERE {where}")
    item = AdviceByRule(planted).advice["partial_index"]
    assert item["commands"] == [f"CREATE INDEX CONCURRENTLY ON public.orders {index};"]


@pytest.mark.parametrize(("size", "priority"), [(200e6, "medium"), (2e6, "low"), (0.5e6, None)])
def test_large_indexes_without_use_are_to_be_dropped(
    planted: Planted, size: float, priority: str | None
) -> None:
    probed(planted)
    planted.level(
        "postgresql.index.unused.size", size, of=SERVER, postgresql_index_name="public.by_day",
        postgresql_table_name="public.orders",
    )  # fmt: skip
    found = AdviceByRule(planted)
    item = found.advice.get("unused_index")
    assert (item["priority"] if item else None) == priority
    if item:
        assert item["commands"] == ["DROP INDEX CONCURRENTLY public.by_day;"]
    else:
        assert "unused_index" in found.fine


# ---------------------------------------------------------------- the whole


def test_the_most_urgent_advice_comes_first_and_the_rest_is_counted(planted: Planted) -> None:
    pool(planted, pre_ping=0)
    planted.counter("db.client.connection.timeouts", 2, **POOL)
    found = planted.ask("/advice", limit=1)
    assert [each["type"] for each in found["advice"]] == ["pool_size"]
    assert found["adviceLeftOut"] == 1


def test_advice_is_given_for_the_service_asked_for(planted: Planted) -> None:
    pool(planted, pre_ping=0)
    assert AdviceByRule(planted, service="books").advice == {}
    assert set(AdviceByRule(planted, service="shop").advice) == {"pool_pre_ping"}


def test_servers_are_looked_at_for_every_service(planted: Planted) -> None:
    probed(planted, statement_timeout=0)
    table(planted, rows=50_000, scans=20)
    expected = {"statement_timeout", "missing_index"}
    assert set(AdviceByRule(planted, service="books").advice) == expected
    assert set(AdviceByRule(planted, instance=DATABASE).advice) == expected
    assert AdviceByRule(planted, instance="host#0").advice == {}


def test_advice_comes_in_korean(planted: Planted) -> None:
    pool(planted, pre_ping=0)
    item = AdviceByRule(planted, lang="ko").advice["pool_pre_ping"]
    assert item["title"] == "사용 전 연결 확인: postgresql (shop)"
    assert item["commands"] == ["create_engine(url, pool_pre_ping=True)"]


def test_what_could_not_be_looked_at_is_counted_beyond_the_limit(planted: Planted) -> None:
    found = planted.ask("/advice", limit=3)
    assert (len(found["notLookedAt"]), found["notLookedAtLeftOut"]) == (3, len(ADVICE_RULES) - 3)
