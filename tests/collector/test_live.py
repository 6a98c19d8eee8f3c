"""The live stream of a real collector, to the npm client: transports, events, refusals, ends."""

import http.client
import time
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support.processes.api import TOKEN
from support.processes.certificates import self_signed
from support.processes.nodeclient import NodeClient, node_client
from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir, wait_for
from support.stores.batches import Sender, a_batch, key_of, point_of
from trimtab_core.batches import GaugeRow

#: transports that a client tries -> the one it ends with
WAYS = {
    "websocket": (("websocket",), "websocket"),
    "polling": (("polling",), "polling"),
    "upgrade": ((), "websocket"),
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with requests of two services in the latest window."""
    with short_dir() as directory, Collector(directory) as process:
        process.start()
        points = {
            key_of("/fast"): point_of([1_000] * 90),
            key_of("/slow"): point_of([900_000] * 10),
            key_of("/", service="other"): point_of([5_000] * 7),
        }
        with Sender(process.port, process.new_key()) as sender:
            sender.insist(a_batch(0, points))
        yield process


@pytest.fixture
def client() -> Iterator[NodeClient]:
    with node_client() as one:
        yield one


def send_now(collector: Collector) -> None:
    """Send what agents send while somebody watches: a live summary of this second, and a gauge."""
    points = {key_of("/a"): point_of([1_000] * 3), key_of("/b", "other"): point_of([5_000] * 4)}
    gauges = [GaugeRow("test", "shop", "host#0", "trimtab.app.loop_delay", 0.025)]
    second = int(time.time()) - 1
    with Sender(collector.port, collector.new_key()) as sender:
        sender.insist(a_batch(9, points, live=True, window_s=second, step_s=1, agent="live"))
        sender.insist(a_batch(time.time_ns() // 1000, {}, gauges=gauges))


@pytest.mark.parametrize(("transports", "ends_as"), WAYS.values(), ids=WAYS)
def test_events_are_acknowledged_and_metrics_come_each_second(
    collector: Collector, client: NodeClient, transports: tuple[str, ...], ends_as: str
) -> None:
    send_now(collector)
    client.connect(collector.url, TOKEN, *transports)
    assert client.wait("connect")["transport"] == ends_as
    if not transports:
        assert client.wait("open")["transport"] == "polling"
        assert client.wait("upgrade")["transport"] == ends_as
    acknowledged = client.emit("subscribe:metrics", {"environment": "test", "service": "shop"})
    assert acknowledged["success"] is True
    assert acknowledged["data"]["filter"] == {"environment": "test", "service": "shop"}
    first, second = (client.wait("metrics:update", number) for number in (1, 2))
    assert second["at"] - first["at"] == pytest.approx(1000, abs=700)
    update = second["data"]
    assert update["filter"] == acknowledged["data"]["filter"]
    assert update["eventLoopDelay"] == update["application"]["eventLoopLag"] == 25.0
    assert [row["instance"] for row in update["instances"]] == ["host#0"]
    assert client.emit("unsubscribe:metrics")["data"] == {"subscribed": False}
    heard = len(client.all("metrics:update"))
    client.emit("subscribe:metrics", {"service": "none"})
    assert client.wait("metrics:update", heard + 1)["data"]["filter"] == {"service": "none"}


def test_an_update_is_about_what_its_filter_says(collector: Collector, client: NodeClient) -> None:
    client.connect(collector.url, TOKEN, "websocket")
    for chosen, requests in (({}, 7), ({"service": "shop"}, 3), ({"route": "/b"}, 4)):

        def update_of(chosen: dict[str, str] = chosen, requests: int = requests) -> bool:
            send_now(collector)
            found = [each["data"] for each in client.all("metrics:update")]
            return any(
                each["filter"] == chosen
                and each["application"]["requests"]
                and each["application"]["requests"] % requests == 0
                for each in found
            )

        client.emit("subscribe:metrics", chosen)
        wait_for(update_of, f"an update about {chosen}", 15)


def test_an_update_has_the_names_of_both_looks_at_now(
    collector: Collector, client: NodeClient
) -> None:
    client.connect(collector.url, TOKEN, "websocket")
    client.emit("subscribe:metrics")
    update = client.wait("metrics:update")["data"]
    current, metrics = collector.api.get("/metrics/current"), collector.api.get("/metrics")
    assert set(update) == {*current, *metrics, "filter"}


def test_updates_make_agents_send_live_summaries(collector: Collector, client: NodeClient) -> None:
    client.connect(collector.url, TOKEN, "websocket")
    client.emit("subscribe:metrics")
    client.wait("metrics:update")
    with Sender(collector.port, collector.new_key()) as sender:
        _, body = sender.post(a_batch(1, {}))
    assert body["watchSeconds"] > 0


def test_history_is_that_of_the_api(collector: Collector, client: NodeClient) -> None:
    client.connect(collector.url, TOKEN, "websocket")
    asked = {"period": "daily", "service": "shop", "step": 3600}
    acknowledged = client.emit("request:history", asked)
    assert acknowledged["data"] == {"event": "history:data"}
    data = client.wait("history:data")["data"]
    same = collector.api.get("/metrics/history", period="daily", service="shop", step=3600)
    assert data["series"] == same["series"]
    assert sum(row["requests"] for row in data["series"]) == 100
    grouped = {"groupBy": ["service", "route"], "from": "-5m"}
    client.emit("request:history", grouped)
    groups = client.wait("history:data", 2)["data"]["groups"]
    assert {(row["group"]["service"], row["group"]["route"]) for row in groups} == {
        ("shop", "/fast"), ("shop", "/slow"), ("other", "/")
    }  # fmt: skip


def test_the_dashboard_comes_on_request(collector: Collector, client: NodeClient) -> None:
    client.connect(collector.url, TOKEN, "websocket")
    acknowledged = client.emit("request:dashboard", {"service": "shop", "lang": "ko"})
    assert acknowledged["data"] == {"event": "dashboard:data"}
    data = client.wait("dashboard:data")["data"]
    assert set(data) == set(collector.api.get("/dashboard", service="shop", lang="ko"))
    assert "current" in data


WRONG = [
    ("subscribe:metrics", {"colour": "red"}, "bad_parameter", "one of environment, service"),
    ("subscribe:metrics", ["shop"], "bad_parameter", "expected an object"),
    ("subscribe:alerts", {"service": 7}, "bad_parameter", "a text"),
    ("request:history", {"period": "yearly"}, "bad_parameter", "hourly, daily, weekly"),
    ("request:history", {"step": [[1]]}, "bad_parameter", "a text, a number"),
    ("request:history", {"from": "-30d", "step": 10}, "too_much", "longer step"),
    ("request:dashboard", {"lang": "xx"}, "bad_parameter", "lang"),
    ("subscribe:everything", None, "not_found", "expected one of subscribe:metrics"),
]


def test_what_is_wrong_with_an_event_is_said_in_its_acknowledgement(
    collector: Collector, client: NodeClient
) -> None:
    client.connect(collector.url, TOKEN, "websocket")
    for name, payload, code, words in WRONG:
        answer = client.emit(name, payload)
        assert (answer["success"], answer["error"]["code"]) == (False, code)
        assert words in answer["error"]["message"]
    assert client.emit("subscribe:alerts")["success"] is True


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_without_the_token_a_connection_is_refused_with_a_reason(
    collector: Collector, client: NodeClient, transport: str
) -> None:
    client.open(collector.url, None, transport)
    for number, token in enumerate(["wrong", "x" * 10_000, TOKEN], 1):
        refused = client.wait("connect_error", number)
        # The two-argument form: a text and an object, not the text of a Python object.
        assert refused["message"] == refused["data"]["code"] == "unauthorized"
        assert "expected" in refused["data"]["message"]
        assert not client.all("connect")
        client.token(token)
        client.reconnect()
    client.wait("connect")


def test_logging_out_ends_the_connection_and_its_token_opens_no_other() -> None:
    admin = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **admin) as collector:
        collector.start()
        person = Client(collector.port)
        refresh = person.login().data["refreshToken"]
        with node_client() as client:
            client.connect(collector.url, person.token)
            assert client.emit("subscribe:alerts")["success"] is True
            assert person.ask("POST", "/auth/logout", {"refreshToken": refresh}).status < 300
            client.wait("disconnect")
            # It tries again by itself, with what its page still has.
            assert client.wait("connect_error")["data"]["details"] == {"reason": "revoked"}


def test_a_client_comes_back_after_a_restart_and_subscribes_again() -> None:
    with short_dir() as directory, Collector(directory) as collector, node_client() as client:
        collector.start()
        client.connect(collector.url)
        client.emit("subscribe:metrics")
        client.wait("metrics:update")
        collector.kill9()
        client.wait("disconnect")
        collector.start()
        client.wait("connect", 2)
        heard = len(client.all("metrics:update"))
        assert client.emit("subscribe:metrics")["success"] is True
        client.wait("metrics:update", heard + 1)


def test_the_collector_stops_within_seconds_whoever_is_connected() -> None:
    with short_dir() as directory, ExitStack() as exits:
        # Over TLS, which waits for the other side to agree to the end.
        certificate, private = self_signed(directory, "IP:127.0.0.1")
        tls = {
            "TRIMTAB_COLLECTOR_TLS_CERT": str(certificate),
            "TRIMTAB_COLLECTOR_TLS_KEY": str(private),
        }
        collector = exits.enter_context(Collector(directory, **tls).start())
        url = f"https://127.0.0.1:{collector.port}"
        clients = [exits.enter_context(node_client()) for _ in range(3)]
        for client, transport in zip(clients, ["websocket", "polling", "websocket"], strict=True):
            client.connect(url, TOKEN, transport)
            client.emit("subscribe:metrics")
        clients[2].freeze()
        begun = time.monotonic()
        assert collector.stop() == 0
        assert time.monotonic() - begun < 5
        for client in clients[:2]:
            client.wait("disconnect")


ORIGINS = {
    "own": ("http://127.0.0.1:{port}", 200),
    "none": ("", 200),
    "named": ("https://board.example", 200),
    "foreign": ("http://evil.example", 403),
    "other port": ("http://127.0.0.1:1", 403),
    "other scheme": ("https://127.0.0.1:{port}", 403),
    "null": ("null", 403),
    "nonsense": ("http://[", 403),
}


@pytest.fixture(scope="module")
def named_origin() -> Iterator[Collector]:
    named = "https://board.example"
    with (
        short_dir() as directory,
        Collector(directory, TRIMTAB_COLLECTOR_ALLOWED_ORIGINS=named) as process,
    ):
        yield process.start()


@pytest.mark.parametrize(("origin", "status"), ORIGINS.values(), ids=ORIGINS)
def test_pages_of_other_origins_are_refused(
    named_origin: Collector, origin: str, status: int
) -> None:
    origin = origin.format(port=named_origin.port)
    headers = {"Origin": origin} if origin else {}
    for method, more in (("GET", {}), ("GET", {"X-Forwarded-Host": "evil.example"})):
        connection = http.client.HTTPConnection("127.0.0.1", named_origin.port, timeout=10)
        connection.request(
            method, "/socket.io/?EIO=4&transport=polling", headers={**headers, **more}
        )
        answer = connection.getresponse()
        answer.read()
        assert answer.status == status
        allowed = origin if origin and status == 200 else None
        assert answer.headers["Access-Control-Allow-Origin"] == allowed
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Set-Cookie"] is None
        connection.close()


def test_health_counts_connections_and_what_was_sent(
    collector: Collector, client: NodeClient
) -> None:
    client.connect(collector.url, TOKEN, "websocket")
    client.emit("subscribe:metrics")
    client.wait("metrics:update")
    found = collector.api.get("/health")["live"]
    assert found["connections"] >= 1
    assert found["subscribers"] >= 1
    assert found["sent"] >= 1
    assert found["trouble"] is None
