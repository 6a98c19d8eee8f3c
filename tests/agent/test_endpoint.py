"""The agent's HTTP endpoint answers who may ask, in bounded time and memory."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

import pytest

from trimtab_agent import endpoint as module
from trimtab_agent.endpoint import MAX_CONNECTIONS, MAX_HEADER, Endpoint
from trimtab_agent.sockets import share_of
from trimtab_core.errors import SettingsError, StartupError
from trimtab_core.exposition import MetricFamily

FAMILIES = [MetricFamily("up_total", "counter", "Up.", [("", {"a": 'x"y'}, 3)])]


@contextlib.asynccontextmanager
async def serving(
    address: str = "127.0.0.1:0",
    *,
    ready: Callable[[], str | None] = lambda: None,
    families: Callable[[], Iterable[MetricFamily]] = lambda: FAMILIES,
    token: str = "",
    hosts: Iterable[str] = (),
) -> AsyncIterator[Endpoint]:
    endpoint = Endpoint(address, ready=ready, families=families, token=token, hosts=hosts)
    await endpoint.start()
    try:
        yield endpoint
    finally:
        await endpoint.stop()


async def talk(port: int, request: bytes) -> tuple[int, str, str]:
    """Send raw bytes; return status, head and body of the answer, 0 when there is none."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        await writer.drain()
        answer = (await reader.read()).decode()
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split(" ")[1]) if head else 0, head, body


async def get(port: int, path: str, *headers: str, method: str = "GET") -> tuple[int, str, str]:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
    return await talk(port, "\r\n".join(lines).encode())


@pytest.mark.asyncio
async def test_it_says_that_it_is_alive_and_whether_it_is_ready() -> None:
    why: list[str | None] = ["no collector has answered yet"]
    async with serving(ready=lambda: why[0]) as endpoint:
        assert (await get(endpoint.port, "/healthz"))[::2] == (200, "ok\n")
        assert (await get(endpoint.port, "/readyz"))[::2] == (
            503,
            "no collector has answered yet\n",
        )
        why[0] = None
        assert (await get(endpoint.port, "/readyz?verbose"))[::2] == (200, "ready\n")


@pytest.mark.asyncio
async def test_metrics_are_prometheus_text_with_a_length_and_the_connection_is_closed() -> None:
    async with serving() as endpoint:
        status, head, text = await get(endpoint.port, "/metrics")
        assert status == 200
        assert text == ('# HELP up_total Up.\n# TYPE up_total counter\nup_total{a="x\\"y"} 3\n')
        assert "Content-Type: text/plain; version=0.0.4; charset=utf-8" in head
        assert f"Content-Length: {len(text)}" in head
        assert "Connection: close" in head


@pytest.mark.asyncio
async def test_head_answers_without_a_body() -> None:
    async with serving() as endpoint:
        status, head, text = await get(endpoint.port, "/metrics", method="HEAD")
        assert (status, text) == (200, "")
        assert "Content-Length: 65" in head


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nothing HTTP/1.1\r\n\r\n", 404),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 405),
        (b"GET /metrics HTTP/2\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * MAX_HEADER + b"\r\n\r\n", 431),
        (b"y" * 300_000, 431),
    ],
    ids=["unknown path", "post", "http 2", "tls", "large header", "no end"],
)
async def test_other_requests_are_refused_with_a_reason(request_bytes: bytes, status: int) -> None:
    async with serving() as endpoint:
        got, _, text = await talk(endpoint.port, request_bytes)
        assert got == status
        assert text.startswith("expected ")
        assert (await get(endpoint.port, "/healthz"))[0] == 200


@pytest.mark.asyncio
async def test_a_request_that_does_not_end_is_cut_off_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 0.2)
    async with serving() as endpoint:
        slow = asyncio.create_task(talk(endpoint.port, b"GET /healthz HT"))
        assert (await get(endpoint.port, "/healthz"))[0] == 200
        with contextlib.suppress(ConnectionError):
            assert (await slow)[0] == 0


@pytest.mark.asyncio
@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nX: "], ids=["nothing", "half"])
async def test_of_more_than_64_connections_the_oldest_gives_its_place_to_the_next(
    sent: bytes,
) -> None:
    async with serving() as endpoint:
        idle = []
        most = share_of(MAX_CONNECTIONS, 16)
        for _ in range(100):
            idle.append(await asyncio.open_connection("127.0.0.1", endpoint.port))
            idle[-1][1].write(sent)
        async with asyncio.timeout(1):
            assert (await get(endpoint.port, "/healthz"))[0] == 200
        assert endpoint.displaced == 101 - most
        assert await idle[0][0].read() == b""
        for _, writer in idle:
            writer.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8621", 200),
        ("127.0.0.1:8621", 200),
        ("[::1]:8621", 200),
        ("10.0.0.7", 200),
        (f"{os.uname().nodename}:8621", 200),
        ("metrics.example:8621", 200),
        ("evil.example:8621", 421),
        ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example:8621", 421),
    ],
)
async def test_a_request_must_name_this_machine(host: str, status: int) -> None:
    async with serving(hosts=("Metrics.example",)) as endpoint:
        for path in ("/metrics", "/healthz"):
            request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
            got, _, text = await talk(endpoint.port, request)
            assert got == status
            assert ("http_hosts" in text) == (status == 421)


