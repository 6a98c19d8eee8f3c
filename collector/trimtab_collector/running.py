"""Runs a collector in this process: its sockets, its certificate, what is read again, its end."""

import contextlib
import gc
import sqlite3
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from trimtab_collector.app import CollectorApp
from trimtab_collector.auth.links import keep_address
from trimtab_collector.certificate import ServerCertificate
from trimtab_collector.connections import ConnectionTable, most_connections
from trimtab_collector.front import Front
from trimtab_collector.reload import Reload
from trimtab_collector.serve import Hooks, Listening, bind, serve
from trimtab_collector.settings import CollectorSettings, check
from trimtab_collector.statefile import unusable
from trimtab_core import logs
from trimtab_core.errors import SettingsError

__all__ = ["Companion", "Ready", "run"]


class Companion(Protocol):
    """A process that runs beside the collector; any thread."""

    def stop(self) -> None:
        """End it while the collector still takes what it sends; may be repeated."""

    def read_again(self) -> None:
        """Have it read its settings again."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A collector that takes connections."""

    app: CollectorApp
    url: str
    #: where an agent of this process's own reaches it: on loopback, without TLS
    inner_url: str


def run(
    settings: CollectorSettings,
    again: Callable[[], CollectorSettings],
    on_ready: Callable[[Ready], None],
    companion: Companion | None = None,
) -> int:
    """Run until SIGTERM or SIGINT and return the exit code; raises StartupError.

    again reads the settings for SIGHUP. on_ready is called in the loop, when connections are taken.
    """
    check(settings)
    # A batch passes five threads or turns of the loop: long work in another thread may keep each of
    # them from the interpreter for so long, and not for 5 ms.
    sys.setswitchinterval(0.0005)
    certificate = None
    if settings.tls_cert:
        certificate = ServerCertificate(settings.tls_cert, settings.tls_key)
    context = certificate.context if certificate is not None else None
    with contextlib.ExitStack() as ending:
        listening = [Listening(bind(settings.host, settings.port), context)]
        ending.callback(listening[0].socket.close)
        if companion is not None and certificate is not None:
            # The certificate is for a name that need not lead here.
            listening.append(Listening(bind("127.0.0.1", 0)))
            ending.callback(listening[1].socket.close)
        reload = Reload(settings, again)
        table = ConnectionTable(most_connections(settings.max_connections))
        try:
            app = CollectorApp(settings, reload=reload)
        except sqlite3.DatabaseError as error:
            raise unusable(settings.directory, error) from error
        ending.callback(app.close)
        keep_address(settings.directory, listening[0].url)
        stop = companion.stop if companion is not None else lambda: None
        ending.callback(stop)
        front = Front(app, settings)
        _register(reload, certificate, table, front)
        app.reader.parts["connections"] = table.health
        if certificate is not None:
            app.reader.parts["certificate"] = certificate.health

        def hang_up() -> None:
            reload.run()
            if companion is not None:
                companion.read_again()

        ready = Ready(app, listening[0].url, listening[-1].url)
        hooks = Hooks(
            ready=lambda: _begin(on_ready, ready),
            signal=stop,
            stop=app.release,
            hangup=hang_up,
            look=certificate.look if certificate else lambda: None,
        )
        return serve(front, listening, settings.log_level, table, hooks)


def _begin(on_ready: Callable[[Ready], None], ready: Ready) -> None:
    # What was made until now stays. Looking through it each time garbage is looked for would stop
    # every thread for 30 to 50 ms, whenever somebody brings some thousand names.
    gc.collect()
    gc.freeze()
    on_ready(ready)


def _register(
    reload: Reload, certificate: ServerCertificate | None, table: ConnectionTable, front: Front
) -> None:
    def certify(settings: CollectorSettings) -> None:
        if bool(settings.tls_cert) != (certificate is not None):
            raise SettingsError("tls_cert: turning TLS on or off takes a restart of the collector")
        if certificate is not None:
            certificate.use(settings.tls_cert, settings.tls_key)

    def limit(settings: CollectorSettings) -> None:
        table.most = most_connections(settings.max_connections)

    reload.register("log level", lambda settings: logs.configure(settings.log_level))
    reload.register("certificate", certify)
    reload.register("limit of connections", limit)
    reload.register("trusted proxies", front.use)
