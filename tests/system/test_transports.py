"""TCP between app and agent: with and without a token, and what each side refuses."""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from support.processes.load import drive
from support.processes.servers import (
    Agent,
    Collector,
    Proc,
    free_port,
    short_dir,
    trimtab,
    wait_for,
)
from support.processes.stack import Stack, gunicorn, stack, uvicorn
from trimtab.connection import Connections
from trimtab_core.config import parse_address
from trimtab_core.errors import FrameError
from trimtab_core.frames import FrameReader, encode
from trimtab_core.messages import Hello, Samples, Welcome, parse
from trimtab_core.records import Record, pack
from trimtab_core.seal import Seal, new_nonce, proof_of, proves, seal_of

SECRET = "a-token-of-the-tests"


def hello(service: str, process: bytes = b"") -> list[object]:
    return Hello("test", service, "", "host", 1, process or os.urandom(8)).frame()


def samples(first: int, count: int = 1) -> list[object]:
    data = pack(Record(0, 1, 0, 200, 1000)) * count
    return Samples(time.time_ns() // 1000, 0, first, {}, 48, data).frame()


def reached(system: Stack, service: str, sent: int) -> None:
    system.wait_booked(service, sent)
    account = system.collector.api.accounting(service)
    assert (account["requests"], account["agentLost"]) == (sent, 0)


@pytest.fixture(scope="module")
def open_agent() -> Iterator[Stack]:
    """A stack whose agent takes apps over TCP, without a token."""
    with listening() as system:
        yield system


@pytest.fixture(scope="module")
def sealed() -> Iterator[Stack]:
    """A stack whose agent takes apps over TCP that have its token."""
    with listening(TRIMTAB_AGENT_TOKEN=SECRET) as system:
        yield system


@contextmanager
def listening(**env: str) -> Iterator[Stack]:
    address = f"tcp://127.0.0.1:{free_port()}"
    with short_dir() as directory, stack(directory, TRIMTAB_AGENT_TCP=address, **env) as system:
        yield system


def address_of(system: Stack) -> str:
    return system.agent.env["TRIMTAB_AGENT_TCP"]


@pytest.mark.parametrize("agent", ["open_agent", "sealed"])
@pytest.mark.parametrize("command", [uvicorn(), gunicorn("-w", "2")], ids=["asgi", "wsgi"])
def test_an_app_is_counted_over_tcp(
    request: pytest.FixtureRequest, service: str, agent: str, command: list[str]
) -> None:
    system: Stack = request.getfixturevalue(agent)
    secret = {"TRIMTAB_AGENT_TOKEN": SECRET} if agent == "sealed" else {}
    over_unix = f"{service}-unix"
    with (
        system.app(service, command, TRIMTAB_AGENT=address_of(system), **secret) as app,
        system.app(over_unix, command) as other,
    ):
        assert drive([f"{app.url}/items/1"], 500, connections=4).failed == 0
        reached(system, service, 500)
        # Both ways at once, and none of it twice.
        assert drive([f"{other.url}/items/1"], 100).failed == 0
        reached(system, over_unix, 100)


@pytest.mark.parametrize(
    ("apps", "agents", "sentence"),
    [
        ("", SECRET, "got one that has none"),
        (SECRET, "", "no TRIMTAB_AGENT_TOKEN is set"),
        ("another-token-than-the-agents", SECRET, "the agent does not have the token"),
    ],
    ids=["agent alone", "app alone", "different"],
)
def test_a_token_on_one_side_alone_keeps_them_apart_and_says_so(
    tmp: Path, apps: str, agents: str, sentence: str
) -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    env = {"TRIMTAB_AGENT_TOKEN": agents} if agents else {}
    with stack(tmp, TRIMTAB_AGENT_TCP=address, **env) as system:
        own = {"TRIMTAB_AGENT_TOKEN": apps} if apps else {}
        app = system.app("shop", uvicorn(), TRIMTAB_AGENT=address, **own)
        assert drive([f"{app.url}/items/1"], 50).failed == 0
        said = lambda: sentence in system.agent.output() + app.output()  # noqa: E731
        wait_for(said, f"a log line with {sentence!r}", 10)
        assert system.collector.api.booked("shop") == 0


def test_an_agent_off_loopback_wants_a_token(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        for env, words in (
            ({}, "expected a token for tcp://0.0.0.0"),
            ({"TRIMTAB_AGENT_TOKEN": "short"}, "expected a token of at least 16 characters"),
        ):
            agent = Agent(tmp, collector.url, "x", TRIMTAB_AGENT_TCP="tcp://0.0.0.0:8622", **env)
            with Proc.start(agent):
                assert agent.wait_exit() == 2
                assert words in agent.output()


class Raw:
    """An app's end of a sealed connection, made by hand."""

    def __init__(self, address: str) -> None:
        link = Connections().connect(parse_address(address), frozenset(), SECRET)
        self.socket, self.reader, self.seal, _ = link
        self.socket.settimeout(10)

    def send(self, message: list[object]) -> bytes:
        data = encode(message, self.seal)
        self.socket.sendall(data)
        return data

    def welcome(self) -> Welcome:
        """Wait for the answer to hello."""
        while True:
            for frame in self.reader.feed(self.socket.recv(4096)):
                message = parse(frame)
                assert isinstance(message, Welcome)
                return message

    def close(self) -> None:
        self.socket.close()

    def closed(self) -> bool:
        try:
            while self.socket.recv(4096):
                pass
        except ConnectionResetError:
            pass
        return True


@pytest.mark.parametrize("attack", ["flipped", "repeated", "skipped", "unsealed"])
def test_a_frame_that_is_not_the_next_of_its_connection_ends_it(
    sealed: Stack, service: str, attack: str
) -> None:
    refused = 'trimtab_agent_frames_refused_total{reason="bad_frame"}'
    before = sealed.agent.metric(refused)
    with closing(Raw(address_of(sealed))) as raw:
        raw.send(hello(service))
        frame = raw.send(samples(0, 3))
        if attack == "flipped":
            changed = bytearray(encode(samples(3), raw.seal))
            changed[-20] ^= 1
            raw.socket.sendall(changed)
        elif attack == "repeated":
            raw.socket.sendall(frame)
        elif attack == "skipped":
            encode(samples(3), raw.seal)
            raw.socket.sendall(encode(samples(4), raw.seal))
        else:
            raw.socket.sendall(encode(samples(3)))
        assert raw.closed()
        wait_for(lambda: sealed.collector.api.booked(service) >= 3, "the whole frame", 10)
        assert sealed.collector.api.accounting(service)["counted"] == 3
        assert sealed.agent.metric(refused) == before + 1


def test_a_process_that_connects_anew_takes_over_from_a_connection_that_hangs(
    sealed: Stack, service: str
) -> None:
    process = os.urandom(8)
    # The first one's host is gone: it sends no end.
    with (
        closing(Raw(address_of(sealed))) as hanging,
        closing(Raw(address_of(sealed))) as anew,
    ):
        hanging.send(hello(service, process))
        worker = hanging.welcome().worker
        hanging.send(samples(0, 5))
        anew.send(Hello("test", service, "", "host", 1, process, sent=5, worker=worker).frame())
        anew.send(samples(5, 5))
        reached(sealed, service, 10)
        assert hanging.closed()
        (row,) = sealed.collector.api.get("/services", service=service)["services"]
        assert row["instances"] == [f"host#{worker}"]


def test_a_proof_is_good_for_its_own_role_nonces_and_token_alone() -> None:
    one, other = new_nonce(), new_nonce()
    proof = proof_of(SECRET, "app", one, other)
    assert proves(proof, SECRET, "app", one, other)
    for changed in (
        ("x" * 16, "app", one, other),
        (SECRET, "agent", one, other),
        (SECRET, "app", other, one),
        (SECRET, "app", one, one),
    ):
        assert not proves(proof, *changed)


def test_both_ends_of_a_seal_agree_until_a_byte_differs() -> None:
    ours, theirs = (seal_of(SECRET, "app", b"1" * 32, b"2" * 32) for _ in range(2))
    reader = FrameReader()
    reader.seal = theirs
    frames = b"".join(encode(["gauges", number], ours) for number in range(3))
    got = [frame for byte in frames for frame in reader.feed(bytes([byte]))]
    assert got == [["gauges", 0], ["gauges", 1], ["gauges", 2]]
    with pytest.raises(FrameError, match="expected a frame with the MAC"):
        list(reader.feed(encode(["gauges", 3], Seal(b"other"))))


def test_a_server_that_is_no_agent_is_named(tmp: Path) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        address = parse_address(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        server.listen()

        def answer() -> None:
            opened, _ = server.accept()
            with opened:
                opened.recv(4096)
                opened.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(OSError, match="what listens there is not an agent"):
            Connections().connect(address, frozenset(), SECRET)
        thread.join()


def test_without_a_token_the_agent_is_welcome_as_it_is(open_agent: Stack, service: str) -> None:
    link = Connections().connect(parse_address(address_of(open_agent)), frozenset(), "")
    with link.socket as opened:
        opened.settimeout(10)
        opened.sendall(encode(hello(service)))
        (frame,) = link.reader.feed(opened.recv(4096))
        assert isinstance(parse(frame), Welcome)


@pytest.mark.parametrize("token", [SECRET, "another-secret-than-theirs"])
def test_doctor_knows_whether_the_tokens_are_the_same(sealed: Stack, tmp: Path, token: str) -> None:
    env = {"TRIMTAB_AGENT": address_of(sealed), "TRIMTAB_AGENT_TOKEN": token}
    with Proc("doctor", trimtab("doctor"), tmp, env).start() as doctor:
        doctor.wait_exit()
        line = next(each for each in doctor.output().splitlines() if "agent socket" in each)
    if token == SECRET:
        assert line.startswith("ok")
    else:
        assert line.startswith("FAIL")
        assert "does not have the token" in line
