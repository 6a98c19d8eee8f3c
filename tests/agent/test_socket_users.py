"""Who may connect to the agent's socket: root, its own user, and those it is told; real users."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes.servers import Agent, wait_for
from trimtab_core.frames import encode
from trimtab_core.messages import Hello

STRANGER = 65_534

#: Connects as another user, says what it was told, and prints what came back.
AS_STRANGER = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
end.settimeout(20)
end.connect(sys.argv[1])
try:
    end.sendall(bytes.fromhex(sys.argv[2]))
    print(len(end.recv(4096)))
except (BrokenPipeError, ConnectionResetError):
    print(0)
"""


def heard_by_a_stranger(agent: Agent) -> int:
    """Return the bytes that the agent says to an app of another user who says hello."""
    # As if somebody had opened directory and socket to all.
    agent.socket_path.parent.chmod(0o755)
    agent.socket_path.chmod(0o666)
    hello = encode(Hello("test", "stranger", "", "h", 1, os.urandom(8)).frame())
    command = [sys.executable, "-c", AS_STRANGER, str(agent.socket_path), hello.hex()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return int(done.stdout)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("allowed", [False, True])
def test_an_app_of_another_user_is_refused_unless_the_agent_is_told(
    tmp: Path, allowed: bool
) -> None:
    env = {"TRIMTAB_AGENT_ALLOW_UIDS": str(STRANGER)} if allowed else {}
    with Agent(tmp, "http://127.0.0.1:1", "", **env).start() as agent:
        assert bool(heard_by_a_stranger(agent)) is allowed
        refused = 'trimtab_agent_frames_refused_total{reason="uid"}'
        assert agent.metric(refused) == (0 if allowed else 1)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as own:
            own.connect(str(agent.socket_path))
            own.sendall(encode(Hello("test", "own", "", "h", 1, os.urandom(8)).frame()))
            wait_for(lambda: own.recv(4096), "a welcome")


def test_the_socket_is_closed_to_others_by_its_mode(tmp: Path) -> None:
    with Agent(tmp, "http://127.0.0.1:1", "").start() as agent:
        assert agent.socket_path.stat().st_mode & 0o007 == 0
