"""The bounds of the live stream: who may connect and stay, and what may wait for them."""

import asyncio
import http.client
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from support.alerts import an_alert
from support.clock import Clock
from support.processes.livestream import LiveServer, live_server
from support.processes.nodeclient import node_client
from support.processes.servers import wait_for
from trimtab_collector.api.live.gate import LiveGate, LiveLoad
from trimtab_collector.api.live.sessions import LiveLimits, PacketQueue
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.parameters import Parameters


def bounds(**changed: Any) -> LiveLimits:
    """Return bounds of a stream that looks at its connections often."""
    return LiveLimits(**{"every_s": 0.1, "check_s": 0.1, **changed})


class Packet:
    """As much of a packet as a queue looks at."""

    def __init__(self, data: str) -> None:
        self.data = data


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with live_server(bounds()) as running:
        yield running


@contextmanager
def raw(server: LiveServer, token: str | None = "planner") -> Iterator[ClientConnection]:
    """Yield a WebSocket that speaks the protocol by hand, connected if a token is given."""
    url = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
    with connect(url, compression=None, max_size=None, close_timeout=0.1) as socket:
        assert str(socket.recv(5))[0] == "0"
        if token is not None:
            socket.send(f'40{{"token":"{token}"}}')
            assert str(socket.recv(5)).startswith("40")
        yield socket


def health(server: LiveServer) -> Any:
    """Return what `/health` shows of a stream."""
    return server.live.health().body


def hears(socket: ClientConnection, beginning: str, timeout_s: float = 5) -> str:
    """Return the next packet that begins so, answering pings on the way."""
    until = time.monotonic() + timeout_s
    while True:
        packet = str(socket.recv(max(0.01, until - time.monotonic())))
        if packet == "2":
            socket.send("3")
        if packet.startswith(beginning):
            return packet


def ends(socket: ClientConnection, timeout_s: float = 10) -> bool:
    """Read until the other side has ended the connection."""
    until = time.monotonic() + timeout_s
    try:
        while time.monotonic() < until:
            socket.recv(timeout_s)
    except ConnectionClosed:
        return True
    return False


# ---------------------------------------------------------------- tokens


def test_a_token_that_ends_ends_its_connection_and_a_new_one_opens_another(
    server: LiveServer,
) -> None:
    with node_client() as client:
        client.connect(server.url, "planner", "websocket")
        client.token("admin")
        server.callers["planner"] = (Caller("planner", Role.PLANNER), time.time() + 0.5)
        client.wait("disconnect")
        # By itself: the connection ended below Socket.IO, which makes clients come back.
        client.wait("connect", 2)
        assert client.emit("subscribe:alerts")["success"] is True


def test_an_event_after_the_end_of_a_token_is_refused() -> None:
    with live_server(bounds(every_s=1)) as server:
        server.callers["planner"] = (Caller("planner", Role.PLANNER), time.time() + 0.5)
        with raw(server) as socket:
            wait_for(lambda: time.time() > (server.callers["planner"][1] or 0), "its end")
            socket.send('421["subscribe:alerts"]')
            answer = hears(socket, "431")
            assert '"success":false' in answer
            assert "the token has ended" in answer
            assert ends(socket)


@pytest.mark.parametrize("change", ["revoked", "role"])
def test_a_token_that_is_taken_back_ends_its_connection(server: LiveServer, change: str) -> None:
    with raw(server) as socket:
        if change == "revoked":
            del server.callers["planner"]
        else:
            server.callers["planner"] = (Caller("planner", Role.ANYONE), None)
        assert ends(socket)


def test_who_lacks_the_role_is_refused(server: LiveServer) -> None:
    with raw(server, None) as socket:
        socket.send('40{"token":"anyone"}')
        assert '"code":"forbidden"' in hears(socket, "44")


# ---------------------------------------------------------------- who does not read


def test_a_client_that_does_not_read_is_cut_off_and_the_others_go_on() -> None:
    limits = bounds(queue_bytes=200_000, unread_s=2)
    with live_server(limits) as server, raw(server) as deaf, raw(server) as reader:
        for socket in (deaf, reader):
            socket.send('421["subscribe:alerts"]')
            hears(socket, "431")
        # More than the buffers of both kernels take.
        sent = 0
        while health(server).dropped == 0 and sent < 400:
            server.live.alerts([an_alert(f"{sent}-{'x' * 50_000}")])
            hears(reader, '42["alert:new"')
            sent += 1
        wait_for(lambda: health(server).dropped == 1, "the deaf client to be cut off")
        wait_for(lambda: health(server).connections == 1, "one connection")
        server.live.alerts([an_alert("last")])
        assert '"id":"last"' in hears(reader, '42["alert:new"')