@pytest.mark.asyncio
async def test_with_the_token_a_request_may_name_anything_and_two_hosts_are_none() -> None:
    async with serving(token="s3cret") as endpoint:
        named = b"GET /metrics HTTP/1.1\r\nHost: node.example\r\n"
        bearer = b"Authorization: Bearer s3cret\r\n"
        assert (await talk(endpoint.port, named + b"\r\n"))[0] == 421
        assert (await talk(endpoint.port, named + bearer + b"\r\n"))[0] == 200
        assert (await talk(endpoint.port, named + b"Host: localhost\r\n\r\n"))[0] == 400


@pytest.mark.asyncio
async def test_a_token_that_is_set_later_guards_the_metrics_from_then_on() -> None:
    async with serving() as endpoint:
        assert (await get(endpoint.port, "/metrics"))[0] == 200
        endpoint.use("s3cret", ())
        assert (await get(endpoint.port, "/metrics"))[0] == 401
        assert (await get(endpoint.port, "/metrics", "Authorization: Bearer s3cret"))[0] == 200


@pytest.mark.asyncio
async def test_a_client_that_leaves_at_once_harms_nobody() -> None:
    async with serving() as endpoint:
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            writer.transport.abort()
        assert (await get(endpoint.port, "/healthz"))[0] == 200


@pytest.mark.asyncio
async def test_a_token_guards_the_metrics_and_nothing_else() -> None:
    async with serving(token="s3cret") as endpoint:
        assert (await get(endpoint.port, "/healthz"))[0] == 200
        status, head, _ = await get(endpoint.port, "/metrics")
        assert status == 401
        assert "WWW-Authenticate: Bearer" in head
        for wrong in ("Bearer", "Bearer s3cre", "Basic s3cret", "s3cret"):
            assert (await get(endpoint.port, "/metrics", f"Authorization: {wrong}"))[0] == 401
        assert (await get(endpoint.port, "/metrics", "Authorization: bearer s3cret"))[0] == 200


@pytest.mark.asyncio
async def test_off_loopback_the_metrics_are_closed_until_a_token_is_set() -> None:
    async with serving("0.0.0.0:0") as endpoint:
        assert (await get(endpoint.port, "/readyz"))[0] == 200
        assert (await get(endpoint.port, "/metrics"))[0] == 401
        assert (await get(endpoint.port, "/metrics", "Authorization: Bearer "))[0] == 401
    async with serving("0.0.0.0:0", token="t") as endpoint:
        assert (await get(endpoint.port, "/metrics", "Authorization: Bearer t"))[0] == 200


@pytest.mark.asyncio
async def test_a_failing_source_is_a_500_and_the_endpoint_goes_on() -> None:
    def broken() -> Iterable[MetricFamily]:
        raise RuntimeError("no figures")

    async with serving(families=broken) as endpoint:
        assert (await get(endpoint.port, "/metrics"))[0] == 500
        assert (await get(endpoint.port, "/healthz"))[0] == 200


@pytest.mark.asyncio
async def test_long_metrics_do_not_keep_the_loop_from_other_work() -> None:
    many = [MetricFamily("x", "gauge", "X.", [("", {"n": str(n)}, n) for n in range(20_000)])]
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with serving(families=lambda: many) as endpoint:
        turning = asyncio.create_task(turn())
        answer: Awaitable[tuple[int, str, str]] = get(endpoint.port, "/metrics")
        _, _, text = await answer
        turning.cancel()
    assert text.count("\n") == 20_002
    assert turns > 40


@pytest.mark.asyncio
async def test_a_busy_port_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError, match=f"{port}, but another process listens there"):
            async with serving(f"127.0.0.1:{port}"):
                pass


@pytest.mark.parametrize("address", ["8621", "127.0.0.1:", "127.0.0.1:99999", ":80", "a:b"])
def test_an_address_that_is_none_is_one_sentence(address: str) -> None:
    with pytest.raises(SettingsError, match="expected an HTTP address as host:port"):
        Endpoint(address, ready=lambda: None, families=lambda: FAMILIES)


@pytest.mark.asyncio
async def test_it_stops_within_its_clients_and_twice() -> None:
    async with serving() as endpoint:
        reader, writer = await asyncio.open_connection("127.0.0.1", endpoint.port)
        await get(endpoint.port, "/healthz")
        await endpoint.stop()
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
