"""What a person gets wrong is said in one sentence: what was expected, what came, what to do."""

import subprocess
import sys
from pathlib import Path

import pytest

from support.processes.load import drive
from support.processes.servers import Agent, Collector, Proc, free_port, trimtab
from support.processes.stack import Stack, stack, uvicorn


def said(directory: Path, *words: str, **env: str) -> str:
    """Run a command that must fail with exit code 2, in one line; return the line."""
    with Proc("command", trimtab(*words), directory, env).start() as proc:
        assert proc.wait_exit() == 2, proc.output()
        (line,) = [each for each in proc.output().splitlines() if "warning" not in each]
        return line


@pytest.mark.parametrize("command", ["agent", "collector"])
def test_an_unknown_setting_in_the_file_comes_with_a_suggestion(tmp: Path, command: str) -> None:
    file = tmp / "trimtab.toml"
    known = {"agent": ("collector_ulr", "collector_url"), "collector": ("prot", "port")}[command]
    file.write_text(f'[{command}]\n{known[0]} = "x"\n', encoding="utf-8")
    line = said(tmp, command, "--config", str(file))
    assert f"{known[0]} is unknown; did you mean {known[1]}?" in line


def test_a_file_that_is_no_toml_is_named(tmp: Path) -> None:
    file = tmp / "broken.toml"
    file.write_text("[agent\n", encoding="utf-8")
    assert f"expected TOML in {file}" in said(tmp, "agent", "--config", str(file))


def test_a_value_out_of_range_says_what_is_in_range(tmp: Path) -> None:
    line = said(tmp, "agent", TRIMTAB_AGENT_WINDOW_S="0")
    assert "TRIMTAB_AGENT_WINDOW_S: expected 1 to 300 s, got 0" in line


def test_a_socket_path_too_long_is_refused_with_the_limit(tmp: Path) -> None:
    path = "/tmp/" + "x" * 120
    line = said(
        tmp, "agent", TRIMTAB_AGENT_SOCKET=f"unix://{path}", TRIMTAB_AGENT_DATA_DIR=str(tmp / "d")
    )
    assert "a socket path has at most 107 bytes" in line
    assert "choose a shorter directory" in line


