"""`trimtab run`: the command as it is, its environment, its exit code, its own sitecustomize."""

import ast
import json
import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from support.processes.drive import Measured
from trimtab import WSGIMiddleware
from trimtab.run import environment_for, guess_service
from trimtab.servers import TARGETS, patch
from trimtab.servers import measured as wrapped_at_the_server
from trimtab.settings import AppSettings

FOLDER = str(Path(sys.modules["trimtab.run"].__file__ or "").parent / "autostart")


@pytest.mark.parametrize(
    ("command", "service"),
    [
        ("uvicorn shop.app:app", "shop"),
        ("uvicorn --factory shop.main:create_app --port 80", "shop"),
        ("uvicorn main:app", "main"),
        ("uvicorn app.main:app", "app"),
        ("uvicorn my.shop.orders:asgi --host 127.0.0.1", "orders"),
        ("uvicorn --host web.example.org shop.app:app", "shop"),
        ("python -m uvicorn shop.app:app --workers 2", "shop"),
        ("gunicorn shop.wsgi", "shop"),
        ("gunicorn -w 4 --preload shop.wsgi", "shop"),
        ("gunicorn -c gunicorn.conf.py shop.wsgi", "shop"),
        ("gunicorn -b localhost:8000 shop.wsgi", "shop"),
        ("gunicorn shop.wsgi -b web.example.org:8000", "shop"),
        ("gunicorn --bind web.example.org shop.wsgi --preload", "shop"),
        ("gunicorn shop:create_app()", "shop"),
        ("gunicorn shop:create_app('prod')", "shop"),
        ("gunicorn", "gunicorn"),
        ("hypercorn --bind 127.0.0.1:80 wsgi:shop.app:app", "shop"),
        ("hypercorn wsgi:app", "wsgi"),
        ("granian --interface asgi shop.app:app", "shop"),
        ("waitress-serve --listen 127.0.0.1:80 shop.wsgi:application", "shop"),
        ("daphne -p 80 shop.asgi:application", "shop"),
        ("uwsgi --http-socket web.example.org:80 --module shop.wsgi", "shop"),
        ("uwsgi --master -w shop.wsgi:app", "shop"),
        ("uwsgi shop.ini", "uwsgi"),
        ("/usr/bin/python manage.py runserver", "python"),
        ("datasette serve books.db", "datasette"),
    ],
)
def test_the_service_is_named_after_the_module_of_the_app(command: str, service: str) -> None:
    assert guess_service(command.split()) == service


def test_the_folder_stands_first_on_the_path_and_the_rest_stays() -> None:
    assert environment_for(["uvicorn"], {})["PYTHONPATH"] == FOLDER
    got = environment_for(["uvicorn"], {"PYTHONPATH": f"/a:{FOLDER}:/b"})
    assert got["PYTHONPATH"] == f"{FOLDER}:/a:/b"
    # An empty entry is the current directory.
    assert environment_for(["uvicorn"], {"PYTHONPATH": ":/a"})["PYTHONPATH"] == f"{FOLDER}::/a"


@pytest.mark.parametrize(
    "named",
    [
        {"TRIMTAB_SERVICE": "own"},
        {"OTEL_SERVICE_NAME": "own"},
        {"OTEL_RESOURCE_ATTRIBUTES": "a=b,service.name=own"},
    ],
)
def test_a_service_that_has_a_name_keeps_it(named: dict[str, str]) -> None:
    got = environment_for(["uvicorn", "shop.app:app"], dict(named))
    assert got.get("TRIMTAB_SERVICE") == named.get("TRIMTAB_SERVICE")


def trimtab_run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-m", "trimtab_core.console", "run", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
        env={**base, **environment},
    )