def test_a_client_that_answers_no_ping_is_cut_off() -> None:
    limits = bounds(ping_interval_s=0.2, ping_timeout_s=0.3)
    with live_server(limits) as server, raw(server) as socket:
        assert ends(socket)
        wait_for(lambda: health(server).connections == 0, "no connection")


def test_updates_for_a_client_that_has_not_taken_the_last_are_left_out() -> None:
    with live_server(bounds(unread_s=60)) as server:
        base = "/socket.io/?EIO=4&transport=polling"
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        sid = _get(connection, base).partition('"sid":"')[2].partition('"')[0]
        for body in ('40{"token":"planner"}', '42["subscribe:metrics"]'):
            connection.request("POST", f"{base}&sid={sid}", body)
            assert connection.getresponse().read() == b"OK"
            if "token" in body:
                assert _get(connection, f"{base}&sid={sid}").startswith("40")
        wait_for(lambda: health(server).skipped >= 3, "three updates that are left out")
        packets = _get(connection, f"{base}&sid={sid}").split("\x1e")
        assert sum("metrics:update" in packet for packet in packets) == 1
        connection.close()


def _get(connection: http.client.HTTPConnection, path: str) -> str:
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def test_a_queue_keeps_no_more_than_its_bounds_and_says_so() -> None:
    clock = Clock()
    queue = PacketQueue(bounds(queue_bytes=1000, queue_packets=5), clock)
    queue.put_nowait(Packet("x" * 5000))  # alone: what is sent must fit somewhere
    assert not queue.overflowed
    clock.advance_s(3)
    assert queue.waited_s == 3
    queue.put_nowait(Packet("y"))
    assert (queue.qsize(), queue.overflowed) == (1, True)
    queue.put_nowait(None)
    assert queue.qsize() == 2
    queue.get_nowait()
    assert queue.waited_s == 0
    queue.get_nowait()
    small = PacketQueue(bounds(queue_packets=5), clock)
    for _ in range(6):
        small.put_nowait(Packet("z"))
    assert (small.qsize(), small.overflowed) == (5, True)


@pytest.mark.asyncio
async def test_a_full_queue_can_still_be_waited_for() -> None:
    queue = PacketQueue(bounds(queue_packets=1))
    await queue.put(Packet("a"))
    await queue.put(Packet("b"))
    await queue.get()
    queue.task_done()
    await asyncio.wait_for(queue.join(), 1)


# ---------------------------------------------------------------- who may connect


def test_who_does_not_say_who_they_are_must_go() -> None:
    limits = bounds(connect_s=0.3)
    with live_server(limits) as server, raw(server, None) as silent, raw(server) as known:
        assert ends(silent)
        known.send('421["subscribe:alerts"]')
        assert '"success":true' in hears(known, "431")
        # Who says goodbye to Socket.IO alone is nobody again.
        known.send("41")
        assert ends(known)


