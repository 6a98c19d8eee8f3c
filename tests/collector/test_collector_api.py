"""The read API: envelope, token, parameters, and figures that agree with what was sent."""

import socket
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from support.processes.api import Api
from support.processes.openapi import parameters_of
from support.processes.servers import Collector, short_dir
from support.stores.apiworld import digits
from support.stores.batches import Sender, a_batch, accounting_of, key_of, point_of, window
from trimtab_core.batches import GaugeRow
from trimtab_core.sketch import Sketch

READS = (
    "/services",
    "/routes",
    "/routes/latency",
    "/response-time",
    "/heatmap",
    "/compare",
    "/metrics",
    "/metrics/current",
    "/metrics/history",
)
FAST = [1_000 + 10 * n for n in range(90)]
SLOW = [200_000 + 1_000 * n for n in range(10)]


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with two services, two windows and some gauges."""
    with short_dir() as directory, Collector(directory) as process:
        process.start()
        points = {
            key_of("/fast"): point_of(FAST, ttfb_us=90 * 500, bytes=9_000),
            key_of("/fast", instance="host#1", version="2"): point_of(FAST, queue_us=900, queued=9),
            key_of("/slow", status_class="5xx"): point_of(SLOW, errors=10),
            key_of("/", service="other", method="POST"): point_of([5_000]),
        }
        gauges = [
            GaugeRow("test", "shop", "host#0", "http.server.active_requests", 3),
            GaugeRow("test", "shop", "host#1", "http.server.active_requests", 4),
            GaugeRow("test", "shop", "host#0", "trimtab.app.loop_delay", 0.002),
            GaugeRow("test", "shop", "host#1", "trimtab.app.loop_delay", 0.025),
            GaugeRow("test", "shop", "host#0", "process.memory.usage", 5e7),
            GaugeRow("", "", "host", "system.cpu.utilization", 0.25),
        ]
        with Sender(process.port, process.new_key()) as sender:
            sender.insist(
                a_batch(0, points, gauges=gauges, processes=[accounting_of([(0, 190)], 190)])
            )
            sender.insist(a_batch(1, {key_of("/fast"): point_of(FAST)}, window_s=window(60)))
        yield process


def test_every_read_but_health_asks_for_the_token(collector: Collector) -> None:
    for token in ("", "wrong", "tøken"):
        for path in READS:
            status, body = Api(collector.url, token.encode().decode("latin-1")).request(path)
            assert (status, body["success"]) == (401, False)
            assert body["error"]["code"] == "unauthorized"
    assert Api(collector.url, "").get("/health")["status"] == "healthy"


def test_answers_have_the_envelope_and_the_headers(collector: Collector) -> None:
    for path in (*READS, "/health"):
        status, body = collector.api.request(path)
        assert (status, body["success"]) == (200, True)
        assert datetime.fromisoformat(body["timestamp"]).tzinfo is not None
        assert set(body) == {"success", "data", "timestamp"}
    with Sender(collector.port, "x") as sender:
        for path in ("/api/performance/health", "/api/performance/services", "/nothing"):
            sender.request("GET", path)
            assert sender.headers["cache-control"] == "no-store"
            assert sender.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in sender.headers["content-security-policy"]
            assert "server" not in sender.headers


@pytest.mark.parametrize(
    ("path", "params", "word"),
    [
        ("/services", {"from_": "yesterday"}, "-15m"),
        ("/services", {"from_": "-1h", "to": "-2h"}, "before to"),
        ("/services", {"from_": "-1y"}, "-15m"),
        ("/services", {"from_": "99999999999999"}, "epoch"),
        ("/services", {"from_": "-500d"}, "400 days"),
        ("/services", {"tz": "Mars/Olympus"}, "time zone"),
        ("/services", {"tz": "../../etc/passwd"}, "time zone"),
        ("/services", {"form": "-1h"}, "among apdex, by, environment"),
        ("/routes", {"by": "p42"}, "one of mean, p50"),
        ("/routes", {"limit": "0"}, "1 to 1000"),
        ("/routes", {"limit": "9" * 400}, "1 to 1000"),
        ("/metrics/history", {"period": "yearly"}, "hourly, daily, weekly"),
        ("/metrics/history", {"step": "15"}, "multiple of 10"),
        ("/metrics/history", {"step": "year"}, "minute, hour, day, week, month"),
        ("/metrics/history", {"groupBy": "service,region"}, "each once"),
        ("/metrics/history", {"groupBy": "service,service"}, "each once"),
        ("/routes", {"statusClass": "500"}, "5xx"),
        ("/routes/latency", {"by": "rps"}, "one of mean, p50"),
        ("/heatmap", {"scale": "6"}, "one of -2"),
        ("/heatmap", {"buckets": "9"}, "10 to 200"),
        ("/routes", {"limit": "0000000000019" + "0" * 5000}, "1 to 1000"),
        ("/routes", {"limit": "00000000000019999999"}, "1 to 1000"),
        ("/routes", {"limit": "0" * 5000}, "1 to 1000"),
        ("/routes", {"limit": "0" * 14 + "1001"}, "1 to 1000"),
        ("/metrics", {"route": "/"}, "among apdex, environment"),
        ("/compare", {"against": "year"}, "previous, day, week"),
        ("/compare", {"against": "day", "againstFrom": "-2d"}, "either"),
        ("/compare", {"againstFrom": "-2d"}, "a time for each end"),
        ("/compare", {"againstFrom": "-1d", "againstTo": "-2d"}, "before againstTo"),
        ("/compare", {"a": "1"}, "field=version"),
        ("/compare", {"field": "version", "a": "1"}, "a version on each side"),
        ("/compare", {"field": "version", "a": "1", "b": "1"}, "another version"),
        ("/compare", {"field": "colour", "a": "1", "b": "2"}, "one of environment"),
        ("/compare", {"field": "version", "a": "1", "b": "2", "version": "1"}, "no filter"),
        ("/compare", {"field": "version", "a": "1", "b": "2", "against": "day"}, "either two"),
    ],
)
def test_a_bad_parameter_is_said_in_a_sentence(
    collector: Collector, path: str, params: dict[str, str], word: str
) -> None:
    status, body = collector.api.request(path, **params)
    assert (status, body["error"]["code"]) == (422, "bad_parameter")
    assert "expected" in body["error"]["message"]
    assert "got" in body["error"]["message"]
    assert word in body["error"]["message"]


def test_services_add_up_their_instances(collector: Collector) -> None:
    other, shop = collector.api.get("/services", from_="-5m")["services"]
    assert (other["service"], shop["service"]) == ("other", "shop")
    assert (shop["requests"], shop["errors"]) == (190, 10)
    assert shop["errorRate"] == digits(10 / 190)
    sketch = Sketch.of(FAST + FAST + SLOW)
    for name, quantile in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)):
        assert shop[name] == digits(sketch.quantile_us(quantile) / 1000)
    assert shop["mean"] == pytest.approx((2 * sum(FAST) + sum(SLOW)) / 190 / 1000, rel=1e-5)
    assert shop["max"] == 209.0
    assert shop["bytes"] == 9_000
    assert shop["queueMean"] == pytest.approx(0.1)
    assert (shop["versions"], shop["instances"]) == (["1", "2"], ["host#0", "host#1"])
    assert shop["inFlight"] == 7
    assert shop["accounting"]["counted"] == 190
    assert other["inFlight"] is None


def test_a_service_without_requests_in_the_range_is_still_there(collector: Collector) -> None:
    rows = collector.api.get("/services", from_="-3h", to="-2h", service="shop")["services"]
    assert (rows[0]["requests"], rows[0]["p99"], rows[0]["errorRate"]) == (0, None, None)
    assert rows[0]["accounting"]["requests"] == 280


@pytest.mark.parametrize(
    ("by", "first"), [("p99", "/slow"), ("errorRate", "/slow"), ("rps", "/fast")]
)
def test_routes_are_ranked(collector: Collector, by: str, first: str) -> None:
    rows = collector.api.get("/routes", by=by, service="shop", from_="-5m")["routes"]
    assert rows[0]["route"] == first
    assert len(rows) == 2
    assert len(collector.api.get("/routes", by=by, limit=1)["routes"]) == 1


def test_services_come_by_name_or_by_a_figure(collector: Collector) -> None:
    def names(**query: object) -> list[str]:
        data = collector.api.get("/services", from_="-5m", **query)
        assert len(data["services"]) + data["servicesLeftOut"] == 2
        return [row["service"] for row in data["services"]]

    assert names() == ["other", "shop"]
    assert names(by="requests") == names(by="errorRate") == ["shop", "other"]
    assert names(by="p50", limit=1) == ["other"]


def test_filters_take_what_they_say(collector: Collector) -> None:
    def requests(**params: Any) -> int:
        return sum(row["requests"] for row in collector.api.get("/routes", **params)["routes"])

    assert requests(from_="-5m") == 191
    assert requests(from_="-15m") == 281
    assert requests(from_="-5m", service="other") == 1
    assert requests(from_="-5m", instance="host#1") == 90
    assert requests(from_="-5m", environment="nowhere") == 0
    assert requests(from_="-5m", route="/slow") == 10


def test_response_time_is_split_by_class_and_service(collector: Collector) -> None:
    data = collector.api.get("/response-time", from_="-5m")
    assert data["overall"]["requests"] == 191
    assert {name: row["requests"] for name, row in data["byStatusClass"].items()} == {
        "2xx": 181,
        "5xx": 10,
    }
    assert [(row["service"], row["requests"]) for row in data["byService"]] == [
        ("other", 1),
        ("shop", 190),
    ]
    assert data["step"] == 10


def test_history_has_rows_where_something_was_and_gaps_elsewhere(collector: Collector) -> None:
    data = collector.api.get("/metrics/history", service="shop", step=10)
    assert [row["requests"] for row in data["series"]] == [90, 190]
    seoul = collector.api.get("/metrics/history", service="shop", step=10, tz="Asia/Seoul")
    one, other = data["series"][0]["t"], seoul["series"][0]["t"]
    assert other.endswith("+09:00")
    assert datetime.fromisoformat(one) == datetime.fromisoformat(other)
    assert collector.api.get("/metrics/history", period="weekly")["step"] == 3600
    one_route = collector.api.get("/metrics/history", route="/slow", step=10)
    assert [row["requests"] for row in one_route["series"]] == [10]


def test_the_current_moment_says_null_where_nothing_is_measured(collector: Collector) -> None:
    data = collector.api.get("/metrics/current", from_="-5m")
    assert data["eventLoopDelay"] == 25.0
    assert data["activeRequests"] == 7
    assert data["memoryUsage"]["rss"] == 5e7
    assert data["memoryUsage"]["heapUsed"] is None
    assert data["activeHandles"] is None
    assert data["uptime"] is None
    use = {"cpu": 0.25, "memory": None, "disk": None, "network": None}
    gauges = {"system.cpu.utilization": 0.25}
    assert data["system"] == [{"host": "host", "agent": "agent-1", "use": use, "gauges": gauges}]
    assert [row["instance"] for row in data["instances"]] == ["host#0", "host#1"]
    assert data["responseTime"]["p99"] > 100


@pytest.mark.parametrize(
    ("path", "params", "words"),
    [
        ("/metrics/history", {"step": "10", "from_": "-30d"}, "longer step"),
        ("/metrics/history", {"step": "10", "from_": "-30d", "groupBy": "route"}, "longer step"),
        ("/heatmap", {"step": "60", "from_": "-1d"}, "at most 500 steps"),
        ("/routes/latency", {"step": "10", "from_": "-1d"}, "20000 steps of all routes"),
    ],
)
def test_what_is_too_much_is_said_with_the_limit(
    collector: Collector, path: str, params: dict[str, str], words: str
) -> None:
    status, body = collector.api.request(path, **params)
    assert (status, body["error"]["code"]) == (422, "too_much")
    assert words in body["error"]["message"]


def test_every_filter_is_taken_over_http(collector: Collector) -> None:
    def requests(**params: str) -> int:
        return int(
            collector.api.get("/response-time", from_="-5m", **params)["overall"]["requests"]
        )

    assert requests(version="2") == 90
    assert requests(method="POST") == 1
    assert requests(statusClass="5xx") == 10
    assert requests(statusClass="5xx", route="/fast") == 0
    assert requests(environment="test", service="shop", version="1", instance="host#0") == 100


def test_a_history_by_group_and_a_heatmap_hold_the_same_requests(collector: Collector) -> None:
    data = collector.api.get("/metrics/history", groupBy="version,statusClass", service="shop")
    assert {(*row["group"].values(), row["requests"]) for row in data["groups"]} == {
        ("1", "2xx", 180), ("2", "2xx", 90), ("1", "5xx", 10)
    }  # fmt: skip
    assert (data["groupsLeftOut"], data["resolution"], data["step"]) == (0, 10, 60)
    heat = collector.api.get("/heatmap", service="shop", buckets=20)
    assert heat["requests"] == 280 == sum(map(sum, heat["counts"]))
    assert len(heat["lower"]) == len(heat["upper"]) <= 20
    one = collector.api.get("/routes/latency", route="/slow")["routes"][0]
    assert [row["requests"] for row in one["series"]] == [10]


def test_versions_are_compared_over_http(collector: Collector) -> None:
    data = collector.api.get("/compare", field="version", a="1", b="2", service="shop")
    assert (data["a"]["requests"], data["b"]["requests"]) == (190, 90)
    assert data["by"] == "p95"
    assert [row["route"] for row in data["routes"]] == ["/fast", "/slow"]
    assert data["routes"][1]["b"] is None
    assert data["notes"]


def test_hosts_stand_beside_each_other(collector: Collector) -> None:
    with Sender(collector.port, collector.new_key()) as sender:
        for agent, host, value in (("agent-7", "web-7", 0.5), ("agent-8", "web-8", 0.75)):
            gauge = GaugeRow("", "", host, "system.cpu.utilization", value)
            sender.insist(a_batch(0, {}, agent=agent, gauges=[gauge]))
    for path in ("/metrics", "/metrics/current"):
        hosts = {row["host"]: row for row in collector.api.get(path)["system"]}
        assert hosts["web-7"]["gauges"] == {"system.cpu.utilization": 0.5}
        assert hosts["web-8"] == {
            "host": "web-8", "agent": "agent-8", "gauges": {"system.cpu.utilization": 0.75},
            "use": {"cpu": 0.75, "memory": None, "disk": None, "network": None},
        }  # fmt: skip
        alone = collector.api.get(path, instance="web-7#3")["system"]
        assert [row["host"] for row in alone] == ["web-7"]


def test_a_snapshot_says_null_where_nothing_is_measured(collector: Collector) -> None:
    data = collector.api.get("/metrics", from_="-5m")
    assert data["database"] is data["cache"] is data["externalServices"] is None
    application = data["application"]
    assert application["activeRequests"] == 7
    assert application["eventLoopLag"] == 25.0
    assert application["responseTime"]["p99"] > 100
    assert application["errorRate"] == pytest.approx(10 / 191)
    assert application["queueSizes"] is application["concurrentUsers"] is None


def test_the_document_of_the_api_is_there_for_anyone(collector: Collector) -> None:
    status, found = Api(collector.url, "").request("/openapi.json")
    assert (status, found["openapi"]) == (200, "3.1.0")
    assert set(found["paths"]) >= {*READS, "/gauges", "/health", "/openapi.json"}
    for path in READS:
        _, body = collector.api.request(path, nonsense="1")
        listed = body["error"]["message"].partition("among ")[2].partition(", got")[0]
        parameters = parameters_of(found, found["paths"][path]["get"])
        documented = [each["name"] for each in parameters]
        assert sorted(documented) == listed.split(", ")


def test_times_may_be_given_in_every_form(collector: Collector) -> None:
    now = time.time()
    forms = (
        str(int(now - 300)),
        "-5m",
        "-300s",
        "-4m60s",
        "-0.05h120s",
        datetime.fromtimestamp(now - 300).astimezone().isoformat(),
    )
    for form in forms:
        assert collector.api.get("/routes", service="shop", from_=form, to="now")["routes"]


@pytest.mark.parametrize(
    ("path", "query", "names"),
    [
        ("/routes", "limit=bogus&limit=7", "'limit'"),
        ("/routes", "service=shop&service=other", "'shop and other'"),
        ("/routes", "from=-5m&service=shop&from=-5m", "one value"),
        ("/gauges", "name=cpu&limit=1&limit=1", "one value"),
    ],
)
def test_a_parameter_that_comes_twice_is_refused(
    collector: Collector, path: str, query: str, names: str
) -> None:
    with Sender(collector.port, collector.api.token) as sender:
        status, body = sender.request("GET", f"/api/performance{path}?{query}")
    assert (status, body["error"]["code"]) == (422, "bad_parameter")
    assert names in body["error"]["message"]


def test_a_list_may_come_in_parts(collector: Collector) -> None:
    query = "name=process.memory.usage&name=trimtab.app.loop_delay&groupBy=service&groupBy=instance"
    with Sender(collector.port, collector.api.token) as sender:
        status, body = sender.request("GET", f"/api/performance/gauges?{query}")
    assert status == 200
    assert len(body["data"]["gauges"]) == 3


def test_health_tells_of_memory_and_store(collector: Collector) -> None:
    data = collector.api.get("/health")
    assert 0 < data["memory"]["used"] < data["memory"]["total"]
    assert data["store"]["batches"] >= 2
    assert data["store"]["trouble"] is None
    assert data["store"]["gaugesLeftOut"] == 0
    assert data["uptime"] > 0


def test_a_request_that_is_no_http_is_answered_and_harms_nobody(collector: Collector) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=5) as raw:
        raw.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert raw.recv(1024).startswith(b"HTTP/1.1 400")
    assert collector.api.get("/health")["status"] == "healthy"
