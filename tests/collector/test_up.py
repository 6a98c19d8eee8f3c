"""`trimtab up`: collector and agent as one command that starts and ends as one."""

import os
import signal
from pathlib import Path

import psutil
import pytest

from support.processes.api import TOKEN, Api
from support.processes.servers import Proc, free_port, trimtab, wait_for


def up(tmp: Path, **more: str) -> tuple[Proc, Api]:
    port = free_port()
    env = {
        "TRIMTAB_COLLECTOR_PORT": str(port),
        "TRIMTAB_COLLECTOR_DATA_DIR": str(tmp / "c"),
        "TRIMTAB_COLLECTOR_TOKEN": TOKEN,
        "TRIMTAB_AGENT_SOCKET": f"unix://{tmp}/a.sock",
        "TRIMTAB_AGENT_DATA_DIR": str(tmp / "a"),
        "TRIMTAB_AGENT_HTTP": f"127.0.0.1:{free_port()}",
        "TRIMTAB_AGENT_WINDOW_S": "1",
        **more,
    }
    return Proc("up", trimtab("up"), tmp, env), Api(f"http://127.0.0.1:{port}")


def started(process: Proc) -> None:
    process.start()
    process.wait_line("trimtab collector listening on")
    process.wait_line("trimtab agent listening on")


def agent_of(process: Proc) -> int:
    """Return the pid of the agent; the other child merges the collector's batches."""
    (agent,) = [pid for pid in process.children() if "agent" in psutil.Process(pid).cmdline()]
    return agent


def test_both_run_with_a_key_made_once_and_end_together(tmp: Path) -> None:
    process, api = up(tmp)
    with process:
        started(process)
        agent = agent_of(process)
        key = (tmp / "c" / "agent-key").read_text().strip()
        assert (tmp / "c" / "agent-key").stat().st_mode & 0o777 == 0o600
        assert not any(key in word for word in psutil.Process(agent).cmdline())
        # Its gauges arrive: the key is taken.
        wait_for(lambda: api.get("/health")["store"]["batches"] > 0, "a batch of the agent", 20)
        assert api.get("/health")["store"]["refused"] == {}
        assert process.stop() == 0
        assert not psutil.pid_exists(agent)
        started(process)
        assert (tmp / "c" / "agent-key").read_text().strip() == key
        assert process.stop(signal.SIGINT) == 0


def test_files_that_a_crash_left_empty_are_made_again(tmp: Path) -> None:
    process, api = up(tmp, TRIMTAB_COLLECTOR_TOKEN="")
    for place in (
        "c/token",
        "c/agent-key",
        "c/login-keys",
        "c/keys.db",
        "c/metrics.db",
        "a/agent-id",
    ):
        (tmp / place).parent.mkdir(mode=0o700, exist_ok=True)
        (tmp / place).touch()
    with process:
        started(process)
        token = (tmp / "c" / "token").read_text().strip()
        wait_for(lambda: api.get("/health", token=token)["store"]["batches"] > 0, "a batch", 20)
        assert process.stop() == 0


def test_an_agent_that_is_killed_is_named_and_started_again_while_the_collector_goes_on(
    tmp: Path,
) -> None:
    process, api = up(tmp)
    with process:
        started(process)
        first = agent_of(process)
        psutil.Process(first).kill()
        process.wait_line("the agent was ended by SIGKILL; the collector goes on")
        assert api.get("/health")["store"]["trouble"] is None

        def listens_again() -> bool:
            return process.output().count("trimtab agent listening on") == 2

        wait_for(listens_again, "the agent to listen again", 40)
        second = agent_of(process)
        assert second != first
        batches = api.get("/health")["store"]["batches"]
        wait_for(lambda: api.get("/health")["store"]["batches"] > batches, "a batch", 20)
        assert process.stop() == 0
        assert not psutil.pid_exists(second)


def test_an_agent_that_is_gone_at_the_end_shows_in_the_exit_code(tmp: Path) -> None:
    process, _ = up(tmp)
    with process:
        started(process)
        psutil.Process(agent_of(process)).kill()
        process.wait_line("the agent starts again in")
        assert process.stop(signal.SIGINT) == 1


def test_ctrl_c_which_reaches_both_ends_both_and_starts_nothing_again(tmp: Path) -> None:
    process, _ = up(tmp)
    with process:
        started(process)
        agent = agent_of(process)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait_exit() == 0
        assert not psutil.pid_exists(agent)
        assert "starts again" not in process.output()


def test_a_collector_that_is_killed_takes_its_agent_along_which_says_so(tmp: Path) -> None:
    process, _ = up(tmp)
    with process:
        started(process)
        agent = agent_of(process)
        psutil.Process(process.pid).kill()
        process.wait_exit()

        def said() -> bool:
            return "the collector ended without stopping its agent" in process.output()

        wait_for(said, "the agent to say that the collector is gone", 10)
        wait_for(lambda: not psutil.pid_exists(agent), "the agent to end", 20)
        # Nothing of the dead one is in the way of the next.
        started(process)
        assert process.stop() == 0


@pytest.mark.parametrize(
    "env", [{"TRIMTAB_AGENT_WINDOW_S": "never"}, {"TRIMTAB_COLLECTOR_PORT": "never"}]
)
def test_a_setting_of_either_that_cannot_be_used_is_exit_2(tmp: Path, env: dict[str, str]) -> None:
    process, _ = up(tmp, **env)
    with process.start():
        assert process.wait_exit() == 2
        assert "Traceback" not in process.output()
