"""When the agent or the collector fails, requests do not, and the accounts come out even."""

import os
import socket
import struct
import time
from pathlib import Path
from typing import Any

import pytest

from support.processes.load import Load, drive
from support.processes.servers import Agent, Collector, Proc, wait_for
from support.processes.stack import Stack, connected, gunicorn, stack, uvicorn
from trimtab_core.frames import MAX_FRAME, FrameReader, encode
from trimtab_core.messages import Hello, Welcome, parse

MIB = 2**20


def even(system: Stack, service: str, sent: int) -> dict[str, Any]:
    """Wait until all of sent is booked; return the accounts, which must be exact."""
    system.wait_booked(service, sent, timeout_s=30)
    account = system.collector.api.accounting(service)
    booked = account["requests"] + account["agentLost"] + sum(account["dropped"].values())
    assert booked == sent, account
    assert account["requests"] + account["backgrounds"] == account["counted"]
    return account


def more(load: Load, answers: int, what: str) -> None:
    """Wait until a load has got that many more answers."""
    before = load.answered
    wait_for(lambda: load.answered > before + answers, what, 60)


def warmed(
    system: Stack, command: list[str], service: str = "shop", requests: int = 500, /, **env: str
) -> tuple[str, int, int]:
    """Start the app and warm it up; return a target, the requests sent and the memory used.

    Memory grows for some thousands of requests: who compares it asks for so many.
    """
    app = system.app(service, command, **env)
    target = f"{app.url}/items/1"
    load = drive([target], requests, connections=4)
    assert load.failed == 0
    return target, load.sent, app.rss_bytes()


@pytest.mark.alone
def test_an_agent_that_is_absent_costs_no_request_and_little_memory(tmp: Path) -> None:
    with stack(tmp) as system:
        system.agent.stop()
        target, sent, before = warmed(system, uvicorn(), "shop", 3000)
        load = drive([target], 20_000, connections=8)
        assert load.failed == 0
        assert system.apps["shop"].rss_bytes() - before < 8 * MIB
        system.agent.start()
        account = even(system, "shop", sent + load.sent)
        assert account["requests"] == sent + load.sent


def test_an_agent_that_stays_away_makes_the_app_drop_the_oldest_and_say_so(tmp: Path) -> None:
    with stack(tmp) as system:
        system.agent.stop()
        small = {"TRIMTAB_BACKLOG_KIB": "64", "TRIMTAB_BUFFER_KIB": "64"}
        target, sent, _ = warmed(system, uvicorn(), "shop", 3000, **small)
        load = drive([target], 3000, connections=4)
        assert load.failed == 0
        system.agent.start()
        account = even(system, "shop", sent + load.sent)
        assert account["dropped"]["agent_away"] > 0
        assert account["agentLost"] == 0


@pytest.mark.parametrize(
    "command", [uvicorn("--workers", "2"), gunicorn("-w", "2")], ids=["uvicorn", "gunicorn"]
)
def test_an_agent_killed_and_restarted_under_load_loses_only_what_is_booked(
    tmp: Path, command: list[str]
) -> None:
    with stack(tmp) as system:
        target, sent, _ = warmed(system, command)
        load = Load([target], connections=4).start()
        for _ in range(3):
            more(load, 500, "500 more answers")
            system.agent.kill9()
            more(load, 500, "answers without it")
            system.agent.start()
        more(load, 500, "500 more answers")
        load.stop()
        assert load.failed == 0
        even(system, "shop", sent + load.sent)


@pytest.mark.alone
def test_an_agent_frozen_for_ten_thousand_requests_costs_none_and_loses_nothing(tmp: Path) -> None:
    with stack(tmp) as system:
        target, sent, before = warmed(system, uvicorn(), "shop", 3000)
        load = Load([target], connections=2).start()
        system.agent.freeze()
        more(load, 10_000, "10,000 more answers while the agent stands still")
        assert system.apps["shop"].rss_bytes() - before < 8 * MIB
        system.agent.thaw()
        load.stop()
        assert load.failed == 0
        account = even(system, "shop", sent + load.sent)
        assert account["agentLost"] == 0
        assert account["requests"] + sum(account["dropped"].values()) == sent + load.sent


