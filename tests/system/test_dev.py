"""The dev script: what it answers to a wrong call, and when it installs again."""

import importlib.util
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "dev"


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader = SourceFileLoader("dev_script", str(SCRIPT))
    spec = importlib.util.spec_from_loader("dev_script", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def called(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False
    )


def test_without_a_command_it_lists_them_and_exits_2() -> None:
    done = called()
    assert done.returncode == 2
    assert all(f"\n  {name}" in done.stdout for name in ("demo", "test", "check", "bench"))
    assert called("--help").returncode == 0


@pytest.mark.parametrize(
    "words", [("sail",), ("check", "all"), ("bench", "nothing"), ("lock", "x")]
)
def test_a_wrong_call_is_one_sentence_and_exit_2(words: tuple[str, ...]) -> None:
    done = called(*words)
    assert done.returncode == 2
    assert done.stderr.startswith("dev: ")
    assert done.stderr.count("\n") == 1


def test_bench_without_a_name_lists_what_can_be_run() -> None:
    done = called("bench")
    assert done.returncode == 0
    names = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert {"disk", "ingest", "query", "sketch"} <= names
    assert not {"harness", "storage_traffic"} & names


def test_an_older_python_is_told_what_is_expected(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    with pytest.raises(SystemExit, match=r"expected Python 3.11 or newer, got 3.9: install one"):
        dev.use_newer_python()


def test_the_stamp_holds_until_the_dependencies_change(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in {
        "ROOT": tmp_path,
        "CONSTRAINTS": tmp_path / "constraints.txt",
        "STAMP": tmp_path / "stamp",
        "PYTHON": Path(sys.executable),
    }.items():
        monkeypatch.setattr(dev, name, value)
    (tmp_path / "pyproject.toml").write_text("a")
    assert not dev.stamped("demo")
    dev.STAMP.write_text(f"demo {dev.fingerprint()}")
    assert dev.stamped("demo")
    assert not dev.stamped("dev")
    dev.STAMP.write_text(f"dev {dev.fingerprint()}")
    assert dev.stamped("demo")
    assert dev.stamped("dev")
    dev.CONSTRAINTS.write_text("msgpack==1.1.0\n")
    assert not dev.stamped("demo")
    assert not dev.stamped("dev")


def test_the_demo_installs_its_own_packages_and_no_tool_of_development(dev: ModuleType) -> None:
    for_demo, for_all = dev.requirements("demo"), dev.requirements("dev")
    assert for_demo[:2] == ["--editable", ".[agent,collector]"]
    assert any(each.startswith("fastapi") for each in for_demo)
    assert not any(each.startswith(("pytest", "mypy", "django")) for each in for_demo)
    assert set(for_demo) < set(for_all)
    assert any(each.startswith("mypy") for each in for_all)


def test_a_dashboard_that_cannot_be_built_holds_up_nothing(
    dev: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "build.py").write_text("raise SystemExit('dashboard: not built: no wind')")
    monkeypatch.setattr(dev, "BUILD", tmp_path / "build.py")
    monkeypatch.setattr(dev, "PYTHON", Path(sys.executable))
    dev.dashboard()
    assert capfd.readouterr().err == "dashboard: not built: no wind\n"


def test_the_line_of_progress_names_the_package_that_pip_has_come_to(
    dev: ModuleType, tmp_path: Path
) -> None:
    log = tmp_path / "setup.log"
    log.write_text("Obtaining file:///x\n")
    assert dev.package(log) == ""
    log.write_text("Collecting fastapi>=0.115\n  Using cached x\nCollecting anyio<5 (from a)\n")
    assert dev.package(log) == "anyio"
    log.write_text(log.read_text() + "Installing collected packages: a, b\n")
    assert dev.package(log) == "all of them"


def test_a_step_that_fails_shows_the_end_of_its_output(
    dev: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(dev, "CACHE", tmp_path)
    with pytest.raises(dev.SetupError, match="taking on water failed"):
        dev.run("taking on water", [sys.executable, "-c", "print('a leak'); raise SystemExit(3)"])
    assert "a leak" in capsys.readouterr().err


@pytest.mark.parametrize("had_one", [False, True])
@pytest.mark.parametrize("code", [0, 100])
def test_packages_are_installed_with_their_services_forbidden_to_start(
    dev: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    had_one: bool,
    code: int,
) -> None:
    policy, seen = tmp_path / "policy-rc.d", tmp_path / "seen"
    apt = tmp_path / "apt-get"
    apt.write_text(
        f'#!/bin/sh\n[ "$3" = update ] || {{ {policy}; echo "$? $*" >>{seen}; exit {code}; }}\n'
    )
    apt.chmod(0o755)
    if had_one:
        policy.write_text("#!/bin/sh\nexit 104\n")
        policy.chmod(0o755)
    for name, value in {
        "POLICY": policy,
        "CACHE": tmp_path,
        "PACKAGES": {"sail": str(tmp_path / "no-sail"), "mast": str(apt)},
    }.items():
        monkeypatch.setattr(dev, name, value)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(dev.os, "geteuid", lambda: 0)
    dev.install_packages()
    (line,) = seen.read_text().splitlines()
    answer, *words = line.split()
    assert answer == ("104" if had_one else "101")
    assert words[-1] == "sail"
    assert policy.exists() == had_one