def python(script: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return trimtab_run("--", sys.executable, "-c", script, **environment)


def test_a_program_without_a_web_server_runs_as_it_would_and_its_exit_code_is_kept() -> None:
    done = python("import sys; print('worked', *sys.argv[1:]); sys.exit(7)")
    assert (done.returncode, done.stdout, done.stderr) == (7, "worked\n", "")


def test_a_program_without_a_web_server_does_not_load_the_middleware() -> None:
    done = python("import sys; print([name for name in sys.modules if name.startswith('trimtab')])")
    assert done.stdout == "[]\n"


def test_a_signal_that_ends_the_command_ends_it_as_it_would() -> None:
    assert python("import os, signal; os.kill(os.getpid(), signal.SIGTERM)").returncode == -15


def test_options_become_the_commands_environment() -> None:
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    done = trimtab_run(
        "--service", "shop", "--server-timing", "--interval-ms", "100", "--",
        sys.executable, "-c", script,
    )  # fmt: skip
    got = json.loads(done.stdout)
    assert (got["TRIMTAB_SERVICE"], got["TRIMTAB_SERVER_TIMING"]) == ("shop", "True")
    assert got["TRIMTAB_INTERVAL_MS"] == "100"
    assert got["TRIMTAB_RUN"] == "1"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "expected a command after --, got none"),
        (["--service", "x", "--"], "expected a command after --, got none"),
        (["--", "no-such-program-here"], "expected a program on PATH, got 'no-such-program-here'"),
        (["--no-such-option", "--", "true"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_a_wrong_call_is_one_sentence_and_2(arguments: list[str], words: str) -> None:
    done = trimtab_run(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def test_a_sitecustomize_that_is_shadowed_still_runs(tmp: Path) -> None:
    (tmp / "sitecustomize.py").write_text("import builtins\nbuiltins.customized = __file__\n")
    script = "import sitecustomize; print(customized, sitecustomize.__file__)"
    done = python(script, PYTHONPATH=str(tmp))
    own = str(tmp / "sitecustomize.py")
    assert done.stdout == f"{own} {own}\n"


def test_a_usercustomize_still_runs(tmp: Path) -> None:
    for name in ("sitecustomize", "usercustomize"):
        (tmp / f"{name}.py").write_text(f"import builtins\nbuiltins.by_{name} = True\n")
    # Not that of a venv, which has none of the user's.
    base = getattr(sys, "_base_executable", sys.executable)
    script = "print(by_sitecustomize, by_usercustomize)"
    assert trimtab_run("--", base, "-c", script, PYTHONPATH=str(tmp)).stdout == "True True\n"


def test_the_path_of_modules_is_kept_for_scripts_and_modules(tmp: Path) -> None:
    (tmp / "own.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    (tmp / "script.py").write_text("import own\n")
    module = trimtab_run("--", sys.executable, "-m", "own", "a", PYTHONPATH=str(tmp))
    assert module.stdout == "__main__ ['a']\n"
    script = trimtab_run("--", sys.executable, str(tmp / "script.py"), "b")
    assert script.stdout == "own ['b']\n"


def test_spawned_children_of_multiprocessing_are_prepared_too(tmp: Path) -> None:
    (tmp / "script.py").write_text(
        "import multiprocessing\n"
        "def child():\n"
        "    import uvicorn.config\n"
        "    print(hasattr(uvicorn.config.Config.load, '__trimtab__'))\n"
        "if __name__ == '__main__':\n"
        "    process = multiprocessing.get_context('spawn').Process(target=child)\n"
        "    process.start()\n"
        "    process.join()\n"
    )
    assert trimtab_run("--", sys.executable, str(tmp / "script.py")).stdout == "True\n"


def test_the_help_names_the_servers() -> None:
    shown = " ".join(trimtab_run("--help").stdout.split())
    for server in ("uvicorn", "gunicorn", "hypercorn", "granian", "waitress", "daphne", "uWSGI"):
        assert server in shown


def test_a_sitecustomize_that_fails_fails_nothing_else(tmp: Path) -> None:
    (tmp / "sitecustomize.py").write_text("raise RuntimeError('own')\n")
    done = python("print('goes on')", PYTHONPATH=str(tmp))
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert "RuntimeError('own')" in done.stderr


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("uvicorn.config", "Config.load"),
        ("uvicorn.server", "Server.shutdown"),
        ("gunicorn.app.base", "BaseApplication.wsgi"),
        ("hypercorn.utils", "wrap_app"),
        ("hypercorn.run", "_populate"),
        ("granian.asgi", "_callback_wrapper"),
        ("granian.asgi", "LifespanProtocol.__init__"),
        ("granian.wsgi", "_callback_wrapper"),
        ("granian.rsgi", "_callback_wrapper"),
        ("waitress.server", "create_server"),
        ("daphne.server", "Server.__init__"),
    ],
)
def test_servers_are_prepared_when_they_are_imported_also_in_children(
    module: str, what: str
) -> None:
    inner = f"import {module} as m; print(hasattr(m.{what}, '__trimtab__'))"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    assert python(inner).stdout == "True\n"
    assert python(outer).stdout == "True\n"
    plain = subprocess.run(
        [sys.executable, "-c", inner], capture_output=True, text=True, check=True, timeout=30
    )
    assert plain.stdout == "False\n"


def test_the_finder_looks_for_the_modules_that_are_patched() -> None:
    tree = ast.parse((Path(FOLDER) / "sitecustomize.py").read_text(encoding="utf-8"))
    (found,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_TARGETS"
    ]
    assert found == TARGETS


def test_a_server_runs_unmeasured_when_measuring_it_fails(tmp: Path) -> None:
    (tmp / "trimtab").mkdir()
    (tmp / "trimtab" / "__init__.py").write_text("raise RuntimeError('broken')\n")
    environment = environment_for(["uvicorn"], {**os.environ, "PYTHONPATH": str(tmp)})
    command = [sys.executable, "-c", "import uvicorn.config; print('goes on')"]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert "trimtab run: uvicorn.config is not measured: RuntimeError('broken')" in done.stderr


# ---------------------------------------------------------------- at the server


async def _asgi(scope: Any, receive: Any, send: Any) -> None: ...


class _AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


def _wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


class _WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> list[bytes]:
        return []


@pytest.mark.parametrize(
    ("app", "name"),
    [
        (_asgi, "trimtab_asgi"),
        (_AsgiObject(), "trimtab_asgi"),
        (_wsgi, "trimtab_wsgi"),
        (_WsgiObject(), "trimtab_wsgi"),
    ],
)
def test_an_app_gets_the_wrapper_of_its_kind_once(
    measured: Measured, monkeypatch: pytest.MonkeyPatch, app: Any, name: str
) -> None:
    monkeypatch.setenv("TRIMTAB_AGENT", measured.peer.address)
    wrapper = wrapped_at_the_server(app)
    assert wrapper.__name__ == name
    assert wrapped_at_the_server(wrapper) is wrapper


def test_an_app_is_left_alone_when_measuring_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRIMTAB_ENABLED", "0")
    assert wrapped_at_the_server(_asgi) is _asgi


@pytest.mark.parametrize(
    ("options", "warned"),
    [({}, True), ({"enable-threads": True}, False), ({"threads": b"2"}, False)],
)
def test_a_uwsgi_without_threads_is_warned_of(
    measured: Measured,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, object],
    warned: bool,
) -> None:
    monkeypatch.setenv("TRIMTAB_AGENT", measured.peer.address)
    uwsgi = SimpleNamespace(opt={"module": b"shop.wsgi:app", **options})
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    module: Any = ModuleType("shop.wsgi")
    module.app = _wsgi
    patch(module)
    assert isinstance(module.app, WSGIMiddleware)
    assert ("uWSGI runs no threads" in caplog.text) is warned


def test_every_setting_but_the_secrets_has_an_option() -> None:
    shown = trimtab_run("--help").stdout
    for field in fields(AppSettings):
        option = rf"--{field.name.replace('_', '-')}\b(?!-)"
        assert bool(re.search(option, shown)) is not field.metadata["secret"]