def test_a_collector_killed_ten_times_under_load_neither_loses_nor_doubles(tmp: Path) -> None:
    with stack(tmp) as system:
        target, sent, _ = warmed(system, uvicorn("--workers", "2"))
        load = Load([target], connections=2).start()
        for _ in range(10):
            more(load, 300, "300 more answers")
            system.collector.kill9()
            system.collector.start()
        load.stop()
        assert load.failed == 0
        account = even(system, "shop", sent + load.sent)
        assert account["requests"] == sent + load.sent


def test_an_agent_that_is_stopped_hands_on_what_it_has(tmp: Path) -> None:
    with stack(tmp, TRIMTAB_AGENT_WINDOW_S="300") as system:
        _, sent, _ = warmed(system, uvicorn())
        system.apps["shop"].stop()
        # The window would be open for minutes yet: its records leave because the agent does.
        assert system.agent.stop() == 0
        account = even(system, "shop", sent)
        assert account["requests"] == sent


def test_an_app_that_left_claims_its_records_in_every_window_that_holds_some(tmp: Path) -> None:
    with stack(tmp, TRIMTAB_AGENT_WINDOW_S="5") as system:
        with connected(system.agent) as opened:
            hello = Hello("test", "left", "", "host", 1, b"12345678")
            opened.sendall(encode(hello.frame()))
            # Two windows at once, as an agent finds them that was frozen for a while.
            now_us = time.time_ns() // 1000
            opened.sendall(encode(["samples", now_us - 5_000_000, 1, 0, {}, 48, bytes(48 * 3)]))
            opened.sendall(encode(["samples", now_us, 1, 3, {}, 48, bytes(48 * 4)]))
            opened.sendall(encode(["bye", 7, {}]))
        assert system.agent.stop() == 0
        account = even(system, "left", 7)
        assert (account["counted"], account["agentLost"]) == (7, 0)


def test_what_an_agent_could_not_send_is_sent_by_the_next_one(tmp: Path) -> None:
    with stack(tmp) as system:
        system.collector.kill9()
        _, sent, _ = warmed(system, uvicorn())
        system.apps["shop"].stop()
        assert system.agent.stop() == 0
        system.collector.start()
        system.agent.start()
        account = even(system, "shop", sent)
        assert account["requests"] == sent


def test_a_backlog_that_waits_its_turn_is_held_and_never_called_lost(tmp: Path) -> None:
    with stack(tmp) as system:
        api = system.collector.api
        system.collector.kill9()
        with connected(system.agent) as opened:
            opened.sendall(encode(Hello("test", "late", "", "host", 1, b"12345678").frame()))
            # Forty windows at once, as an app sends them that was cut off for a while.
            now_us = time.time_ns() // 1000
            for back in range(40, 0, -1):
                taken_us = now_us - back * 1_000_000
                first = (40 - back) * 100
                opened.sendall(encode(["samples", taken_us, 0, first, {}, 48, bytes(4800)]))
            wait_for(lambda: system.agent.held() >= 40, "the backlog on disk", 20)
            system.collector.start()
            seen = []

            def drained() -> bool:
                account = api.accounting("late")
                seen.append(account)
                return bool(account["counted"] == 4000)

            wait_for(drained, "the backlog at the collector", 30)
        assert [account for account in seen if account["agentLost"]] == []
        assert any(account["held"] for account in seen)


def closed_by(opened: socket.socket) -> bool:
    try:
        return opened.recv(4096) == b""
    except ConnectionResetError:
        return True


