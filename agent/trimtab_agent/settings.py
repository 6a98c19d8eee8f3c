"""Settings of the agent process."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trimtab_core.addresses import web_address
from trimtab_core.config import data_directory, default_socket, setting
from trimtab_core.proxies import ENVIRONMENT, NONE, proxy_for

__all__ = ["AgentSettings", "resolve"]


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Settings of the agent; variables are `TRIMTAB_AGENT_` and the name in capitals."""

    socket: str = setting("", "address that apps connect to: unix:///path; empty for the default")
    tcp: str = setting(
        "", "second address, for apps without Unix sockets: tcp://host:port; empty for none"
    )
    token: str = setting(
        "", "secret shared with apps that connect over TCP", secret=True, restart=False
    )
    collector_url: str = setting("http://127.0.0.1:8620", "address of the collector", restart=False)
    key: str = setting(
        "", "agent key, from `trimtab key new` on the collector", secret=True, restart=False
    )
    data_dir: str = setting("", "directory of spool and identity; empty for the user's state")
    http: str = setting("127.0.0.1:8621", "address of /healthz, /readyz and /metrics")
    http_token: str = setting(
        "", "token that /metrics asks for off loopback", secret=True, restart=False
    )
    http_hosts: tuple[str, ...] = setting(
        (),
        "names by which `http` may be asked without the token, besides addresses, localhost and "
        "the host's own name",
        restart=False,
    )
    network_bits_per_second: int = setting(
        0,
        "what the host's network carries each way, for its utilization; 0: not known",
        unit="bit/s",
        least=0,
    )
    spool_mib: int = setting(256, "disk space of the spool", unit="MiB", least=1, most=1 << 20)
    window_s: int = setting(10, "length of a window", unit="s", least=1, most=300)
    max_series: int = setting(
        10_000, "series in a window; further ones are `other`", least=10, restart=False
    )
    max_apps: int = setting(
        512, "app processes connected at once", least=1, most=65_000, restart=False
    )
    allow_uids: tuple[str, ...] = setting(
        (), "user ids that may connect, besides root and the agent's own", restart=False
    )
    service_uids: tuple[str, ...] = setting(
        (),
        "who alone may write as a service: UID=SERVICE, or tcp=SERVICE for apps over TCP; SERVICE "
        "may have * and ?",
        restart=False,
    )
    ca_file: str = setting(
        "", "file of certificates to trust instead of the system's", restart=False
    )
    collector_ca_file: str = setting(
        "", "the same for the collector alone; empty for ca_file", restart=False
    )
    collector_proxy: str = setting(
        ENVIRONMENT,
        "proxy to an https collector: environment (HTTPS_PROXY, NO_PROXY), none, or "
        "http://HOST:PORT; never for this machine itself",
        secret=True,
        restart=False,
    )
    probe_redis: tuple[str, ...] = setting(
        (), "Redis servers to read: redis://USER:PASSWORD@HOST:PORT/DB", secret=True
    )
    probe_postgresql: tuple[str, ...] = setting(
        (),
        "PostgreSQL databases to read: postgresql://USER:PASSWORD@HOST:PORT/DATABASE",
        secret=True,
    )
    probe_queues: tuple[str, ...] = setting(
        (),
        "queues on Redis to read: redis://HOST:PORT/DB#KIND:NAME, KIND list, stream, celery or rq",
        secret=True,
    )
    probe_http: tuple[str, ...] = setting(
        (), "URLs of services that apps depend on, asked with GET", secret=True
    )
    probe_s: int = setting(
        10, "time between two readings of a target", unit="s", least=1, most=3600
    )
    log_level: str = setting(
        "info", "log level", choices=("debug", "info", "warning", "error"), restart=False
    )


def resolve(settings: AgentSettings, environ: Mapping[str, str] | None = None) -> AgentSettings:
    """Return settings with the defaults that depend on this machine filled in, paths absolute.

    Raises SettingsError for a collector_url or collector_proxy that cannot be used.
    """
    environ = os.environ if environ is None else environ
    address = web_address(settings.collector_url, "collector_url")
    proxy = proxy_for(address, settings.collector_proxy, environ)
    return replace(
        settings,
        socket=settings.socket or environ.get("TRIMTAB_AGENT") or default_socket(environ),
        data_dir=data_directory(settings.data_dir, environ, "agent"),
        collector_ca_file=settings.collector_ca_file or settings.ca_file,
        collector_proxy=proxy or NONE,
    )
