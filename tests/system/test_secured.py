"""The whole chain over TLS and IPv6: app, agent and collector, `trimtab doctor`, `trimtab up`."""

import json
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.lacking import lack
from support.processes.api import TOKEN
from support.processes.authority import Authority, write_together
from support.processes.load import drive
from support.processes.servers import (
    Agent,
    App,
    Collector,
    Proc,
    clean_environment,
    free_port,
    short_dir,
    trimtab,
    wait_for,
)
from support.processes.stack import uvicorn
from trimtab_core.tls import client_context


def need_ipv6() -> None:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError as error:
        lack(f"this machine has no ::1: {error}")


def read(url: str, authority: Authority) -> Any:
    """Return `data` of an answer over TLS."""
    request = urllib.request.Request(url, headers={"authorization": f"Bearer {TOKEN}"})
    context = client_context(str(authority.ca_file))
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return json.loads(answer.read())["data"]


@dataclass
class Chain:
    directory: Path
    authority: Authority
    collector: Collector
    agent: Agent
    url: str

    def counted(self, service: str) -> int:
        """Return the requests of a service that the collector has."""
        rows = read(f"{self.url}/api/performance/services", self.authority)["services"]
        return sum(row["accounting"]["requests"] for row in rows if row["service"] == service)


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    """Collector with TLS on ::1, below a prefix, and an agent that reaches it there."""
    need_ipv6()
    with short_dir() as directory, ExitStack() as exits:
        authority = Authority(directory)
        pair = authority.issue("::1", "localhost")
        collector = Collector(
            directory,
            TRIMTAB_COLLECTOR_HOST="::1",
            TRIMTAB_COLLECTOR_TLS_CERT=str(pair.cert),
            TRIMTAB_COLLECTOR_TLS_KEY=str(pair.key),
            TRIMTAB_COLLECTOR_BASE_URL="https://monitor.example/trimtab",
        )
        url = f"https://[::1]:{collector.port}"
        exits.enter_context(collector.start())
        assert f"listening on {url}" in collector.output()
        # A key that is this agent's alone from its first batch on.
        agent = Agent(directory, f"{url}/trimtab", collector.new_key(agents=()))
        agent.env |= {
            "TRIMTAB_AGENT_COLLECTOR_CA_FILE": str(authority.ca_file),
            "TRIMTAB_AGENT_HTTP": f"[::1]:{agent.http_port}",
            "TRIMTAB_AGENT_TCP": f"tcp://[::1]:{free_port()}",
        }
        agent.http = f"http://[::1]:{agent.http_port}"
        exits.enter_context(agent.start())
        yield Chain(directory, authority, collector, agent, url)


def test_requests_travel_over_ipv6_and_tls_below_a_prefix(chain: Chain) -> None:
    place = chain.agent.env["TRIMTAB_AGENT_TCP"]
    with App(chain.directory, "six", place, uvicorn()).start() as app:
        assert drive([f"{app.url}/items/1"], 50).failed == 0
        wait_for(lambda: chain.counted("six") == 50, "the requests", 30)
    assert chain.agent.metric("trimtab_agent_apps") >= 0  # its endpoint answers on ::1
    assert "certificate" not in chain.agent.output()


def test_the_prefix_may_be_kept_or_taken_off(chain: Chain) -> None:
    for prefix in ("", "/trimtab"):
        url = f"{chain.url}{prefix}/api/performance/health"
        assert read(url, chain.authority)["connections"]["open"] >= 1


def doctor(chain: Chain, **env: str) -> dict[str, dict[str, str]]:
    environment = clean_environment() | chain.agent.env | env
    environment["TRIMTAB_AGENT"] = chain.agent.socket
    done = subprocess.run(
        trimtab("doctor", "--json"), env=environment, capture_output=True, text=True, check=False
    )
    return {row["what"]: row for row in json.loads(done.stdout)}