HOSTILE = {
    "garbage": os.urandom(4096),
    "length 0xFFFFFFFF": b"\xff\xff\xff\xff",
    "length just over the limit": struct.pack(">I", MAX_FRAME + 1),
    "100,000 nested lists": struct.pack(">I", 100_001) + b"\x91" * 100_000 + b"\x90",
    "a list of lists that unpacks large": struct.pack(">I", 60_003)
    + b"\xdc\xea\x60"
    + b"\x90" * 60_000,
    "samples before hello": encode(["samples", 1, 1, 0, {}, 48, bytes(48)]),
    "a hello without its fields": encode(["hello", {"service": "x"}]),
    "an empty frame": struct.pack(">I", 0),
}  # fmt: skip


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_protocol_closes_its_connection_and_no_other(
    system: Stack, service: str, data: bytes
) -> None:
    with connected(system.agent) as good:
        before = system.agent.rss_bytes()
        good.sendall(encode(Hello("test", service, "", "host", 1, os.urandom(8)).frame()))
        assert isinstance(parse(_frame(good)), Welcome)
        for _ in range(20):
            with connected(system.agent) as bad:
                try:
                    bad.sendall(data)
                except (BrokenPipeError, ConnectionResetError):
                    pass
                assert closed_by(bad)
        assert system.agent.rss_bytes() - before < 64 * MIB
        good.sendall(encode(["samples", time.time_ns() // 1000, 1, 0, {}, 48, bytes(48)]))
        system.wait_booked(service, 1)


def test_half_frames_of_many_connections_stay_within_bounds(system: Stack, service: str) -> None:
    before = system.agent.rss_bytes()
    halves = [connected(system.agent) for _ in range(100)]
    try:
        hello = encode(Hello("test", "half", "", "host", 1, os.urandom(8)).frame())
        for opened in halves:
            try:
                opened.sendall(hello[: len(hello) // 2])
            except (BrokenPipeError, ConnectionResetError):
                pass  # it is one too many of this process
        target, sent, _ = warmed(system, uvicorn(), service)
        assert target
        even(system, service, sent)
        assert system.agent.rss_bytes() - before < 64 * MIB
    finally:
        for opened in halves:
            opened.close()


def _frame(opened: socket.socket) -> list[object]:
    reader = FrameReader()
    while True:
        for message in reader.feed(opened.recv(4096)):
            return message


def test_a_second_agent_on_the_same_socket_says_so_and_harms_nobody(
    system: Stack, service: str
) -> None:
    other = Agent(system.directory, system.collector.url, "x")
    other.env["TRIMTAB_AGENT_DATA_DIR"] = str(system.directory / "other")
    with Proc.start(other):
        assert other.wait_exit() == 2
        assert "another agent listens on" in other.output()
    target, sent, _ = warmed(system, uvicorn(), service)
    assert target
    even(system, service, sent)


def test_a_wrong_key_keeps_the_data_until_the_right_one_comes(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        agent = Agent(tmp, collector.url, "ttk_wrong_key")
        with agent.start():
            agent.wait_line("cause=401")
        agent.env["TRIMTAB_AGENT_KEY"] = collector.new_key()
        with agent.start():
            opened = connected(agent)
            hello = Hello("test", "kept", "", "host", 1, b"12345678")
            opened.sendall(encode(hello.frame()))
            opened.sendall(encode(["samples", time.time_ns() // 1000, 1, 0, {}, 48, bytes(48)]))
            wait_for(lambda: collector.api.booked("kept") == 1, "the record", 20)
            opened.close()


def test_an_app_that_the_agents_key_does_not_name_costs_the_others_nothing(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        agent = Agent(tmp, collector.url, collector.new_key(services=["good"]))
        with agent.start():
            for service in ("good", "evil"):
                with connected(agent) as opened:
                    hello = Hello("test", service, "", "host", 1, os.urandom(8))
                    opened.sendall(encode(hello.frame()))
                    records = ["samples", time.time_ns() // 1000, 3, 0, {}, 48, bytes(3 * 48)]
                    opened.sendall(encode(records))
                    agent.wait_line(f"service={service}")
            wait_for(lambda: collector.api.booked("good") == 3, "the records of good", 30)
            wait_for(lambda: collector.api.counted("good") == 3, "its requests", 30)
            agent.wait_line("batch put aside status=403")
        assert list(tmp.rglob("quarantine/*.batch"))
