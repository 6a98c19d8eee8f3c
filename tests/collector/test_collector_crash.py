"""Processes that are killed, starved and stopped: what was acknowledged stands, exactly once."""

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from support.disks.smalldisk import small_disk
from support.processes.servers import Collector, trimtab, wait_for
from support.stores.batches import Sender, a_batch, accounting_of, key_of, point_of, window
from trimtab_core.batches import Batch, Point

AGENTS = 4
REQUESTS = 7


def batch(agent: int, seq: int) -> Batch:
    """Return a batch whose records continue those of the one before it."""
    service = f"s{agent % 2}"
    points = {
        key_of(f"/{seq % 5}", service=service): point_of([1_000 + seq] * (REQUESTS - 1)),
        key_of("/slow", service=service, status_class="5xx"): point_of([900_000], errors=1),
    }
    first = seq * REQUESTS
    ranges = accounting_of(
        [(first, REQUESTS)], first + REQUESTS, process=b"process%d" % agent, service=service
    )
    return a_batch(
        seq, points, agent=f"agent-{agent}", window_s=window(1 + seq % 5), processes=[ranges]
    )


def test_killed_ten_times_in_the_middle_of_ingest_the_totals_are_exact(tmp: Path) -> None:
    kills = 10
    taken = [0] * AGENTS
    stop = threading.Event()
    failed: list[BaseException] = []
    with Collector(tmp) as collector:
        collector.start()
        key = collector.new_key()

        def drive(agent: int) -> None:
            try:
                with Sender(collector.port, key) as sender:
                    while not stop.is_set():
                        sender.insist(batch(agent, taken[agent]), tries=2_000)
                        taken[agent] += 1
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=drive, args=(agent,)) for agent in range(AGENTS)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(kills):
                seen = sum(taken)
                wait_for(lambda seen=seen: failed or sum(taken) > seen + 40, "batches", 30)  # type: ignore[misc]
                collector.kill9()
                collector.start()
        finally:
            stop.set()
            for thread in threads:
                thread.join(60)
        assert failed == []
        check(collector, taken)
        # Everything again, as agents do whose answers were lost: nothing is added.
        with Sender(collector.port, key) as sender:
            for agent in range(AGENTS):
                for seq in range(taken[agent]):
                    assert sender.insist(batch(agent, seq))["duplicate"] is True
        check(collector, taken)
        assert collector.stop() == 0


def check(collector: Collector, taken: list[int]) -> None:
    for number in (0, 1):
        sent = sum(n for agent, n in enumerate(taken) if agent % 2 == number)
        row = collector.api.get("/services", service=f"s{number}")["services"][0]
        assert row["requests"] == sent * REQUESTS
        assert row["errors"] == sent
        assert row["accounting"]["counted"] == sent * REQUESTS
        assert row["accounting"]["requests"] == sent * REQUESTS
        assert row["accounting"]["agentLost"] == 0


def test_a_full_disk_is_told_to_agents_and_passes_by_itself(tmp: Path) -> None:
    points = {key_of(f"/{n}"): point_of([n * 37]) for n in range(2_000)}
    with small_disk(tmp / "disk", 24) as disk, Collector(disk.path) as collector:
        collector.start()
        key = collector.new_key()

        def requests() -> int:
            routes = collector.api.get("/routes", from_="-5m", limit=1)["routes"]
            return int(routes[0]["requests"])

        with Sender(collector.port, key) as sender:
            assert sender.insist(a_batch(0, points))["duplicate"] is False
            disk.fill()
            taken = 1
            status = 202
            while status == 202 and taken < 1_000:
                status, body = sender.post(a_batch(taken, points))
                taken += status == 202
            assert status == 503, body
            assert "cannot be written" in body["error"]["message"]
            assert "full" in body["error"]["message"]
            assert int(sender.headers["retry-after"]) > 0
            health = collector.api.get("/health")
            assert health["status"] == "degraded"
            assert "full" in json.dumps(health)
            assert requests() == taken
            disk.give_back()
            assert sender.insist(a_batch(taken, points))["duplicate"] is False
            assert sender.insist(a_batch(taken, points))["duplicate"] is True

            def healthy() -> bool:
                return bool(collector.api.get("/health")["status"] == "healthy")

            # What is judged every ten seconds could not be kept either.
            wait_for(healthy, "a healthy collector", 30)
            assert requests() == taken + 1
        collector.kill9()
        collector.start()
        assert requests() == taken + 1


def test_it_starts_and_answers_on_a_full_disk(tmp: Path) -> None:
    with small_disk(tmp / "disk", 24) as disk, Collector(disk.path) as collector:
        collector.start()
        key = collector.new_key()
        with Sender(collector.port, key) as sender:
            for seq in range(10):
                sender.insist(a_batch(seq, {key_of("/a"): point_of([1_000])}))
        collector.kill9()
        disk.fill()
        collector.start()
        routes = collector.api.get("/routes", from_="-5m", limit=1)["routes"]
        assert routes[0]["requests"] == 10
        disk.give_back()
        with Sender(collector.port, key) as sender:
            assert sender.insist(a_batch(10))["duplicate"] is False


