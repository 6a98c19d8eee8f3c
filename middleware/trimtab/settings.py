"""Settings of the app side. Nothing here can stop an app: a wrong setting becomes a warning."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from trimtab_core.config import load, setting
from trimtab_core.errors import SettingsError
from trimtab_core.logs import app_logger
from trimtab_core.messages import MAX_NAME

__all__ = ["AppSettings", "read_settings"]

log = app_logger("trimtab.settings")


@dataclass(frozen=True, slots=True)
class AppSettings:
    """Settings of one app process; variables are `TRIMTAB_` and the name in capitals."""

    enabled: bool = setting(True, "measure at all; off makes every part a no-op")
    agent: str = setting(
        "", "address of the agent: unix:///path or tcp://host:port; empty for the default"
    )
    agent_token: str = setting("", "secret shared with the agent, for TCP alone", secret=True)
    service: str = setting("", "name of the service; empty for OTEL_SERVICE_NAME or the program")
    environment: str = setting("", "environment, such as production; empty for OTel's or `default`")
    version: str = setting("", "version of the service; empty for OTel's service.version")
    host: str = setting("", "name of this host or pod; empty for the host name")
    server_timing: bool = setting(False, "send a Server-Timing header with each response")
    request_id: bool = setting(False, "answer with X-Request-ID, the caller's own or a new one")
    queue_time: bool = setting(True, "read X-Request-Start, set by a proxy, as time in its queue")
    exclude: tuple[str, ...] = setting(
        (), "paths that are not measured at all: /healthz, or /static/* for all below"
    )
    context: bool = setting(
        False,
        "give each request a context that code adds database, cache and call times to; "
        "instrumented libraries do so by themselves",
    )
    instrument: bool = setting(
        True, "measure queries, caches, calls and queues of the libraries under trimtab run"
    )
    slow_query_ms: int = setting(
        100, "queries that take as long are kept, without values", unit="ms", least=1, most=600_000
    )
    slow_request_ms: int = setting(
        1000, "requests that take as long are kept whole", unit="ms", least=1, most=600_000
    )
    capture_share: float = setting(
        0.001, "share of the other requests that is kept whole, to compare", least=0, most=1
    )
    routes: int = setting(
        1000, "route templates kept; further ones are `other`", least=1, most=60000
    )
    buffer_kib: int = setting(
        2048,
        "records kept between two sends; beyond it they are dropped and counted",
        unit="KiB",
        least=64,
        most=65536,
    )
    backlog_kib: int = setting(
        4096,
        "records kept while the agent is away; beyond it the oldest are dropped and counted",
        unit="KiB",
        least=64,
        most=65536,
    )
    interval_ms: int = setting(250, "time between two sends", unit="ms", least=20, most=10_000)
    gauges: bool = setting(True, "read CPU, memory, threads and loop delay once a second")


def read_settings(environ: Mapping[str, str] | None = None, **overrides: Any) -> AppSettings:
    """Return the settings of this process, names filled in; never raises.

    overrides come from code (`Middleware(app, service="shop")`). Each problem is one warning in
    the log `trimtab.settings`, and the default stands in.
    """
    environ = os.environ if environ is None else environ
    settings, warnings = _tolerant(environ, overrides)
    for warning in warnings:
        log.warning("%s; the default is used where a value is wrong", warning)
    return replace(
        settings,
        service=_name(settings.service, _otel(environ, "service.name"), _program(), "python"),
        environment=_name(
            settings.environment,
            _otel(environ, "deployment.environment.name"),
            _otel(environ, "deployment.environment"),
            "default",
        ),
        version=_name(settings.version, _otel(environ, "service.version")),
        host=_name(settings.host, _host(), "localhost"),
    )


def _tolerant(
    environ: Mapping[str, str], overrides: Mapping[str, Any]
) -> tuple[AppSettings, list[str]]:
    # One wrong setting must not cost the others: drop what is named in the error, try again.
    usable, given = dict(environ), dict(overrides)
    problems: list[str] = []
    for name in list(given):
        if name not in {field.name for field in fields(AppSettings)}:
            problems.append(f"{name} is not a setting of the middleware")
            del given[name]
    for _ in range(len(fields(AppSettings)) * 2 + 1):
        try:
            settings, warnings = load(AppSettings, "app", environ=usable, flags=given)
            return settings, problems + warnings
        except SettingsError as error:
            problems.append(str(error))
            where = str(error).partition(":")[0]
            flag = where.removeprefix("--").replace("-", "_")
            if where in usable:
                del usable[where]
            elif flag in given:
                del given[flag]
            else:
                # The file as a whole: do without it.
                usable["TRIMTAB_CONFIG"] = os.devnull
    return AppSettings(), problems


def _otel(environ: Mapping[str, str], name: str) -> str:
    if name == "service.name" and environ.get("OTEL_SERVICE_NAME"):
        return environ["OTEL_SERVICE_NAME"]
    for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == name:
            return value.strip()
    return ""


def _program() -> str:
    name = os.path.basename(sys.argv[0] if sys.argv else "").removesuffix(".py")
    if name in ("", "-c", "-m", "__main__"):
        return "python"
    return name


def _host() -> str:
    try:
        return os.uname().nodename
    except AttributeError:  # Windows
        return os.environ.get("COMPUTERNAME", "localhost")


def _name(*texts: str) -> str:
    """Return the first text that holds a name; the agent refuses hellos with an empty one."""
    for text in texts:
        name = "".join(char for char in text if char.isprintable()).strip()[:MAX_NAME]
        if name:
            return name
    return ""
