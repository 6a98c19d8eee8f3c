"""What the API says to requests that it does not take, and where it tells what it has."""

import http.client
import json
from collections.abc import Iterator

import pytest

from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from support.stores.batches import Sender
from trimtab_collector.api.endpoints import ENDPOINTS


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        yield process.start()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/performance", 404, "not_found"),
        ("GET", "/api/performance/services/", 404, "not_found"),
        ("GET", "/api/performance/../../etc/passwd", 404, "not_found"),
        ("POST", "/api/performance/services", 405, "method_not_allowed"),
        ("DELETE", "/api/performance/health", 405, "method_not_allowed"),
        ("OPTIONS", "/api/performance/routes", 405, "method_not_allowed"),
        ("PURGE", "/api/performance/routes", 405, "method_not_allowed"),
        ("GET", "/%ff%00/..%2f", 404, "not_found"),
        ("GET", "/" + "x" * 8_000, 404, "not_found"),
        ("GET", "/api/performance/routes?route=" + "x" * 9_000, 414, "request_uri_too_long"),
    ],
)
def test_errors_have_the_envelope_too(
    collector: Collector, method: str, path: str, status: int, code: str
) -> None:
    with Sender(collector.port, collector.api.token) as sender:
        found, body = sender.request(method, path)
    assert (found, body["success"], body["error"]["code"]) == (status, False, code)
    assert "expected" in body["error"]["message"]
    assert len(body["error"]["message"]) < 400
    if status == 405:
        assert sender.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/api/performance/services/", "expected /api/performance/services, without a slash"),
        ("/api/performance/rutes", "such as /api/performance/routes,"),
        ("/services", "such as /api/performance/services,"),
        ("/api/performance/Routes/Latency", "such as /api/performance/routes/latency,"),
        ("/api//performance/routes", "such as /api/performance/routes,"),
        ("/api/performance/qzxv", "expected a path of this API, got"),
    ],
)
def test_a_path_that_is_not_there_is_told_the_nearest(
    collector: Collector, path: str, words: str
) -> None:
    with Sender(collector.port, "") as sender:
        status, body = sender.request("GET", path)
    assert status == 404
    assert words in body["error"]["message"]
    assert "GET /api/performance lists all paths" in body["error"]["message"]


def test_the_base_path_lists_what_there_is(collector: Collector) -> None:
    with Sender(collector.port, "") as sender:
        answers = [sender.request("GET", path) for path in ("/", "/api/performance",
                                                            "/api/performance/")]  # fmt: skip
    assert [status for status, _ in answers] == [200, 200, 200]
    data = answers[0][1]["data"]
    assert data == answers[1][1]["data"] == answers[2][1]["data"]
    assert (data["name"], data["document"]) == ("trimtab", "/api/performance/openapi.json")
    listed = {(row["method"], row["path"]): row for row in data["endpoints"]}
    assert len(listed) == sum(len(endpoint.paths) for endpoint in ENDPOINTS)
    row = listed["GET", "/api/performance/routes"]
    assert (row["role"], row["summary"].startswith("The routes")) == ("planner", True)


def test_head_has_the_headers_of_get_and_no_body(collector: Collector) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
    headers = {"Authorization": f"Bearer {collector.api.token}"}
    for path, status in (("services", 200), ("nothing", 404), ("routes?by=x", 422)):
        found = []
        for method in ("HEAD", "GET"):
            connection.request(method, f"/api/performance/{path}", headers=headers)
            answer = connection.getresponse()
            found.append((answer.status, answer.getheader("content-type"), answer.read()))
        assert [row[:2] for row in found] == [(status, "application/json")] * 2
        assert (found[0][2], bool(found[1][2])) == (b"", True)
    connection.close()


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"{}", "text/plain", 415, "unsupported_media_type"),
        (b"{}", "", 415, "unsupported_media_type"),
        (b"{", "application/json", 400, "bad_json"),
        (b"\xff\xfe", "application/json", 400, "bad_json"),
        (b"[" * 100_000, "application/json", 422, "bad_body"),
        (b"[]", "application/json", 422, "bad_body"),
        (b'{"name": 5}', "application/json; charset=utf-8", 422, "bad_body"),
        (b" " * 300_000, "application/json", 413, "too_large"),
    ],
)
def test_a_body_that_is_not_taken_is_said_in_a_sentence(
    collector: Collector, body: bytes, content_type: str, status: int, code: str
) -> None:
    admin = Client(collector.port)
    admin.login()
    headers = {"Authorization": f"Bearer {admin.token}"}
    if content_type:
        headers["Content-Type"] = content_type
    connection = http.client.HTTPConnection("127.0.0.1", collector.port, timeout=10)
    try:
        connection.request("POST", "/api/performance/marks", body, headers)
        answer = connection.getresponse()
        found = json.loads(answer.read())
    finally:
        connection.close()
    assert (answer.status, found["success"], found["error"]["code"]) == (status, False, code)
    assert len(found["error"]["message"]) < 400


def test_a_change_is_refused_to_those_who_only_read(collector: Collector) -> None:
    with Sender(collector.port, collector.api.token) as sender:
        status, body = sender.request("POST", "/api/performance/marks", b"{}")
    assert (status, body["error"]["code"]) == (403, "forbidden")
    assert "admin" in body["error"]["message"]
