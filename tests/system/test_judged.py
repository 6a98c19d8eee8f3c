"""An app over real servers is judged and advised, with its own lines as evidence."""

import json
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from support.processes.api import TOKEN
from support.processes.backends import new_database
from support.processes.servers import short_dir, wait_for
from support.processes.stack import Stack, stack, uvicorn

SHOP = {"environment": "default", "service": "judged"}
EXPECTED = {
    *("slow_queries", "low_cache_hit_rate", "n_plus_one"),
    *("pool_size", "pool_pre_ping", "pool_recycle", "statement_timeout"),
}


@pytest.fixture(scope="module")
def system(redis_url: str, postgresql_dsn: str) -> Iterator[Stack]:
    """Run the app, do to it what is wrong with it, and wait until all of that has arrived."""
    with ExitStack() as exits:
        dsn = exits.enter_context(new_database(postgresql_dsn))
        connection = exits.enter_context(psycopg.connect(dsn, autocommit=True))
        connection.execute("CREATE TABLE things (id int, word text)")
        directory = exits.enter_context(short_dir())
        probes = {
            "TRIMTAB_AGENT_PROBE_S": "1",
            "TRIMTAB_AGENT_PROBE_POSTGRESQL": dsn,
            "TRIMTAB_AGENT_PROBE_REDIS": redis_url,
        }
        system = exits.enter_context(stack(directory, **probes))
        target = uvicorn(target="judged_target:app")
        app = system.app("judged", target, DSN=dsn, REDIS=redis_url)

        def ask(path: str) -> None:
            with urllib.request.urlopen(app.url + path, timeout=30) as answer:
                assert answer.status == 200

        with ThreadPoolExecutor(20) as pool:
            list(pool.map(ask, ["/report"] * 20))
        for path in ["/orders"] * 4 + ["/cached"] * 2:
            ask(path)
        system.wait_booked("judged", 26)
        # Measures come in batches of their own.
        wait_for(lambda: judged(system) >= EXPECTED, "all that is wrong", 20)
        yield system


def read(system: Stack, path: str, **params: object) -> Any:
    return system.collector.api.get(path, from_="-10m", **params)


def found(rows: Any) -> dict[str, Any]:
    return {each["type"]: each for each in rows}


def judged(system: Stack) -> set[str]:
    """Return the types of all issues and pieces of advice."""
    issues = read(system, "/analysis", service="judged")["issues"]
    return {each["type"] for each in (*issues, *read(system, "/advice")["advice"])}


def test_the_analysis_finds_what_is_wrong_and_the_lines_it_comes_from(system: Stack) -> None:
    answer = read(system, "/analysis", service="judged")
    # A busy machine may add a high issue of its own.
    assert answer["status"] in ("warning", "critical")
    issues = found(answer["issues"])
    assert {"slow_queries", "low_cache_hit_rate", "n_plus_one"} <= set(issues)
    slow = issues["slow_queries"]
    assert slow["where"] == SHOP
    assert slow["metrics"]["slowQueries"] == 20
    assert slow["metrics"]["queryTime"] > 500
    (evidence, *_) = slow["evidence"]
    assert evidence["query"].startswith("SELECT pg_sleep(")
    assert "judged_target.py:" in evidence["site"]
    assert evidence["where"]["route"] == "/report"
    assert issues["low_cache_hit_rate"]["metrics"] == {"hitRate": 0, "missRate": 1}
    repeated = issues["n_plus_one"]
    assert repeated["metrics"]["queries"] == 8
    assert repeated["evidence"][0]["query"] == "SELECT id FROM things WHERE word = ?"
    unjudged = found(answer["notJudged"])
    assert "requests in the range: 26" in unjudged["high_latency"]["reason"]


def test_the_advisor_knows_what_is_set_in_app_and_server(system: Stack) -> None:
    advice_by_rule = found(read(system, "/advice")["advice"])
    pool = advice_by_rule["pool_size"]
    assert pool["where"] == {**SHOP, "target": "postgresql"}
    assert pool["set"].startswith("pool_size 4, max_overflow 0")
    assert advice_by_rule["pool_pre_ping"]["set"] == "pool_pre_ping off"
    assert advice_by_rule["pool_recycle"]["set"].startswith("pool_recycle off")
    assert "off" in advice_by_rule["statement_timeout"]["set"]


def test_what_could_not_be_looked_at_is_named(system: Stack) -> None:
    reasons = {each["type"]: each["reason"] for each in read(system, "/advice")["notLookedAt"]}
    assert "no Celery was measured" in reasons["celery_prefetch"]
    assert "no calls over HTTP" in reasons["http_timeout"]


@pytest.mark.parametrize("path", ["/analysis", "/advice"])
def test_the_header_chooses_the_language(system: Stack, path: str) -> None:
    request = urllib.request.Request(
        f"{system.collector.api.base}{path}?from=-10m",
        headers={"Authorization": f"Bearer {TOKEN}", "Accept-Language": "ko-KR,ko;q=0.9"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = json.dumps(json.load(answer)["data"], ensure_ascii=False)
    assert "쿼리" in text or "연결 풀" in text