def test_doctor_says_how_the_way_to_the_collector_is_secured(chain: Chain) -> None:
    wait_for(lambda: chain.agent.metric("trimtab_agent_batches_sent_total") > 0, "a batch", 20)
    found = doctor(chain)
    assert found["collector"]["state"] == "ok"
    assert found["encryption"]["found"].startswith("TLSv1.3, its certificate ends in ")
    assert found["agent health"]["state"] == "ok"
    assert found["agent key"]["state"] == "ok"


def test_doctor_explains_a_certificate_that_is_not_trusted(chain: Chain) -> None:
    found = doctor(chain, TRIMTAB_AGENT_COLLECTOR_CA_FILE="")
    assert found["collector"]["state"] == "failed"
    assert "nobody trusted here has signed the certificate of ::1" in found["collector"]["found"]
    found = doctor(chain, TRIMTAB_AGENT_COLLECTOR_CA_FILE="/nowhere.pem")
    assert "cannot read /nowhere.pem" in found["collector"]["found"]
    plain = chain.url.replace("https", "http")
    found = doctor(chain, TRIMTAB_AGENT_COLLECTOR_URL=plain)
    assert found["collector"]["found"].endswith("got 426")


def test_an_agent_whose_collector_is_not_trusted_keeps_its_batches_until_it_is(
    chain: Chain, tmp: Path
) -> None:
    theirs = Authority(tmp)
    trusted = tmp / "trusted.pem"
    trusted.write_bytes(theirs.ca_file.read_bytes())
    agent = Agent(tmp, chain.url, chain.collector.new_key())
    agent.env["TRIMTAB_AGENT_COLLECTOR_CA_FILE"] = str(trusted)
    with agent.start():
        line = agent.wait_line("nobody trusted here has signed the certificate of ::1")
        assert "name it or its authority in collector_ca_file" in line
        assert agent.held() > 0
        trusted.write_bytes(chain.authority.ca_file.read_bytes())
        agent.child.send_signal(signal.SIGHUP)
        agent.wait_line("collector accepts batches again")
        wait_for(lambda: agent.held() == 0, "the batches to be sent", 20)


def test_an_agent_says_that_a_key_would_travel_in_the_clear(tmp: Path) -> None:
    with Agent(tmp, "http://192.0.2.1:8620", "ttk_none").start() as agent:
        assert "the key and all data travel in the clear" in agent.output()


def test_up_with_tls_serves_others_over_it_and_its_own_agent_without(tmp: Path) -> None:
    authority = Authority(tmp)
    pair = authority.issue("localhost")
    port = free_port()
    env = {
        "TRIMTAB_COLLECTOR_PORT": str(port),
        "TRIMTAB_COLLECTOR_DATA_DIR": str(tmp / "c"),
        "TRIMTAB_COLLECTOR_TOKEN": TOKEN,
        "TRIMTAB_COLLECTOR_TLS_CERT": str(pair.cert),
        "TRIMTAB_COLLECTOR_TLS_KEY": str(pair.key),
        "TRIMTAB_AGENT_SOCKET": f"unix://{tmp}/a.sock",
        "TRIMTAB_AGENT_DATA_DIR": str(tmp / "a"),
        "TRIMTAB_AGENT_HTTP": f"127.0.0.1:{free_port()}",
        "TRIMTAB_AGENT_WINDOW_S": "1",
    }
    health = f"https://localhost:{port}/api/performance/health"
    with Proc("up", trimtab("up"), tmp, env).start() as up:
        up.wait_line(f"trimtab collector listening on https://127.0.0.1:{port}")
        up.wait_line("trimtab agent listening on")
        wait_for(lambda: read(health, authority)["store"]["batches"], "a batch of its agent", 20)
        renewed = authority.issue("localhost")
        write_together(renewed, pair.cert, pair.key)
        up.child.send_signal(signal.SIGHUP)
        up.wait_line("trimtab.reload settings read again")
        up.wait_line("trimtab.agent settings read again")
        end = f"{renewed.until:%Y-%m-%dT%H:%M:%S}"
        assert read(health, authority)["certificate"]["validUntil"].startswith(end)
        assert up.stop() == 0
