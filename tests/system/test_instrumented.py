"""What happens inside an app is seen through the API, exactly counted, and none of its secrets."""

import json
import re
import sqlite3
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from support.processes.backends import PASSWORD
from support.processes.servers import App, short_dir, wait_for
from support.processes.stack import Stack, stack, uvicorn
from trimtab_core.batches import decode

SECRETS = [f"s3cret-{number:02}" for number in range(22)]
CARD, TOKEN = "4111111111111111", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzM2NyZXQifQ.c2VjcmV0LXNpZw"
PLANTED = [*SECRETS, CARD, TOKEN, PASSWORD, "path-s3cret", "query-s3cret", "cookie-s3cret",
           "body-s3cret", "agent-s3cret"]  # fmt: skip


@pytest.fixture(scope="module")
def system(redis_url: str, postgresql_dsn: str) -> Iterator[tuple[Stack, App]]:
    """Run an app over real servers, and send it the requests that the tests ask about."""
    with psycopg.connect(postgresql_dsn, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS things")
        connection.execute("CREATE TABLE things (id int, word text, name text)")
    with short_dir() as directory, stack(directory) as system:
        app = system.app(
            "instrumented",
            uvicorn(target="instrumented_target:app"),
            DSN=postgresql_dsn,
            REDIS=redis_url,
            TRIMTAB_SLOW_REQUEST_MS="250",
            TRIMTAB_SERVER_TIMING="1",
            TRIMTAB_CAPTURE_SHARE="0",
        )
        for _ in range(5):
            timing = ask(app, "/orders/1")
        assert "total;dur=" in timing
        assert 'desc="7 queries"' in timing
        ask(app, "/slow")
        ask(app, "/failing", expected=500)
        for number in range(10):
            ask(app, f"/cached/{number % 4}")
        for _ in range(3):
            ask(app, "/calls")
        ask(app, "/path-s3cret/17", expected=404)
        ask(app, "/planted?word=query-s3cret", body=b"body-s3cret")
        system.wait_booked("instrumented", 5 + 1 + 1 + 10 + 6 + 2)
        wait_for(lambda: read(system, "/external")["calls"]["count"] == 3, "the calls", 20)
        yield system, app


def ask(app: App, path: str, body: bytes | None = None, expected: int = 200) -> str:
    """Send a request full of secrets; returns its Server-Timing."""
    headers = {
        "Authorization": TOKEN,
        "Cookie": "id=cookie-s3cret",
        "User-Agent": "agent-s3cret",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    request = urllib.request.Request(app.url + path, body, headers)
    try:
        answer = urllib.request.urlopen(request, timeout=20)
    except urllib.error.HTTPError as error:
        answer = error
    with answer:
        assert answer.status == expected, answer.read()
        return str(answer.headers["server-timing"])


def read(system: Stack, path: str, **params: Any) -> Any:
    return system.collector.api.get(path, service="instrumented", from_="-10m", **params)


def test_queries_are_counted_and_told_apart_by_shape(system: tuple[Stack, App]) -> None:
    found = read(system[0], "/database")
    by_query = {each["query"]: each for each in found["statements"]}
    shape = next(query for query in by_query if query.startswith("SELECT name FROM things"))
    assert by_query[shape]["calls"]["count"] == 35
    assert by_query[shape]["system"] == "postgresql"
    assert by_query[shape]["services"] == ["instrumented"]
    slept = next(query for query in by_query if "pg_sleep" in query)
    assert 300 <= by_query[slept]["calls"]["max"] < 5_000
    failed = next(each for query, each in by_query.items() if "no_such_column" in query)
    assert sum(failed["errors"].values()) == failed["calls"]["errors"] == 1
    assert found["calls"]["count"] >= 35 + 1 + 1 + 6
    assert found["deadlocks"] == found["connectionErrors"] == 0


def test_slow_and_repeated_queries_have_their_route_and_line(system: tuple[Stack, App]) -> None:
    found = read(system[0], "/slow-queries", by="max")
    (slow,) = [each for each in found["last"] if "pg_sleep" in each["query"]]
    assert (slow["route"], slow["method"], slow["system"]) == ("/slow", "GET", "postgresql")
    assert slow["duration"] >= 300
    assert "instrumented_target.py:" in slow["site"]
    assert slow["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert found["worst"][0]["duration"] >= 300
    (repeated,) = found["nPlusOne"]
    assert (repeated["route"], repeated["most"], repeated["requests"]) == ("/orders/{id}", 7, 5)
    assert "instrumented_target.py:" in repeated["site"]
    assert "_orders" in repeated["site"]
    assert "pg_sleep" in found["statements"][0]["query"]


def test_queries_over_time_are_the_same_queries(system: tuple[Stack, App]) -> None:
    asked = {"name": "db.client.operation.duration", "attribute": "db.system.name=postgresql"}
    found = read(system[0], "/measures", groupBy="db.query.text", limit=50, **asked)
    statements = {
        each["query"]: each["calls"]["count"]
        for each in read(system[0], "/database")["statements"]
        if each["system"] == "postgresql"
    }
    over_time = {each["group"]["db.query.text"]: each for each in found["measures"]}
    assert {text: each["total"]["count"] for text, each in over_time.items()} == statements
    assert {each["unit"] for each in over_time.values()} == {"s"}
    for each in over_time.values():
        assert sum(step["count"] for step in each["series"]) == each["total"]["count"]


def test_requests_that_are_kept_are_chosen_by_status_and_method(system: tuple[Stack, App]) -> None:
    def routes(**query: str) -> set[str]:
        return {each["route"] for each in read(system[0], "/slow-requests", **query)["requests"]}

    assert routes(statusClass="5xx") == {"/failing"}
    assert "/slow" in routes(statusClass="2xx", method="GET")
    assert "/failing" not in routes(statusClass="2xx")
    assert routes(method="DELETE") == set()


def test_the_cache_is_seen_by_what_its_reads_found(system: tuple[Stack, App]) -> None:
    found = read(system[0], "/cache")
    assert (found["hits"], found["misses"]) == (6, 4)
    assert found["hitRate"] == 0.6
    assert {name: calls["count"] for name, calls in found["operations"].items()} == {
        "GET": 10,
        "SET": 4,
    }
    snapshot = read(system[0], "/routes", by="totalTime")["routes"]
    assert {each["route"] for each in snapshot} >= {"/cached/{key}", "/slow", "unmatched"}


def test_calls_to_others_are_seen_by_host(system: tuple[Stack, App]) -> None:
    found = read(system[0], "/external")
    (host,) = found["hosts"]
    assert (host["host"], host["port"]) == ("127.0.0.1", system[1].port)
    assert (host["calls"]["count"], host["statusCodes"]) == (3, {"200": 3})
    (method,) = host["methods"]
    assert (method["method"], method["status"], method["error"]) == ("GET", 200, None)
    assert method["calls"] == host["calls"]
    assert found["calls"]["errors"] == found["hostsLeftOut"] == 0


def test_own_metrics_are_added_up(system: tuple[Stack, App]) -> None:
    counter, histogram = read(system[0], "/custom")["metrics"]
    assert (counter["name"], counter["kind"], counter["labels"]) == (
        "instrumented.asked",
        "counter",
        {"by": "calls"},
    )
    assert (counter["value"], counter["instances"]) == (3, 1)
    assert (histogram["count"], histogram["max"], histogram["unit"]) == (3, 2.5, "By")
    assert histogram["p50"] == pytest.approx(2.5, rel=0.011)
    assert read(system[0], "/custom", name="instrumented.s*")["metrics"] == [histogram]


def test_queues_that_the_app_names_are_shown(system: tuple[Stack, App]) -> None:
    found = read(system[0], "/queues")["queues"]
    assert found == [{"queue": "webhook", "gauges": {"trimtab.queue.depth": 7.0}}]


def test_requests_are_told_where_their_time_went(system: tuple[Stack, App]) -> None:
    found = read(system[0], "/application")
    assert found["requests"] == 25
    assert found["databaseTime"] > 300 / 25
    assert found["queriesPerRequest"] >= 43 / 25
    slow = read(system[0], "/application", route="/slow")
    assert slow["databaseTime"] > 290


def test_slow_and_failed_requests_are_kept_whole(system: tuple[Stack, App]) -> None:
    found = read(system[0], "/slow-requests")["requests"]
    (failed,) = [each for each in found if each["reason"] == "failed"]
    assert (failed["route"], failed["status"], failed["error"]) == (
        "/failing",
        500,
        "ProgrammingError",
    )
    assert re.fullmatch(r"[\w/]+\.py:\d+ in _rows", failed["errorSite"])
    (slow,) = [each for each in found if each["route"] == "/slow"]
    assert (slow["reason"], slow["trace"]) == ("slow", "4bf92f3577b34da6a3ce929d0e0e4736")
    assert slow["database"]["time"] >= 300
    (span,) = [each for each in slow["timeline"] if "pg_sleep" in each["text"]]
    assert span["what"] == "db"
    assert 0 <= span["start"] <= slow["duration"] - span["duration"]


def test_all_paths_answer_on_both_of_their_names(system: tuple[Stack, App]) -> None:
    for path in ("application", "database", "cache", "external", "queues", "custom", "memory"):
        one, other = (read(system[0], f"{begin}/{path}") for begin in ("", "/metrics"))
        assert one.keys() == other.keys()
    assert read(system[0], "/metrics/system")["hosts"][0]["gauges"]["system.memory.limit"] > 0
    assert read(system[0], "/memory")["processes"][0]["gauges"]["process.memory.usage"] > 0


def test_no_secret_is_anywhere(system: tuple[Stack, App]) -> None:
    assert len(PLANTED) == 30
    running = system[0]
    said: dict[str, bytes] = {
        path: json.dumps(running.collector.api.get(path, from_="-10m")).encode()
        for path in (
            "/database", "/slow-queries", "/slow-requests", "/cache", "/external", "/queues",
            "/custom", "/application", "/services", "/routes", "/metrics", "/memory", "/system",
        )
    }  # fmt: skip
    said["log of the collector"] = running.collector.output().encode()
    said["log of the agent"] = running.agent.output().encode()
    # The app prints its own traceback, with what it asked for.
    ours = [line for line in system[1].output().splitlines() if "trimtab" in line]
    said["what trimtab says in the app"] = "\n".join(ours).encode()
    for directory in (running.collector.data, running.agent.data):
        for path in directory.rglob("*"):
            if path.is_file():
                said[path.name] = path.read_bytes()
    with closing(sqlite3.connect(running.collector.data / "metrics.db")) as store:
        for number, payload in store.execute("SELECT id, payload FROM journal"):
            batch = decode(payload)
            said[f"journal {number}"] = batch.rows + batch.series
    found = [
        (where, secret)
        for where, text in said.items()
        for secret in PLANTED
        if secret.encode() in text
    ]
    assert found == []
    assert sum("things" in text.decode("latin-1") for text in said.values()) > 3
    assert Path(running.agent.data).exists()