def test_a_silent_poller_must_go_as_well() -> None:
    with live_server(bounds(connect_s=0.3)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        _get(connection, "/socket.io/?EIO=4&transport=polling")
        assert health(server).connections == 1
        wait_for(lambda: health(server).connections == 0, "no connection")
        connection.close()


def test_connections_are_bounded_in_all_for_each_caller_and_before_they_say_who_they_are() -> None:
    limits = bounds(connections=4, pending=2, per_caller=2)
    with live_server(limits) as server, ExitStack() as exits:
        with raw(server, None):
            exits.enter_context(raw(server, None))
            assert refused(server) == 503
        wait_for(lambda: health(server).connections == 1, "one connection")
        for _ in range(2):
            exits.enter_context(raw(server))
        with raw(server, None) as third:
            third.send('40{"token":"planner"}')
            assert '"code":"busy"' in hears(third, "44")
            third.send('40{"token":"admin"}')
            hears(third, "40")
            assert refused(server) == 503


def test_one_address_cannot_take_the_places_of_all_who_come() -> None:
    limits = bounds(handshakes=3, connect_s=4)  # time for them on a busy machine
    with live_server(limits) as server:
        begun = time.monotonic()
        for _ in range(3):
            with raw(server):
                pass
        assert refused(server) == 429
        wait_for(lambda: time.monotonic() - begun > 4.1, "the next round", 10)
        with raw(server) as socket:
            socket.send('421["subscribe:alerts"]')
            assert '"success":true' in hears(socket, "431")


@pytest.mark.parametrize(
    ("first", "second", "is_one_client"),
    [
        ("2001:db8::1", "2001:db8::2", True),
        ("2001:db8::1", "2001:db8:0:0:ffff::1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
    ],
)
@pytest.mark.asyncio
async def test_whoever_has_a_network_of_ipv6_is_one_client(
    first: str, second: str, is_one_client: bool
) -> None:
    gate = LiveGate(bounds(handshakes=1), (), Clock(1000.0))
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    async def send(message: dict[str, Any]) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    async def handle(*_: Any) -> None:
        statuses.append(200)

    for address in (first, second):
        scope = {"type": "http", "scheme": "http", "headers": [], "client": (address, 5)}
        await gate(scope, receive, send, handle, LiveLoad(0, {}))
    assert statuses == [200, 429 if is_one_client else 200]


def test_a_filter_that_fails_costs_itself(server: LiveServer) -> None:
    arrived = server.reader.ranges.latest

    def failing(parameters: Parameters) -> Any:
        if parameters.where.get("service") == "broken":
            raise RuntimeError("a broken service")
        return arrived(parameters)

    with raw(server) as broken, raw(server) as whole:
        server.reader.ranges.latest = failing  # type: ignore[method-assign]
        broken.send('421["subscribe:metrics",{"service":"broken"}]')
        whole.send('421["subscribe:metrics"]')
        for _ in range(3):
            hears(whole, '42["metrics:update"')
        assert health(server).trouble == "metrics: RuntimeError"


def refused(server: LiveServer) -> int:
    """Return the status with which a new connection is refused."""
    with pytest.raises(InvalidStatus) as error, raw(server, None):
        pass
    return error.value.response.status_code


@pytest.mark.parametrize("token", [None, "planner"], ids=["nobody", "somebody"])
def test_a_packet_that_is_too_large_ends_the_connection(
    server: LiveServer, token: str | None
) -> None:
    with raw(server, token) as socket:
        socket.send(f'42["subscribe:metrics","{"x" * 70_000}"]')
        assert ends(socket)


@pytest.mark.parametrize(
    "packet",
    ['459-["subscribe:metrics",{"_placeholder":true,"num":0}]', b"x", f'421["x",{"1" * 300}]'],
)
def test_binary_data_or_numbers_that_no_event_has_end_the_connection(
    server: LiveServer, packet: str | bytes
) -> None:
    with raw(server) as socket:
        socket.send(packet)
        assert ends(socket)


def test_who_guesses_tokens_is_cut_off(server: LiveServer) -> None:
    with raw(server, None) as socket:
        guesses = 0
        with suppress(ConnectionClosed):
            while guesses < 1000:
                socket.send(f'40{{"token":"guess-{guesses}"}}')
                hears(socket, "44")
                guesses += 1
        assert guesses < 50


def test_nonsense_harms_nobody(server: LiveServer) -> None:
    with raw(server) as good:
        for nonsense in (
            "",
            "9",
            "4",
            "42",
            "42[",
            "42{}",
            "42[7]",
            "451-[",
            "4" * 5000,
            "42" + "[" * 9000,
        ):
            with raw(server) as socket:
                socket.send(nonsense)
        good.send('421["subscribe:alerts"]')
        assert '"success":true' in hears(good, "431")


# ---------------------------------------------------------------- trouble


def test_alerts_beyond_the_bound_are_counted() -> None:
    with live_server(bounds(alerts=10)) as server:
        server.live.alerts([an_alert(str(number)) for number in range(25)])
        wait_for(lambda: health(server).alerts_lost == 15, "15 alerts lost")
    server.live.alerts([an_alert("late")])  # nobody is left to hear it


def test_a_failure_of_the_figures_shows_and_the_stream_goes_on(server: LiveServer) -> None:
    with raw(server) as socket:
        latest = server.reader.store.latest_gauges

        def failing(now_s: float) -> Any:
            raise RuntimeError("a broken store")

        server.reader.store.latest_gauges = failing  # type: ignore[method-assign]
        socket.send('421["subscribe:metrics"]')
        wait_for(lambda: health(server).trouble, "trouble")
        assert health(server).trouble == "metrics: RuntimeError"
        server.reader.store.latest_gauges = latest  # type: ignore[method-assign]
        hears(socket, '42["metrics:update"')
        wait_for(lambda: health(server).trouble is None, "no trouble")


def test_stopping_takes_no_longer_than_a_moment_with_a_client_that_hangs() -> None:
    with live_server(bounds(queue_bytes=10**8)) as server, raw(server) as deaf:
        deaf.send('421["subscribe:alerts"]')
        hears(deaf, "431")
        server.live.alerts([an_alert(f"{n}-{'x' * 200_000}") for n in range(60)])
        wait_for(lambda: health(server).sent >= 60, "60 alerts")
        assert server.stop() < 3
        assert ends(deaf)
