"""The command `trimtab`: what it says and how it exits, run as a person runs it."""

import os
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest

from support.processes.servers import clean_environment
from trimtab_core import console
from trimtab_core.errors import FrameError, SettingsError, StartupError

#: Loads a part as the entry point of an installed `trimtab agent` does.
LOAD_AGENT = """
import sys
sys.path.insert(0, sys.argv[1])
from importlib.metadata import EntryPoint
from trimtab_core import console
console._EXTRAS["part_of_the_test"] = "agent"
sys.exit(console._run(EntryPoint("agent", "part_of_the_test.cli:agent", console._GROUP), []))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trimtab_core.console", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_without_a_command_it_lists_them_and_exits_2() -> None:
    done = run()
    assert done.returncode == 2
    assert "usage: trimtab COMMAND" in done.stdout
    assert "\n  run        run a Python web server" in done.stdout


def test_help_is_no_mistake() -> None:
    assert run("--help").returncode == 0
    assert run("help").stdout == run("-h").stdout == run().stdout


@pytest.mark.parametrize("arguments", [("--help",), ("key", "--help")])
def test_output_that_nobody_reads_ends_the_command_quietly(arguments: tuple[str, ...]) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "trimtab_core.console", *arguments]
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    try:
        done = subprocess.run(
            command, stdout=write, stderr=subprocess.PIPE, text=True, check=False,
            timeout=30, env=buffered,
        )  # fmt: skip
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_another_pipe_that_breaks_is_an_error_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(_arguments: list[str]) -> int:
        raise BrokenPipeError

    with (Path("/dev/null")).open("w") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        monkeypatch.setattr(console, "_main", breaks)
        with pytest.raises(BrokenPipeError):
            console.main(["run"])


def test_an_unknown_command_is_one_sentence_and_2() -> None:
    done = run("rnu")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "trimtab: no command 'rnu'; trimtab --help lists them\n"


def test_the_version_is_the_distributions() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"trimtab {version('trimtab')}\n")


def test_each_subcommand_has_a_summary_and_each_summary_a_subcommand() -> None:
    pyproject = Path(__file__).resolve().parents[2] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    assert set(console._SUMMARIES) == set(project["entry-points"][console._GROUP])


@pytest.mark.parametrize(
    ("arguments", "section"),
    [
        (["key", "list"], "COLLECTOR"),
        (["collector", "check"], "COLLECTOR"),
        (["collector", "--host", "192.0.2.1"], "COLLECTOR"),
        (["up", "--host", "192.0.2.1"], "COLLECTOR"),
        (["agent", "--tcp", "nowhere"], "AGENT"),
    ],
    ids=" ".join,
)
def test_an_unknown_variable_is_the_same_warning_of_every_subcommand(
    arguments: list[str], section: str, tmp: Path
) -> None:
    wrong = f"TRIMTAB_{section}_LGO_LEVEL"
    environ = clean_environment() | {"HOME": str(tmp), wrong: "debug"}
    command = [sys.executable, "-m", "trimtab_core.console", *arguments]
    done = subprocess.run(
        command, env=environ, cwd=tmp, capture_output=True, text=True, check=False, timeout=30
    )
    first = done.stderr.splitlines()[0]
    assert first == (
        f"trimtab {arguments[0]}: warning: {wrong} is no setting of trimtab; "
        f"did you mean TRIMTAB_{section}_LOG_LEVEL?"
    )


def test_the_script_is_installed() -> None:
    script = Path(sys.executable).with_name("trimtab")
    done = subprocess.run([script, "-V"], capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout.startswith("trimtab ")


def test_a_missing_extra_is_one_sentence_with_the_command_that_mends_it(tmp: Path) -> None:
    (tmp / "part_of_the_test").mkdir()
    (tmp / "part_of_the_test" / "cli.py").write_text("import package_of_nobody\n")
    command = [sys.executable, "-c", LOAD_AGENT, str(tmp)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    assert done.stderr == ("trimtab agent needs package_of_nobody: pip install 'trimtab[agent]'\n")


def _command(arguments: list[str]) -> int | None:
    match arguments:
        case ["settings"]:
            raise SettingsError("expected a, got b: do c")
        case ["startup"]:
            raise StartupError("the port is busy")
        case ["work"]:
            raise FrameError("broken")
        case ["interrupt"]:
            raise KeyboardInterrupt
        case ["missing"]:
            raise ModuleNotFoundError("no trimtab_agent.nothing", name="trimtab_agent.nothing")
        case ["three"]:
            return 3
    return None


@pytest.mark.parametrize(
    ("argument", "code", "said"),
    [
        ("settings", 2, "trimtab test: expected a, got b: do c\n"),
        ("startup", 2, "trimtab test: the port is busy\n"),
        ("work", 1, "trimtab test: broken\n"),
        ("interrupt", 130, ""),
        ("three", 3, ""),
        ("nothing", 0, ""),
    ],
)
def test_exit_codes_say_whose_fault_it_was(
    argument: str, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    point = EntryPoint("test", f"{__name__}:_command", console._GROUP)
    assert _run_with(point, argument) == code
    assert capsys.readouterr().err == said


def test_a_module_of_our_own_that_is_missing_is_no_missing_extra() -> None:
    with pytest.raises(ModuleNotFoundError):
        _run_with(EntryPoint("agent", f"{__name__}:_command", console._GROUP), "missing")


def _run_with(point: EntryPoint, argument: str) -> int:
    # Found by this name however pytest has imported this file.
    sys.modules[__name__] = sys.modules.get(__name__) or sys.modules[_command.__module__]
    return console._run(point, [argument])
