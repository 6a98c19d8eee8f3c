"""GET /analysis: each rule fires on its evidence, and stays silent without it."""

from typing import Any

import pytest

from support.stores.planted import Planted
from trimtab_collector.contract.analysis import Place
from trimtab_collector.reads import analysis as analyses
from trimtab_collector.reads.judging.findings import LOW, MEDIUM, FoundIssue, IssueRule
from trimtab_collector.reads.judging.wording import PHRASES

SHOP = {"environment": "test", "service": "shop"}
DURATION = "db.client.operation.duration"
QUERY: dict[str, Any] = {
    "db_query_text": "SELECT * FROM orders WHERE customer = ?",
    "db_system_name": "postgresql",
}
POOL: dict[str, Any] = {"db_client_connection_pool_name": "postgresql"}


@pytest.fixture
def planted() -> Planted:
    return Planted()


def issues(planted: Planted, **query: object) -> dict[str, Any]:
    return {each["type"]: each for each in planted.ask("/analysis", **query)["issues"]}


def near(value: float) -> Any:
    return pytest.approx(value, rel=0.011)


# ---------------------------------------------------------------- the whole


def test_nothing_measured_is_healthy_and_says_what_was_not_judged(planted: Planted) -> None:
    found = planted.ask("/analysis")
    assert (found["status"], found["issues"], found["services"]) == ("healthy", [], [])
    assert {each["type"] for each in found["notJudged"]} == {
        "slow_queries", "low_cache_hit_rate", "high_cpu_usage", "high_memory_usage", "queue_growth"
    }  # fmt: skip


def test_a_medium_issue_is_a_warning_and_a_high_one_critical(planted: Planted) -> None:
    planted.durations(DURATION, 0.6, each=100, **QUERY)
    found = planted.ask("/analysis")
    assert (found["status"], found["services"][0]["status"]) == ("warning", "warning")
    planted.requests(1500, each=100)
    found = planted.ask("/analysis")
    assert (found["status"], found["services"][0]["status"]) == ("critical", "critical")
    assert [each["severity"] for each in found["issues"]] == ["high", "medium"]
    assert [(each["type"], each["priority"]) for each in found["recommendations"]] == [
        ("optimize_routes", "high"), ("optimize_queries", "medium")
    ]  # fmt: skip


