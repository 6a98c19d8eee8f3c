"""Whose a service is at the agent's sockets: real users, and whoever has the token over TCP."""

import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from support.lacking import lack
from support.processes.servers import Agent, free_port, short_dir
from trimtab.connection import Connections
from trimtab_agent.app import App
from trimtab_agent.owners import TCP, ServiceOwners
from trimtab_core.config import parse_address
from trimtab_core.errors import StartupError
from trimtab_core.frames import encode
from trimtab_core.messages import Hello

TOKEN = "a token for apps over TCP"

#: Apps: each becomes a user, says hello and tells the first word of the answer, if there is one.
#: The first one stays connected until the others were heard.
APPS = """
import json, os, socket, sys
from trimtab_core.frames import FrameReader, encode
from trimtab_core.messages import Hello

def app(uid, service, process, out, until=None):
    os.setgroups([]); os.setgid(uid); os.setuid(uid)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.settimeout(10)
        opened.connect(sys.argv[1])
        hello = Hello("test", service, "1", "host", 1, process.encode())
        opened.sendall(encode(hello.frame(), None))
        try:
            data = opened.recv(65536)
        except ConnectionError:
            data = b""
        said = next(iter(FrameReader(65536).feed(data)))[0] if data else "closed"
        os.write(out, said.encode())
        if until is not None:
            os.read(until, 1)

def begun(*words, until=None):
    mine, theirs = os.pipe()
    if not os.fork():
        try:
            app(*words, theirs, until)
        finally:
            os._exit(0)
    os.close(theirs)
    return mine

asked = json.loads(sys.argv[2])
until, end = os.pipe()
first = os.read(begun(*asked[0], until=until), 100)
said = [first.decode()] + [os.read(begun(*words), 100).decode() for words in asked[1:]]
os.write(end, b"x")
print(json.dumps(said))
"""


def answers(agent: Agent, *asked: tuple[int, str, str]) -> list[str]:
    """Return what apps hear, each by user, service and process: welcome or closed.

    The first one is connected while the others ask.
    """
    command = [sys.executable, "-c", APPS, str(agent.socket_path), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found: list[str] = json.loads(done.stdout)
    return found


def test_no_user_writes_as_a_service_of_another() -> None:
    if os.getuid() != 0:
        lack("only root can start processes of other users")
    settings = {
        "TRIMTAB_AGENT_SERVICE_UIDS": "1001=shop,1001=cart-*,1002=billing",
        "TRIMTAB_AGENT_ALLOW_UIDS": "1003",
    }
    with short_dir() as directory:
        agent = Agent(directory, "http://127.0.0.1:1", "", **settings)
        with agent:
            agent.start()
            directory.chmod(0o711)
            agent.socket_path.chmod(0o666)
            asked = [
                (uid, service, f"{uid:04}{place:04}")
                for uid in (1001, 1002, 1003, 1004, 0)
                for place, service in enumerate(("shop", "cart-eu", "billing", "other"))
            ]
            heard = zip(asked, answers(agent, *asked), strict=True)
            welcome = {who[:2] for who, said in heard if said == "welcome"}
            assert welcome == {
                *((1001, service) for service in ("shop", "cart-eu")),
                (1002, "billing"),
                (1003, "other"),
                *((0, service) for service in ("shop", "cart-eu", "billing", "other")),
            }
            assert agent.metric('trimtab_agent_frames_refused_total{reason="service"}') == 8
            assert agent.metric('trimtab_agent_frames_refused_total{reason="uid"}') == 4
            agent.wait_line("may not write as service")
            # Nobody is a process of another user as long as that one is connected.
            same = [(1001, "shop", "process1"), (1002, "billing", "process1")]
            assert answers(agent, *same) == ["welcome", "closed"]
            assert answers(agent, same[1]) == ["welcome"]


def test_who_has_the_token_writes_as_services_of_tcp_and_of_nobody(tmp: Path) -> None:
    port = free_port()
    settings = {
        "TRIMTAB_AGENT_SERVICE_UIDS": "1001=shop,tcp=batch,tcp=cron-?",
        "TRIMTAB_AGENT_TCP": f"tcp://127.0.0.1:{port}",
        "TRIMTAB_AGENT_TOKEN": TOKEN,
    }
    with Agent(tmp, "http://127.0.0.1:1", "", **settings) as agent:
        agent.start()
        for service, may in (("shop", False), ("batch", True), ("cron-1", True), ("x", False)):
            hello = Hello("test", service, "1", "host", 1, b"8 bytes!")
            address = parse_address(f"tcp://127.0.0.1:{port}")
            link = Connections().connect(address, frozenset(), TOKEN)
            with closing(link.socket):
                link.socket.settimeout(10)
                link.socket.sendall(encode(hello.frame(), link.seal))
                assert bool(link.socket.recv(65536)) == may, service


@pytest.mark.parametrize(
    "text", ["shop", "x=shop", "1001=", "-1=shop", "=shop", "1001:shop", "²=a"]
)
def test_a_wrong_setting_ends_the_start(text: str) -> None:
    with pytest.raises(StartupError, match="expected UID=SERVICE or tcp=SERVICE"):
        ServiceOwners([text])


def test_without_settings_everybody_writes_as_any_service() -> None:
    owners = ServiceOwners()
    assert owners.may("1001", "shop")
    assert owners.may(TCP, "shop")
    assert owners.uids == frozenset()


def test_a_process_that_left_may_come_back_as_another_user() -> None:
    # It was started by root and has become somebody else.
    app = App(Hello("test", "shop", "1", "host", 1, b"8 bytes!"), 0, who="0")
    owners = ServiceOwners(["1001=shop"])
    assert owners.refusal("1001", "shop", app) is not None
    app.leave()
    assert owners.refusal("1001", "shop", app) is None