def test_a_busy_port_is_named_for_the_collector(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        line = said(
            tmp, "collector", TRIMTAB_COLLECTOR_PORT=str(collector.port),
            TRIMTAB_COLLECTOR_DATA_DIR=str(tmp / "other"),
        )  # fmt: skip
        assert f"127.0.0.1:{collector.port}" in line


def test_a_busy_port_is_named_for_the_agent(system: Stack, tmp: Path) -> None:
    line = said(
        tmp, "agent", TRIMTAB_AGENT_SOCKET=f"unix://{tmp}/b.sock",
        TRIMTAB_AGENT_DATA_DIR=str(tmp / "b"),
        TRIMTAB_AGENT_HTTP=f"127.0.0.1:{system.agent.http_port}",
    )  # fmt: skip
    assert str(system.agent.http_port) in line


def test_a_data_directory_that_cannot_be_used_is_named(tmp: Path) -> None:
    (tmp / "file").write_text("", encoding="utf-8")
    line = said(
        tmp, "agent", TRIMTAB_AGENT_SOCKET=f"unix://{tmp}/b.sock",
        TRIMTAB_AGENT_DATA_DIR=str(tmp / "file" / "d"),
    )  # fmt: skip
    assert f"{tmp}/file" in line


def test_an_unknown_variable_is_a_warning_and_the_agent_runs(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        agent = Agent(tmp, collector.url, collector.new_key(), TRIMTAB_AGENT_SOKET="x")
        with agent.start():
            assert "TRIMTAB_AGENT_SOKET is no setting" in agent.output()


def test_wrong_settings_of_an_app_are_warnings_and_it_is_measured_all_the_same(
    system: Stack, service: str
) -> None:
    wrong = {
        "TRIMTAB_INTERVAL_MS": "soon",
        "TRIMTAB_SERVER_TIMING": "perhaps",
        "TRIMTAB_COLOUR": "blue",
    }
    app = system.app(service, uvicorn(), **wrong)
    load = drive([f"{app.url}/items/1"], 50)
    assert load.failed == 0
    system.wait_booked(service, 50)
    output = app.output()
    assert "TRIMTAB_INTERVAL_MS: expected a whole number, got 'soon'" in output
    assert "TRIMTAB_SERVER_TIMING: expected true or false, got 'perhaps'" in output
    assert "TRIMTAB_COLOUR is no setting" in output


def test_doctor_finds_everything_well_in_a_running_system(system: Stack) -> None:
    done = doctor(system.agent)
    assert done.returncode == 0, done.stdout
    assert "the collector accepts it" in done.stdout
    assert "FAIL" not in done.stdout


def test_doctor_names_what_is_missing_and_what_to_do(tmp: Path) -> None:
    with stack(tmp) as system:
        system.collector.kill9()
        system.agent.env["TRIMTAB_AGENT"] = f"unix://{tmp}/nowhere.sock"
        done = doctor(system.agent)
        assert done.returncode == 1
        assert f"nothing at {tmp}/nowhere.sock" in done.stdout
        assert "start `trimtab agent`" in done.stdout
        assert "start `trimtab collector`" in done.stdout


def doctor(agent: Agent) -> "subprocess.CompletedProcess[str]":
    environment = {"TRIMTAB_AGENT": agent.socket, **agent.env}
    return subprocess.run(
        trimtab("doctor"), env=environment, capture_output=True, text=True, check=False, timeout=30
    )


def test_run_without_a_program_says_what_it_expected(tmp: Path) -> None:
    assert "expected a command after --, got none" in said_last(tmp, "run", "--")
    assert "expected a program on PATH, got 'no-such-server'" in said_last(
        tmp, "run", "--", "no-such-server"
    )


def said_last(directory: Path, *words: str) -> str:
    with Proc("command", trimtab(*words), directory, {}).start() as proc:
        assert proc.wait_exit() == 2
        return proc.output().splitlines()[-1]


def test_an_agent_whose_clock_is_far_off_says_by_how_much(tmp: Path) -> None:
    with Collector(tmp).start() as collector:
        key = collector.new_key()
        # The agent alone gets another clock: its own module of time, two hours ahead.
        (tmp / "ahead.py").write_text(
            "import time, sys\n"
            "wall, wall_ns = time.time, time.time_ns\n"
            "time.time = lambda: wall() + 7200\n"
            "time.time_ns = lambda: wall_ns() + 7200 * 10**9\n"
            "from trimtab_core.console import main\n"
            "sys.exit(main(['agent']))\n",
            encoding="utf-8",
        )
        agent = Agent(tmp, collector.url, key)
        agent.command = [sys.executable, str(tmp / "ahead.py")]
        with agent.start():
            agent.wait_line("it differs by -720")  # the Date header tells whole seconds
    assert free_port()


@pytest.mark.parametrize("name", [b"v\xed-c277ce3a\n", b"vm\x1b-c277\n", "vm\u202ec277".encode()])
def test_a_name_of_an_agent_that_is_damaged_is_set_aside_and_a_new_one_made(
    tmp: Path, name: bytes
) -> None:
    agent = Agent(tmp, f"http://127.0.0.1:{free_port()}", "k")
    agent.data.mkdir(mode=0o700)
    (agent.data / "agent-id").write_bytes(name)
    with agent.start():
        (line,) = [each for each in agent.output().splitlines() if "agent-id.damaged" in each]
        assert "a new name is made" in line
        assert line.isprintable()
    assert (agent.data / "agent-id.damaged").read_bytes() == name
    made = (agent.data / "agent-id").read_text("ascii").strip()
    assert made.isprintable()
    assert "c277" not in made
