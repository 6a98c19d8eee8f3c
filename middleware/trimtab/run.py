"""`trimtab run -- COMMAND`: the command as it is, with every request of its web server measured.

It puts the folder `autostart` first on PYTHONPATH, which worker processes and reloaders inherit,
and becomes the command: signals, exit code and process id are the command's own.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from trimtab.settings import AppSettings
from trimtab_core.config import variable
from trimtab_core.console import EXIT_USAGE
from trimtab_core.flags import add_flags

__all__ = ["command", "environment_for", "guess_service"]

_AUTOSTART = Path(__file__).parent / "autostart"
_GENERIC = {"app", "main", "wsgi", "asgi", "server", "api", "application"}
#: hypercorn takes the interface before the module
_MODULE_AND_APP = re.compile(r"(?:[aw]sgi:)?([A-Za-z_][\w.]*):[A-Za-z_][\w.]*(?:\(.*\))?")
_MODULE = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+)")
_FILES = (".py", ".toml", ".json", ".yaml", ".yml", ".ini", ".conf", ".env", ".sock", ".pem")


def command(arguments: list[str]) -> int:
    """Run the subcommand; returns only when the command could not be started."""
    parser = argparse.ArgumentParser(
        prog="trimtab run",
        usage="trimtab run [OPTIONS] -- COMMAND [ARGUMENTS]",
        description="Run a Python web server with every request measured, without touching its "
        "code. Known servers: uvicorn, gunicorn, hypercorn, granian (ASGI, WSGI), waitress, "
        "daphne, uWSGI. Example: trimtab run -- uvicorn shop.app:app",
    )
    add_flags(parser, AppSettings)
    own, given = _split(arguments)
    options = parser.parse_args(own)
    if not given:
        parser.print_usage(sys.stderr)
        print("trimtab run: expected a command after --, got none", file=sys.stderr)
        return EXIT_USAGE
    program = shutil.which(given[0])
    if program is None:
        print(
            f"trimtab run: expected a program on PATH, got {given[0]!r}: is its venv active?",
            file=sys.stderr,
        )
        return EXIT_USAGE
    environment = environment_for(given, dict(os.environ))
    for name, value in vars(options).items():
        if value is not None:
            environment[variable("app", name)] = str(value)
    if os.name == "posix":
        os.execve(program, given, environment)
    return subprocess.run([program, *given[1:]], env=environment, check=False).returncode


def environment_for(given: Sequence[str], environment: dict[str, str]) -> dict[str, str]:
    """Return the environment under which a command is measured."""
    before = environment.get("PYTHONPATH", "")
    # An empty entry is the current directory: it stays, unless nothing is set at all.
    kept = before.split(os.pathsep) if before else []
    path = [str(_AUTOSTART), *(entry for entry in kept if entry != str(_AUTOSTART))]
    environment["PYTHONPATH"] = os.pathsep.join(path)
    environment["TRIMTAB_RUN"] = "1"
    named = environment.get("TRIMTAB_SERVICE") or environment.get("OTEL_SERVICE_NAME")
    if not named and "service.name=" not in environment.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        environment["TRIMTAB_SERVICE"] = guess_service(given)
    return environment


def guess_service(given: Sequence[str]) -> str:
    """Return a name for the service a command runs: `shop` for `uvicorn shop.app:app`."""
    # Only gunicorn and uWSGI take a module without the app in it: `gunicorn shop.wsgi`.
    bare = any("gunicorn" in word for word in given[:3])
    if any("uwsgi" in word for word in given[:3]):
        given = [given[0], *(b for a, b in pairwise(given) if a in ("-w", "--module", "--wsgi"))]
        bare = True
    for pattern in (_MODULE_AND_APP, _MODULE) if bare else (_MODULE_AND_APP,):
        found = [
            (before.startswith("-"), match[1])
            for before, argument in pairwise(given)
            if (match := pattern.fullmatch(argument)) and not argument.endswith(_FILES)
        ]
        if found:
            # What stands behind an option may be its value: `--host a.example.org`.
            parts = min(found, key=lambda each: each[0])[1].split(".")
            while len(parts) > 1 and parts[-1] in _GENERIC:
                parts.pop()
            return parts[-1]
    return os.path.basename(given[0])


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" in arguments:
        at = arguments.index("--")
        return arguments[:at], arguments[at + 1 :]
    if arguments and not arguments[0].startswith("-"):
        return [], arguments
    return arguments, []
