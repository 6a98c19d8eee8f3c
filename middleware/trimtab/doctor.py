"""`trimtab doctor`: what is set up, what is not, and what to do about each.

It looks from where the app stands: settings, the agent's socket and its rights, the agent's own
health, then the collector, the clocks and the key. It changes nothing and sends no sample.
"""

import argparse
import email.utils
import json
import os
import platform
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Final

from trimtab.connection import Connections
from trimtab.settings import AppSettings
from trimtab_core.addresses import API
from trimtab_core.asking import HttpClient
from trimtab_core.config import Address, default_socket, load, parse_address
from trimtab_core.console import EXIT_FAILED, EXIT_OK
from trimtab_core.errors import SettingsError
from trimtab_core.proxies import ENVIRONMENT

__all__ = ["Diagnosis", "command", "examine"]

_FRAMEWORKS: Final = ("starlette", "fastapi", "django", "flask")
_SERVERS: Final = (
    "uvicorn", "gunicorn", "hypercorn", "granian", "waitress", "daphne", "uwsgi", "pyuwsgi"
)  # fmt: skip
_SKEW_S: Final = 30
#: a certificate that ends sooner should have been renewed by now
_RENEW_DAYS: Final = 14
_MARKS: Final = {"ok": "ok  ", "warning": "warn", "failed": "FAIL"}


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One thing looked at: state ok, warning or failed, what was found, what to do."""

    what: str
    state: str
    found: str
    todo: str = ""


def command(arguments: list[str]) -> int:
    """Run the subcommand: a line a finding; exit 1 when something failed."""
    parser = argparse.ArgumentParser(
        prog="trimtab doctor",
        description="Check settings, socket, rights, agent, collector, clock and key, and say "
        "what to do. Give it the app's environment (TRIMTAB_*); with the agent's as well "
        "(TRIMTAB_AGENT_*) it checks the collector and the key, too.",
    )
    parser.add_argument("--json", action="store_true", help="print the findings as JSON")
    options = parser.parse_args(arguments)
    findings = list(examine(dict(os.environ)))
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{_MARKS[finding.state]}  {finding.what}: {finding.found}")
            if finding.todo:
                print(f"      -> {finding.todo}")
    return EXIT_FAILED if any(each.state == "failed" for each in findings) else EXIT_OK


def examine(environ: dict[str, str]) -> Iterator[Diagnosis]:
    """Yield the findings, from the app outwards."""
    checks: tuple[Callable[[dict[str, str]], Iterator[Diagnosis]], ...] = (
        _versions,
        _settings,
        _socket,
        _agent,
        _collector,
    )
    for check in checks:
        yield from check(environ)


def _versions(_environ: dict[str, str]) -> Iterator[Diagnosis]:
    yield Diagnosis(
        "versions",
        "ok",
        f"trimtab {metadata.version('trimtab')}, Python {platform.python_version()}",
    )
    found = {name: _version(name) for name in (*_SERVERS, *_FRAMEWORKS)}
    servers = [f"{name} {found[name]}" for name in _SERVERS if found[name]]
    frameworks = [f"{name} {found[name]}" for name in _FRAMEWORKS if found[name]]
    if servers:
        yield Diagnosis("servers that `trimtab run` measures", "ok", ", ".join(servers))
    else:
        yield Diagnosis(
            "servers that `trimtab run` measures",
            "warning",
            f"none of {', '.join(_SERVERS)} is installed here",
            "run doctor with the app's own Python, or wrap the app: app = trimtab.Middleware(app)",
        )
    yield Diagnosis("frameworks with route templates", "ok", ", ".join(frameworks) or "none here")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _settings(environ: dict[str, str]) -> Iterator[Diagnosis]:
    try:
        settings, warnings = load(AppSettings, "app", environ=environ)
    except SettingsError as error:
        yield Diagnosis(
            "settings of the app", "failed", str(error), "correct it; the app uses defaults"
        )
        return
    for warning in warnings:
        yield Diagnosis("settings of the app", "warning", warning, "correct or remove the variable")
    if not settings.enabled:
        yield Diagnosis(
            "settings of the app", "warning", "measuring is off", "unset TRIMTAB_ENABLED=0"
        )
    elif not warnings:
        yield Diagnosis(
            "settings of the app", "ok", f"service {settings.service or '(by the command)'}"
        )


def _socket(environ: dict[str, str]) -> Iterator[Diagnosis]:
    text = environ.get("TRIMTAB_AGENT") or default_socket(environ)
    try:
        address = parse_address(text)
    except SettingsError as error:
        yield Diagnosis("agent socket", "failed", str(error), "set TRIMTAB_AGENT=unix:///path")
        return
    if address.kind == "unix":
        path = Path(address.path)
        if not path.exists():
            yield Diagnosis(
                "agent socket", "failed", f"nothing at {path}",
                "start `trimtab agent` (or `trimtab up`), or set TRIMTAB_AGENT to where it listens",
            )  # fmt: skip
            return
        mode = path.stat().st_mode
        if not stat.S_ISSOCK(mode):
            yield Diagnosis(
                "agent socket", "failed", f"{path} is no socket", "remove it; restart the agent"
            )
            return
        if not os.access(path, os.W_OK):
            yield Diagnosis(
                "agent socket", "failed", f"no right to write to {path} (mode {mode & 0o777:o})",
                "run app and agent as the same user, or share a group and TRIMTAB_AGENT_ALLOW_UIDS",
            )  # fmt: skip
            return
    yield _connect(address, environ.get("TRIMTAB_AGENT_TOKEN", ""))


def _connect(address: Address, token: str) -> Diagnosis:
    """Connect as an app does, with the same checks of who listens."""
    try:
        link = Connections().connect(address, frozenset({0, os.getuid()}), token)
    except PermissionError as error:
        return Diagnosis(
            "agent socket", "failed", f"{address}: {error}",
            "run app and agent as the same user; over TCP give both the same token",
        )  # fmt: skip
    except OSError as error:
        return Diagnosis(
            "agent socket", "failed", f"cannot connect to {address}: {error.strerror or error}",
            "start `trimtab agent`: a socket file without one is left over from one that died",
        )  # fmt: skip
    with link.socket as opened:
        # An agent that refuses this user closes at once.
        opened.settimeout(0.2)
        try:
            refused = opened.recv(1) == b""
        except TimeoutError:
            refused = False
    if refused:
        return Diagnosis(
            "agent socket", "failed", f"the agent at {address} closed the connection",
            f"add {os.getuid()} to TRIMTAB_AGENT_ALLOW_UIDS, or look at the agent's log",
        )  # fmt: skip
    return Diagnosis("agent socket", "ok", f"an agent listens on {address}")


def _agent(environ: dict[str, str]) -> Iterator[Diagnosis]:
    place = environ.get("TRIMTAB_AGENT_HTTP", "127.0.0.1:8621")
    try:
        client = HttpClient(f"http://{place}", environ, variable="TRIMTAB_AGENT_HTTP", timeout_s=3)
    except SettingsError as error:
        yield Diagnosis("agent health", "failed", str(error), "set it to host:port")
        return
    answer = client.ask("/readyz")
    if answer.status == 200:
        yield Diagnosis("agent health", "ok", f"ready at {place}")
    elif answer.status:
        found = answer.text.strip()[:200] or f"HTTP {answer.status}"
        yield Diagnosis("agent health", "warning", found)
    else:
        yield Diagnosis(
            "agent health", "warning", f"no answer at {place}: {answer.trouble}",
            "set TRIMTAB_AGENT_HTTP to the agent's address when it is another one",
        )  # fmt: skip


def _collector(environ: dict[str, str]) -> Iterator[Diagnosis]:
    try:
        client = _client(environ)
    except (SettingsError, OSError) as error:
        yield Diagnosis("collector", "failed", str(error), "correct it where the agent is started")
        return
    address = client.address
    answer = client.ask(f"{API}/health")
    if answer.status != 200 or not answer.is_json:
        got = (
            "a page of something else" if answer.status == 200 else answer.trouble or answer.status
        )
        yield Diagnosis(
            "collector", "failed",
            f"expected health at {address}, got {got}",
            "start `trimtab collector`, or set TRIMTAB_AGENT_COLLECTOR_URL to where it is",
        )  # fmt: skip
        return
    way = " through a proxy" if client.through_proxy else ""
    yield Diagnosis("collector", "ok", f"answers at {address}{way}")
    yield _encryption(client)
    stamp = email.utils.parsedate_tz(answer.headers.get("date", ""))
    if stamp is not None:
        skew_s = email.utils.mktime_tz(stamp) - time.time()
        if abs(skew_s) > _SKEW_S:
            yield Diagnosis(
                "clock", "failed", f"the collector's clock differs by {skew_s:.0f} s",
                f"expected at most {_SKEW_S} s: synchronise both machines (timedatectl, chrony)",
            )  # fmt: skip
        else:
            yield Diagnosis("clock", "ok", "within a second or two of the collector's")
    yield _key(client, environ)


def _client(environ: dict[str, str]) -> HttpClient:
    """Return what asks the collector as the agent does; raises SettingsError and OSError."""
    prefix = "TRIMTAB_AGENT_"
    proxy = environ.get(f"{prefix}COLLECTOR_PROXY", "")
    path = environ.get(f"{prefix}COLLECTOR_PROXY_FILE", "")
    if not proxy and path:
        proxy = Path(path).read_text(encoding="utf-8").strip()
    ca_file = environ.get(f"{prefix}COLLECTOR_CA_FILE") or environ.get(f"{prefix}CA_FILE", "")
    return HttpClient(
        environ.get(f"{prefix}COLLECTOR_URL", "http://127.0.0.1:8620"),
        environ,
        ca_file=ca_file,
        proxy=proxy or ENVIRONMENT,
        variable=f"{prefix}COLLECTOR_URL",
        ca_variable=f"{prefix}COLLECTOR_CA_FILE",
        timeout_s=3,
    )


def _encryption(client: HttpClient) -> Diagnosis:
    """Return whether what is sent to the collector can be read on the way, and for how long not."""
    address = client.address
    if not address.tls:
        if address.loopback:
            return Diagnosis("encryption", "ok", "none, and none needed: it is this machine")
        return Diagnosis(
            "encryption", "warning", "none: the key and all data travel in the clear",
            "give the collector a certificate (tls_cert, tls_key) and use its https address",
        )  # fmt: skip
    if client.through_proxy:
        return Diagnosis("encryption", "ok", "TLS, also past the proxy")
    try:
        version, until_s = client.certificate()
    except OSError as error:
        return Diagnosis("encryption", "warning", f"its certificate cannot be read: {error}")
    days = int((until_s - time.time()) // 86_400)
    found = f"{version}, its certificate ends in {days} days"
    if days < _RENEW_DAYS:
        return Diagnosis("encryption", "warning", found, "renew it on the collector's machine")
    return Diagnosis("encryption", "ok", found)


def _key(client: HttpClient, environ: dict[str, str]) -> Diagnosis:
    key = environ.get("TRIMTAB_AGENT_KEY", "")
    path = environ.get("TRIMTAB_AGENT_KEY_FILE", "")
    if not key and path:
        try:
            key = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            return Diagnosis("agent key", "failed", f"cannot read {path}: {error.strerror}")
    if not key:
        return Diagnosis(
            "agent key", "warning", "no TRIMTAB_AGENT_KEY in this environment: not checked",
            "run doctor with the agent's environment, or make a key with `trimtab key new`",
        )  # fmt: skip
    headers = {"authorization": f"Bearer {key}"}
    answer = client.ask("/agent/v1/commands?agent=doctor&wait=0", headers=headers)
    # 403: it is a good key, and another agent's than the one that was asked for.
    if answer.status in (200, 403) and answer.is_json:
        return Diagnosis("agent key", "ok", "the collector accepts it")
    return Diagnosis(
        "agent key", "failed", f"the collector refuses it: {answer.trouble or answer.status}",
        "make another with `trimtab key new` and give it to the agent as TRIMTAB_AGENT_KEY",
    )  # fmt: skip
