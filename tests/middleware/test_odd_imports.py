"""Imports of apps whose modules are found, loaded or executed in ways of their own."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from support.processes.servers import clean_environment
from trimtab.servers.uwsgi import watch_file

RUN = Path(sys.executable).with_name("trimtab")

OLD_FINDER = """
import sys
class Old:
    def find_module(self, name, path=None):
        return None
sys.meta_path.insert(1, Old())
import waitress.server
print("served")
"""
LOCKED_LOADER = """
import importlib.machinery, sys, trimtab

class Locked:
    def __init__(self, inner):
        object.__setattr__(self, "inner", inner)
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        self.inner.exec_module(module)
    def __setattr__(self, name, value):
        raise AttributeError("read-only")

class Finder:
    def find_spec(self, name, path, target=None):
        if name != FOUND:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        spec.loader = Locked(spec.loader)
        return spec

sys.meta_path.insert(1, Finder())
"""
SERVER = "import waitress.server\nprint('served')"
LIBRARY = """
trimtab.instrument()
sys.modules.pop("sqlite3", None)
sys.meta_path.insert(1, sys.meta_path.pop(2))
import sqlite3
print("served")
"""
IMPORTS = {
    "a finder without find_spec": OLD_FINDER,
    "a server's loader is locked": "FOUND = 'waitress.server'" + LOCKED_LOADER + SERVER,
    "a library's loader is locked": "FOUND = 'sqlite3'" + LOCKED_LOADER + LIBRARY,
    "standard error is missing": (
        "FOUND = 'waitress.server'" + LOCKED_LOADER + "sys.stderr = None\n" + SERVER
    ),
    "standard error is closed": (
        "FOUND = 'waitress.server'" + LOCKED_LOADER + "sys.stderr.close()\n" + SERVER
    ),
}


@pytest.mark.parametrize("script", IMPORTS.values(), ids=IMPORTS.keys())
def test_an_import_works_whatever_else_finds_and_loads_modules(script: str) -> None:
    environ = clean_environment() | {"TRIMTAB_AGENT": "unix:///no/such/agent"}
    done = subprocess.run(
        [RUN, "run", "--", sys.executable, "-c", script],
        capture_output=True, text=True, check=False, timeout=30, env=environ,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr
    said = done.stderr.splitlines()
    assert all("is not measured" in line for line in said)
    assert len(said) <= 1


def test_a_file_of_uwsgi_ends_well_where_there_is_no_such_app(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def file() -> int:
        watch_file(sys._getframe())
        return 5

    uwsgi = SimpleNamespace(opt={"callable": b"missing()", "enable-threads": b"1"})
    monkeypatch.setitem(sys.modules, "uwsgi", uwsgi)
    assert file() == 5
    assert "is not measured" in caplog.text
