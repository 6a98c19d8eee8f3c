"""Settings of the collector: section `collector`, variables TRIMTAB_COLLECTOR_*."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from trimtab_core import config
from trimtab_core.addresses import is_loopback, web_address
from trimtab_core.batches import MAX_BATCH
from trimtab_core.config import setting
from trimtab_core.errors import SettingsError, StartupError

__all__ = ["SECTION", "CollectorSettings", "check", "load"]

logger = logging.getLogger("trimtab.collector")

SECTION: Final = "collector"


@dataclass(frozen=True, slots=True)
class CollectorSettings:
    """Every setting of the collector."""

    host: str = setting("127.0.0.1", "Address to listen on.")
    port: int = setting(8620, "Port to listen on; 0 takes a free one.", least=0, most=65535)
    data_dir: str = setting(
        "", "Directory of the store; empty for trimtab/collector in the user's state directory."
    )
    token: str = setting(
        "", "Service token for reads; empty to make one at the first start.", secret=True
    )
    admin_name: str = setting("admin", "Name of the first admin, if admin_password is set.")
    admin_password: str = setting(
        "", "Password of the first admin, who is added if there is no user.", secret=True
    )
    tls_cert: str = setting(
        "",
        "File with the certificate and those that lead to its authority, as PEM; empty for no TLS.",
        restart=False,
    )
    tls_key: str = setting(
        "",
        "File with the certificate's private key, as PEM without a passphrase; empty if it is in "
        "tls_cert.",
        restart=False,
    )
    insecure: bool = setting(False, "Listen off loopback without TLS: keys and data in the clear.")
    base_url: str = setting(
        "",
        "Address by which people reach the collector, for links: https://HOST or "
        "https://HOST/PREFIX; empty for the address it listens on.",
    )
    trusted_proxies: tuple[str, ...] = setting(
        (),
        "Addresses and networks of proxies whose word on client, scheme and host is believed.",
        restart=False,
    )
    forwarded_header: str = setting(
        "x-forwarded",
        "What trusted proxies send: X-Forwarded-For, -Proto and -Host, or Forwarded (RFC 7239).",
        choices=("x-forwarded", "forwarded"),
        restart=False,
    )
    hsts_days: int = setting(
        30,
        "How long browsers shall insist on https after an answer over https; 0 says nothing.",
        unit="days",
        least=0,
        most=3650,
        restart=False,
    )
    max_connections: int = setting(
        4096,
        "Connections at one time; beyond it, who has most or was silent longest loses some.",
        least=16,
        most=1_000_000,
        restart=False,
    )
    allowed_origins: tuple[str, ...] = setting(
        (),
        "Origins of other pages that may use the live stream, such as https://board.example.",
    )
    max_body_bytes: int = setting(
        MAX_BATCH, "Largest batch as sent.", unit="bytes", least=1024, most=MAX_BATCH
    )
    queue_bytes: int = setting(
        32 * 1024 * 1024,
        "Bytes of batches waiting to be committed; above it agents get 503.",
        unit="bytes",
        least=1024 * 1024,
    )
    journal_bytes: int = setting(
        4 * 1024**3,
        "Bytes of batches waiting to be merged; above it agents get 503.",
        unit="bytes",
        least=1024 * 1024,
    )
    recent_bytes: int = setting(
        32 * 1024 * 1024,
        "Memory for the latest minutes; what does not fit is read from disk.",
        unit="bytes",
        least=1024 * 1024,
    )
    keep_10s_hours: int = setting(
        48,
        "How long 10-second windows are kept, in whole days of UTC.",
        unit="hours",
        least=1,
        most=876_000,
        restart=False,
    )
    keep_1m_days: int = setting(
        15,
        "How long 1-minute windows are kept.",
        unit="days",
        least=1,
        most=36_500,
        restart=False,
    )
    keep_1h_days: int = setting(
        400,
        "How long 1-hour windows are kept, in whole months.",
        unit="days",
        least=1,
        most=36_500,
        restart=False,
    )
    storage_max_bytes: int = setting(
        0,
        "Disk space of the store; beyond it, the oldest file of the finest tier goes first. "
        "0 is no limit.",
        unit="bytes",
        restart=False,
    )
    max_series: int = setting(
        200_000, "Series in use at one time; new ones beyond it are counted as `other`.", least=1
    )
    max_services: int = setting(
        4000,
        "Services in use at one time, one for each environment; what new ones beyond it send is "
        "counted under the service `other`.",
        least=1,
    )
    alerts_file: str = setting(
        "",
        "File with thresholds, rules and channels; empty for alerts.toml in the data directory.",
    )
    heartbeat_url: str = setting(
        "",
        "Address that is posted to every minute while alerts are judged and messages leave; a "
        "service there calls you when that stops. Empty for none.",
        secret=True,
    )
    allow_hosts: tuple[str, ...] = setting(
        (),
        "Hosts, or `host:port`, that messages may be sent to although they are private or without "
        "TLS.",
        restart=False,
    )
    outbound_ca_file: str = setting(
        "",
        "Certificates (PEM) to trust for what is sent, besides those of the system.",
        restart=False,
    )
    outbound_proxy: bool = setting(
        False,
        "Send messages through the proxy of HTTPS_PROXY, but not to hosts of NO_PROXY.",
        restart=False,
    )
    log_level: str = setting(
        "info", "What to log.", choices=("debug", "info", "warning", "error"), restart=False
    )

    log_dir: str = setting(
        "",
        "Directory of performance.log, error.log and combined.log, one collector each; empty for "
        "none of them.",
    )
    log_max_bytes: int = setting(
        10 * 1024 * 1024,
        "Size at which a log file is put aside and a new one begun.",
        unit="bytes",
        least=64 * 1024,
    )
    log_keep: int = setting(
        5, "How many files that were put aside are kept of each log.", least=1, most=1000
    )

    @property
    def public_url(self) -> str:
        """Where links lead to: base_url, else the address it listens on, else "" for unknown."""
        if self.base_url or not self.port or self.host in ("0.0.0.0", "::"):
            return self.base_url
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.port}"

    @property
    def directory(self) -> Path:
        """The data directory."""
        return Path(self.data_dir)


def load(
    file: str | None = None,
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
) -> tuple[CollectorSettings, list[str]]:
    """Return the settings, their data directory resolved, and warnings; raises SettingsError."""
    settings, warnings = config.load(
        CollectorSettings, SECTION, file=file, environ=environ, flags=flags
    )
    data_dir = config.data_directory(settings.data_dir, environ, SECTION)
    return replace(settings, data_dir=data_dir), warnings


def check(settings: CollectorSettings) -> None:
    """Raise StartupError or SettingsError for what the collector must not or cannot be.

    It listens where others can reach it only with TLS, or if insecure says so.
    """
    if settings.base_url:
        web_address(settings.base_url, "base_url")
    if settings.tls_key and not settings.tls_cert:
        raise SettingsError("tls_key: expected tls_cert beside it, the key's certificate")
    if settings.tls_cert or is_loopback(settings.host):
        return
    if not settings.insecure:
        raise StartupError(
            f"expected a loopback address, got host {settings.host!r}: keys and data would travel "
            "in the clear; set tls_cert and tls_key, or put TLS in front of 127.0.0.1, or set "
            "insecure = true and mean it"
        )
    logger.warning(
        "insecure = true: keys, tokens and data travel in the clear host=%s", settings.host
    )