def test_totals_beyond_all_numbers_refuse_no_batch(tmp: Path) -> None:
    with Collector(tmp) as collector:
        collector.start()
        absurd = {key_of(f"/{n}"): Point(backgrounds=2**53, background_us=1) for n in range(1_100)}
        with Sender(collector.port, collector.new_key()) as sender:
            for seq in range(3):
                assert sender.insist(a_batch(seq, absurd), tries=3)["duplicate"] is False
        collector.kill9()
        collector.start()
        row = collector.api.get("/services")["services"][0]
        assert row["accounting"]["backgrounds"] == 2**63 - 1


@pytest.mark.alone
def test_it_stops_within_five_seconds_while_agents_wait_for_commands(tmp: Path) -> None:
    with Collector(tmp) as collector:
        collector.start()
        key = collector.new_key()
        answers: list[object] = []

        def poll(number: int) -> None:
            with Sender(collector.port, key, timeout_s=60) as sender:
                answers.append(sender.commands(f"agent-{number}", wait=50)[0])

        threads = [threading.Thread(target=poll, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        with Sender(collector.port, key) as sender:
            sender.insist(a_batch(0))
            begun = time.monotonic()
            assert collector.stop() == 0
            assert time.monotonic() - begun < 5
        for thread in threads:
            thread.join(5)
        assert answers == [200] * 5
        collector.start()
        assert collector.api.get("/services")["services"][0]["requests"] == 1


def refused(tmp: Path, *arguments: str, **env: str) -> str:
    """Return the sentence of a collector that does not start."""
    with Collector(tmp, **env) as collector:
        collector.command += arguments
        super(Collector, collector).start()
        assert collector.wait_exit() == 2
        assert "Traceback" not in collector.output()
        return collector.output()


def test_a_busy_port_is_named_and_what_to_do(tmp: Path) -> None:
    with Collector(tmp) as collector:
        collector.start()
        (tmp / "other").mkdir()
        sentence = refused(tmp / "other", TRIMTAB_COLLECTOR_PORT=str(collector.port))
        assert f"expected 127.0.0.1:{collector.port} to be free" in sentence
        assert "--port" in sentence
        assert collector.api.get("/health")["status"] == "healthy"


def test_a_second_collector_on_the_same_directory_leaves_the_first_alone(tmp: Path) -> None:
    with Collector(tmp) as collector:
        collector.start()
        sentence = refused(tmp, "--port", "0")
        assert "another collector uses" in sentence
        assert "--data-dir" in sentence
        assert collector.api.get("/health")["status"] == "healthy"


@pytest.mark.parametrize(
    ("env", "word"),
    [
        ({"TRIMTAB_COLLECTOR_HOST": "0.0.0.0"}, "insecure"),
        ({"TRIMTAB_COLLECTOR_PORT": "80x"}, "whole number"),
        ({"TRIMTAB_COLLECTOR_PORT": "70000"}, "65535"),
        ({"TRIMTAB_COLLECTOR_LOG_LEVEL": "loud"}, "expected one of"),
        (
            {"TRIMTAB_COLLECTOR_HOST": "no.such.host.invalid", "TRIMTAB_COLLECTOR_INSECURE": "1"},
            "--host",
        ),
        (
            {"TRIMTAB_COLLECTOR_HOST": "192.0.2.1", "TRIMTAB_COLLECTOR_INSECURE": "1"},
            "expected an address of this machine, got '192.0.2.1'",
        ),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(
    tmp: Path, env: dict[str, str], word: str
) -> None:
    assert word in refused(tmp, **env)


def test_an_unknown_setting_in_a_file_is_refused_with_a_suggestion(tmp: Path) -> None:
    file = tmp / "trimtab.toml"
    file.write_text("[collector]\nprot = 1\n")
    assert "did you mean port?" in refused(tmp, "--config", str(file))


def test_port_zero_takes_a_free_one_and_the_token_is_shown_once(tmp: Path) -> None:
    command = trimtab("collector", "--port", "0", "--json")
    with Collector(tmp) as collector:
        collector.command = command
        del collector.env["TRIMTAB_COLLECTOR_TOKEN"]
        collector.start()
        line = collector.wait_line("trimtab collector listening on http://127.0.0.1:")
        ready = collector.wait_line('"tokenFile"')
        assert line.rpartition(":")[2] in ready
        token = (collector.data / "token").read_text().strip()
        assert token in collector.output()
        assert (collector.data / "token").stat().st_mode & 0o777 == 0o600
        assert (collector.data / "metrics.db").stat().st_mode & 0o777 == 0o600
        assert (collector.data / "keys.db").stat().st_mode & 0o777 == 0o600
        assert collector.stop() == 0
        collector.start()
        assert token not in collector.output()


@pytest.mark.parametrize("command", ["collector", "up", "key"])
def test_help_is_there_without_starting_anything(command: str) -> None:
    done = subprocess.run(
        trimtab(command, "--help"), capture_output=True, text=True, check=True, timeout=20
    )
    assert done.stdout.startswith(f"usage: trimtab {command}")


def test_the_console_finds_the_collector_without_loading_numpy() -> None:
    code = "import sys, trimtab_collector.cli; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