def test_a_new_rule_is_a_row_and_its_texts(
    planted: Planted, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiet = IssueRule(
        "too_quiet", "ring_bell", LOW, lambda _: [FoundIssue(MEDIUM, {}, Place(service="shop"))]
    )
    monkeypatch.setattr(analyses, "ISSUE_RULES", (quiet,))
    for key in ("issue.too_quiet.what", "issue.too_quiet.do", "recommend.ring_bell.what",
                "recommend.ring_bell.impact"):  # fmt: skip
        monkeypatch.setitem(PHRASES._texts["en"], key, key)
    found = planted.ask("/analysis")
    assert [each["type"] for each in found["issues"]] == ["too_quiet"]
    assert found["services"][0]["issues"] == ["too_quiet"]
    assert found["recommendations"] == [
        {"type": "ring_bell", "priority": "medium", "description": "recommend.ring_bell.what",
         "impact": "recommend.ring_bell.impact", "effort": "low"}
    ]  # fmt: skip


def test_a_low_issue_leaves_a_service_healthy(planted: Planted) -> None:
    for _ in range(3):
        planted.event("n_plus_one", query="SELECT ?", site="a.py:1", count=6, duration_us=9_000)
    found = planted.ask("/analysis")
    assert [each["severity"] for each in found["issues"]] == ["low"]
    assert found["status"] == "healthy"


def test_a_service_that_is_slow_does_not_make_another_one_ill(planted: Planted) -> None:
    planted.requests(1500, each=100)
    planted.requests(5, each=100, service="books")
    found = planted.ask("/analysis")
    assert {each["service"]: each["status"] for each in found["services"]} == {
        "books": "healthy", "shop": "critical"
    }  # fmt: skip
    assert planted.ask("/analysis", service="books")["status"] == "healthy"


def test_more_issues_than_the_limit_are_counted(planted: Planted) -> None:
    for number in range(4):
        planted.requests(1500, each=100, service=f"shop{number}")
    found = planted.ask("/analysis", limit=3)
    assert (len(found["issues"]), found["issuesLeftOut"]) == (3, 1)


# ---------------------------------------------------------------- rules of requests


def test_high_latency_is_a_p99_over_a_second(planted: Planted) -> None:
    planted.requests(*[20] * 90, *[400] * 8, *[1500] * 2)
    found = issues(planted)["high_latency"]
    assert found["severity"] == "high"
    assert found["where"] == SHOP
    assert found["metrics"] == {"p99": near(1500), "p90": near(20), "p50": near(20)}


def test_a_p99_of_a_second_is_not_high(planted: Planted) -> None:
    planted.requests(*[20] * 98, *[950] * 2)
    assert issues(planted) == {}


def test_a_handful_of_slow_requests_is_not_judged(planted: Planted) -> None:
    planted.requests(5000, each=99)
    found = planted.ask("/analysis")
    assert found["issues"] == []
    unjudged = {each["type"]: each for each in found["notJudged"]}
    assert unjudged["high_latency"]["where"] == SHOP
    assert "99" in unjudged["high_latency"]["reason"]


def test_high_latency_names_the_route_and_the_process_with_the_slow_requests(
    planted: Planted,
) -> None:
    planted.requests(1500, each=50, route="/checkout", method="POST", instance="host#1",
                     sums={"db_us": 60_000_000}.items())  # fmt: skip
    planted.requests(5, each=200, route="/items/{id}")
    slow, process, time = issues(planted)["high_latency"]["evidence"]
    assert slow["where"] == {**SHOP, "route": "/checkout", "method": "POST"}
    assert slow["text"].startswith("50 of 50 requests took longer than 1 s (100% of the slow ones)")
    assert process["where"] == {**SHOP, "instance": "host#1"}
    assert "queries have 79%" in time["text"]


@pytest.mark.parametrize(("errors", "severity"), [(4, None), (6, "medium"), (11, "high")])
def test_errors_are_judged_by_their_share(
    planted: Planted, errors: int, severity: str | None
) -> None:
    planted.requests(5, each=100 - errors)
    planted.requests(5, each=errors, errors=errors, status_class="5xx", route="/pay")
    found = issues(planted).get("high_error_rate")
    assert (found["severity"] if found else None) == severity
    if found:
        assert found["metrics"]["errorRate"] == errors / 100
        assert found["evidence"][0]["where"]["route"] == "/pay"


def test_a_high_error_rate_names_the_exceptions_and_their_lines(planted: Planted) -> None:
    planted.requests(5, each=100, errors=100, status_class="5xx", route="/pay")
    pay: dict[str, Any] = {"route": "/pay", "method": "POST", "reason": "failed"}
    for error, site, count in (
        ("LookupError", "shop/pay.py:40 in charge", 3),
        ("LookupError", "shop/pay.py:71 in refund", 2),
        ("KeyError", "", 1),  # an app of an earlier version tells no line
        ("", "", 9),  # answered with 500 by the app itself
    ):
        line: dict[str, Any] = {"error_site": site} if site else {}
        for _ in range(count):
            planted.event("request", error=error, **pay, **line)
    planted.event("request", error="SlowError", **{**pay, "reason": "slow"})
    planted.event("request", error="OtherError", of=("test", "books", "host#0"), **pay)
    part, *found = issues(planted)["high_error_rate"]["evidence"]
    assert part["text"] == "100 of 100 requests failed"
    assert [(each["text"].partition(":")[0], each.get("site")) for each in found] == [
        ("LookupError", "shop/pay.py:40 in charge"),
        ("LookupError", "shop/pay.py:71 in refund"),
        ("KeyError", None),
    ]
    assert found[0]["text"] == "LookupError: 3 of 6 exceptions of requests that were kept"
    assert found[0]["where"] == {**SHOP, "route": "/pay", "method": "POST"}


def test_a_failed_request_that_was_kept_says_where(planted: Planted) -> None:
    failed: dict[str, Any] = {"route": "/pay", "reason": "failed", "error": "LookupError"}
    planted.event("request", error_site="shop/pay.py:40 in charge", **failed)
    planted.event("request", **failed)  # an app of an earlier version
    found = planted.ask("/slow-requests", reason="failed")["requests"]
    assert {(each["error"], each["errorSite"]) for each in found} == {
        ("LookupError", "shop/pay.py:40 in charge"), ("LookupError", None)
    }  # fmt: skip


def test_slow_queries_are_a_p90_over_half_a_second(planted: Planted) -> None:
    planted.durations(DURATION, *[0.01] * 80, *[0.6] * 20, **QUERY)
    found = issues(planted)["slow_queries"]
    assert found["severity"] == "medium"
    assert found["metrics"] == {"queryTime": near(600), "slowQueries": 20}


def test_slow_queries_name_the_statement_and_its_line(planted: Planted) -> None:
    planted.durations(DURATION, 0.6, each=50, **QUERY)
    planted.durations(DURATION, 0.7, each=2, **{**QUERY, "db_query_text": "DELETE FROM carts"})
    planted.event("slow_query", query=QUERY["db_query_text"], site="shop/orders.py:41 in orders",
                  route="/orders", method="GET", duration_us=600_000)  # fmt: skip
    first, second = issues(planted)["slow_queries"]["evidence"]
    assert first["query"] == QUERY["db_query_text"]
    assert first["site"] == "shop/orders.py:41 in orders"
    assert first["where"] == {**SHOP, "route": "/orders", "method": "GET"}
    assert second["query"] == "DELETE FROM carts"
    assert "site" not in second


@pytest.mark.parametrize("count", [10, 19])
def test_few_queries_are_not_judged(planted: Planted, count: int) -> None:
    planted.durations(DURATION, 3, each=count, **QUERY)
    assert issues(planted) == {}


def test_commands_of_redis_are_no_queries(planted: Planted) -> None:
    planted.durations(DURATION, 3, each=100, db_system_name="redis", db_operation_name="GET")
    assert issues(planted) == {}


@pytest.mark.parametrize(("hits", "fires"), [(79, True), (80, False)])
def test_a_cache_is_judged_by_its_hit_rate(planted: Planted, hits: int, fires: bool) -> None:
    planted.counter("trimtab.cache.hits", hits, level="redis")
    planted.counter("trimtab.cache.misses", 100 - hits, level="redis")
    found = issues(planted)
    assert set(found) == ({"low_cache_hit_rate"} if fires else set())
    if fires:
        assert found["low_cache_hit_rate"]["severity"] == "medium"
        assert found["low_cache_hit_rate"]["metrics"] == {
            "hitRate": 0.79, "missRate": pytest.approx(0.21)
        }  # fmt: skip


def test_a_cache_without_traffic_is_not_judged(planted: Planted) -> None:
    planted.counter("trimtab.cache.misses", 99, level="redis")
    assert issues(planted) == {}


def test_a_redis_is_judged_by_its_own_counters_where_no_app_tells_its_reads(
    planted: Planted,
) -> None:
    server = "redis:cache:6379/0"
    planted.gauge("redis.keyspace.hits", 1_000, 1_100, 1_200, of=server)
    planted.gauge("redis.keyspace.misses", 5_000, 5_500, 5_800, of=server)
    found = issues(planted)["low_cache_hit_rate"]
    assert found["where"] == {"target": server}
    assert found["metrics"]["hitRate"] == pytest.approx(0.2)
    planted.counter("trimtab.cache.hits", 500, level="redis")
    assert issues(planted) == {}


def test_repeated_queries_are_an_issue_once_several_requests_have_them(planted: Planted) -> None:
    event: dict[str, Any] = {
        "query": "SELECT ?",
        "site": "shop/items.py:7 in items",
        "route": "/items",
        "method": "GET",
        "count": 40,
        "duration_us": 120_000,
    }
    for _ in range(2):
        planted.event("n_plus_one", **event)
    assert issues(planted) == {}
    planted.event("n_plus_one", **event)
    found = issues(planted)["n_plus_one"]
    assert found["severity"] == "medium"
    assert found["metrics"] == {"queries": 40, "queryTime": 120, "requests": 3}
    assert found["evidence"][0]["site"] == "shop/items.py:7 in items"


# ---------------------------------------------------------------- rules of machines


def test_cpu_is_judged_by_its_mean(planted: Planted) -> None:
    planted.gauge("system.cpu.utilization", 0.9, 0.7, 0.85, 0.9)
    planted.gauge("process.cpu.utilization", 1.5, 1.7, of="test/shop/host#0")
    found = issues(planted)["high_cpu_usage"]
    assert found["severity"] == "high"
    assert found["metrics"] == {"usage": pytest.approx(0.8375), "throttling": None}
    assert found["where"] == {"instance": "host"}
    assert found["evidence"][1]["text"] == "1.60 CPUs on average"


def test_a_peak_of_the_cpu_is_no_issue(planted: Planted) -> None:
    planted.gauge("system.cpu.utilization", 0.3, 1.0, 0.3, 0.3)
    assert issues(planted) == {}


def test_the_cpu_of_a_container_counts_and_not_that_of_its_host(planted: Planted) -> None:
    planted.gauge("system.cpu.utilization", 0.2, 0.2, 0.2)
    planted.gauge("container.cpu.utilization", 0.95, 0.95, 0.95)
    planted.gauge("container.cpu.throttled", 0.4, 0.4, 0.4)
    found = issues(planted)["high_cpu_usage"]["metrics"]
    assert found == {"usage": pytest.approx(0.95), "throttling": pytest.approx(0.4)}


@pytest.mark.parametrize(("share", "severity"), [(0.79, None), (0.8, "medium"), (0.9, "high")])
def test_memory_is_judged_by_its_share(
    planted: Planted, share: float, severity: str | None
) -> None:
    planted.gauge("container.memory.utilization", share, share, share)
    planted.gauge("container.memory.limit", 1e9)
    planted.gauge("process.memory.usage", 1e8, 2e8, 4e8, of="test/shop/host#0")
    found = issues(planted).get("high_memory_usage")
    assert (found["severity"] if found else None) == severity
    if found:
        assert found["metrics"] == {"usage": share, "used": None, "limit": 1e9}
        assert found["evidence"][0]["text"] == "381 MiB, +286 MiB in the range"


@pytest.mark.parametrize(("delay", "severity"), [(0.009, None), (0.01, "medium"), (0.05, "high")])
def test_a_loop_is_judged_by_its_mean_delay(
    planted: Planted, delay: float, severity: str | None
) -> None:
    planted.gauge("trimtab.app.loop_delay", delay, delay, delay, of="test/shop/host#0")
    found = issues(planted).get("event_loop_delay")
    assert (found["severity"] if found else None) == severity
    if found:
        assert found["metrics"]["delay"] == pytest.approx(delay * 1000)


def fill_pool(planted: Planted, used: float) -> None:
    planted.level("db.client.connection.max", 15, **POOL)
    planted.level("db.client.connection.count", used, db_client_connection_state="used", **POOL)


@pytest.mark.parametrize(("used", "fires"), [(11, False), (12, True)])
def test_a_pool_is_judged_by_its_use(planted: Planted, used: float, fires: bool) -> None:
    fill_pool(planted, used)
    found = issues(planted).get("pool_saturation")
    assert (found["severity"] if found else None) == ("medium" if fires else None)


def test_waits_and_time_outs_of_a_pool_are_issues(planted: Planted) -> None:
    fill_pool(planted, 3)
    planted.durations("db.client.connection.wait_time", 0.2, each=20, **POOL)
    found = issues(planted)["pool_saturation"]
    assert (found["severity"], found["metrics"]["waitP90"]) == ("medium", near(200))
    planted.counter("db.client.connection.timeouts", 2, **POOL)
    planted.gauge("postgresql.backends.idle_in_transaction", 2, 4, of="postgresql:db:5432/shop")
    found = issues(planted)["pool_saturation"]
    assert found["evidence"][-1]["text"].startswith("3.0 connections on average hold")
    assert (found["severity"], found["metrics"]["timeouts"]) == ("high", 2)


GROWS = [300, 310, 320, 340, 380, 420, 460, 500, 540, 580, 620, 660]


@pytest.mark.parametrize(
    ("depths", "severity"),
    [
        (GROWS, "medium"),
        ([depth - 250 for depth in GROWS], "high"),
        ([depth / 10 for depth in GROWS], None),
        (GROWS[::-1], None),
        ([500] * 12, None),
        (GROWS[-3:], None),
        ([*GROWS[:-1], 20], None),
    ],
    ids=["grows", "threefold", "small", "shrinks", "stays", "too short", "worked off"],
)
def test_a_queue_is_judged_by_its_growth(
    planted: Planted, depths: list[float], severity: str | None
) -> None:
    planted.gauge("trimtab.queue.depth", *depths, of="queue:mail")
    found = issues(planted).get("queue_growth")
    assert (found["severity"] if found else None) == severity


def test_a_queue_that_an_app_names_is_judged_as_well(planted: Planted) -> None:
    for instance in ("host#0", "host#1"):
        planted.level("trimtab.queue.depth", *GROWS, of=("test", "shop", instance),
                      messaging_destination_name="notifications")  # fmt: skip
    found = issues(planted)["queue_growth"]
    assert found["where"] == {**SHOP, "target": "queue:notifications"}
    assert found["metrics"]["depth"] == 1320


# ---------------------------------------------------------------- filters, languages, sentences


def test_a_host_is_asked_for_by_the_processes_on_it(planted: Planted) -> None:
    planted.requests(5, each=10)
    planted.gauge("system.cpu.utilization", 0.9, 0.9, 0.9, of="host")
    planted.gauge("system.cpu.utilization", 0.95, 0.95, 0.95, of="another")
    found = planted.ask("/analysis", service="shop")["issues"]
    assert [each["where"] for each in found] == [{"instance": "host"}]
    assert len(planted.ask("/analysis")["issues"]) == 2


def test_the_host_of_processes_without_requests_is_found_by_their_gauges(planted: Planted) -> None:
    planted.gauge("process.memory.usage", 1e8, 1e8, of="test/idle/host#0")
    planted.gauge("system.cpu.utilization", 0.9, 0.9, 0.9, of="host")
    planted.gauge("system.cpu.utilization", 0.9, 0.9, 0.9, of="another")
    found = planted.ask("/analysis", service="idle")["issues"]
    assert [each["where"] for each in found] == [{"instance": "host"}]
