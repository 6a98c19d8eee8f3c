"""A real collector with TLS: who gets in, what a new certificate changes, what is read again."""

import itertools
import json
import signal
import socket
import ssl
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from support.processes.api import TOKEN
from support.processes.authority import Authority, Pair, write_together
from support.processes.servers import Collector, short_dir, wait_for
from trimtab_collector.running import run
from trimtab_collector.settings import load
from trimtab_core.errors import SettingsError, StartupError
from trimtab_core.tls import client_context

_numbers = itertools.count()
HEALTH = "/api/performance/health"


class Secured:
    """A collector with TLS whose settings lie in a file."""

    def __init__(self, directory: Path, **env: str) -> None:
        self.authority = Authority(directory)
        self.pair = self.authority.issue("localhost", "127.0.0.1")
        self.file = directory / "trimtab.toml"
        self.write()
        self.process = Collector(directory, TRIMTAB_CONFIG=str(self.file), **env)
        self.port = self.process.port

    def write(self, **more: object) -> None:
        """Write the settings file."""
        settings = {"tls_cert": str(self.pair.cert), "tls_key": str(self.pair.key), **more}
        lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
        self.file.write_text("\n".join(["[collector]", *lines, ""]))

    def context(self) -> ssl.SSLContext:
        return client_context(str(self.authority.ca_file))

    @contextmanager
    def connection(self, context: ssl.SSLContext | None = None) -> Iterator[ssl.SSLSocket]:
        """Yield a connection over which requests can be sent."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=10) as opened,
            (context or self.context()).wrap_socket(opened, server_hostname="localhost") as shaken,
        ):
            yield shaken

    def serial(self) -> int:
        """Return the serial number of the certificate that a new connection is shown."""
        with self.connection() as opened:
            return serial_of(opened)

    def health(self) -> Any:
        request = urllib.request.Request(
            f"https://localhost:{self.port}{HEALTH}", headers={"authorization": f"Bearer {TOKEN}"}
        )
        with urllib.request.urlopen(request, context=self.context(), timeout=10) as answer:
            return json.loads(answer.read())["data"]

    def hang_up(self) -> Any:
        """Have the settings read again and return how that went."""
        before = self.health()["reload"]["at"]
        self.process.child.send_signal(signal.SIGHUP)
        wait_for(lambda: self.health()["reload"]["at"] != before, "settings to be read again")
        return self.health()["reload"]


def serial_of(opened: ssl.SSLSocket) -> int:
    return int(str((opened.getpeercert() or {})["serialNumber"]), 16)


def ask(opened: socket.socket) -> bytes:
    """Ask for health and return the headers of the answer."""
    return asked(opened, f"GET {HEALTH} HTTP/1.1\r\nhost: monitor.example\r\n\r\n".encode())


def status_of(opened: socket.socket, request: bytes) -> int:
    return int(asked(opened, request).split(b" ")[1])


def asked(opened: socket.socket, request: bytes) -> bytes:
    """Send a request and return the headers of its answer."""
    opened.sendall(request)
    found = b""
    while b"\r\n\r\n" not in found:
        piece = opened.recv(65536)
        assert piece, "the connection ended"
        found += piece
    head, _, body = found.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += opened.recv(65536)
    return head.lower()


@pytest.fixture(scope="module")
def running() -> Iterator[Secured]:
    with short_dir() as directory:
        found = Secured(directory)
        with found.process.start():
            yield found


@pytest.fixture
def secured(running: Secured) -> Iterator[Secured]:
    """The collector that the tests of this file share, as it was at its start."""
    yield running
    if running.health()["reload"]["at"] is not None or running.serial() != running.pair.serial:
        running.write()
        running.pair = renewed(running)
        running.hang_up()


def renewed(secured: Secured) -> Pair:
    """Put a new certificate where the old one is and return it, under its new place."""
    pair = secured.authority.issue("localhost", "127.0.0.1")
    write_together(pair, secured.pair.cert, secured.pair.key)
    return pair._replace(cert=secured.pair.cert, key=secured.pair.key)


def test_the_collector_speaks_tls_and_says_so(secured: Secured) -> None:
    assert f"listening on https://127.0.0.1:{secured.port}" in secured.process.output()
    health = secured.health()
    assert health["status"] == "healthy"
    assert health["certificate"]["validUntil"][:10] == f"{secured.pair.until:%Y-%m-%d}"
    assert health["connections"]["open"] >= 1
    with secured.connection() as opened:
        assert opened.version() == "TLSv1.3"
        assert b"strict-transport-security: max-age=2592000" in ask(opened)


@pytest.mark.parametrize(
    ("version", "ciphers"),
    [
        (ssl.TLSVersion.TLSv1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0"),
        (ssl.TLSVersion.TLSv1_2, "AES256-SHA:AES128-SHA256:ECDHE-ECDSA-AES128-SHA256"),
    ],
    ids=["1.0", "1.1", "1.2 without forward secrecy or authenticated encryption"],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_and_weak_ciphers_are_refused(
    secured: Secured, version: ssl.TLSVersion, ciphers: str
) -> None:
    context = secured.context()
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = version
    context.set_ciphers(ciphers)
    with pytest.raises((ssl.SSLError, ConnectionError)), secured.connection(context):
        pass
    assert secured.health()["connections"]["failedHandshakes"] >= 1


def test_tls_1_2_with_good_ciphers_is_spoken(secured: Secured) -> None:
    context = secured.context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with secured.connection(context) as opened:
        assert (opened.cipher() or ("",))[0].startswith("ECDHE-ECDSA-")


def test_a_renewed_certificate_is_shown_to_new_connections_and_open_ones_go_on(
    secured: Secured,
) -> None:
    with secured.connection() as opened:
        ask(opened)
        pair = renewed(secured)
        assert secured.hang_up()["errors"] == []
        assert secured.serial() == pair.serial
        assert b"200 ok" in ask(opened)
        assert serial_of(opened) == secured.pair.serial


def test_files_that_change_are_noticed_without_a_signal(secured: Secured) -> None:
    pair = renewed(secured)
    before = secured.health()["reload"]
    wait_for(lambda: secured.serial() == pair.serial, "the new certificate", 40)
    assert secured.health()["reload"] == before


def test_a_broken_certificate_is_refused_loudly_and_the_old_one_stays(secured: Secured) -> None:
    secured.pair.cert.write_text("nonsense")
    reload = secured.hang_up()
    assert "expected a certificate as PEM" in " ".join(reload["errors"])
    assert secured.serial() == secured.pair.serial
    health = secured.health()
    assert health["status"] == "degraded"
    assert "expected a certificate as PEM" in health["certificate"]["trouble"]
    assert "not taken over, the old ones hold" in secured.process.output()
    with secured.connection() as opened:
        assert b"200 ok" in ask(opened)  # as nobody: no sentence about files
    pair = renewed(secured)
    assert secured.hang_up()["errors"] == []
    assert secured.serial() == pair.serial
    assert secured.health()["status"] == "healthy"


def test_settings_are_read_again_and_those_that_cannot_change_are_named(secured: Secured) -> None:
    secured.write(trusted_proxies=["127.0.0.0/8"], max_connections=500, port=1, hsts_days=0)
    reload = secured.hang_up()
    assert reload["errors"] == []
    assert reload["waiting"] == []  # the variable holds, whatever the file says
    assert secured.health()["connections"]["most"] == 500
    with secured.connection() as opened:
        assert b"strict-transport" not in ask(opened)
    secured.write(keep_10s_hours=24, storage_max_bytes=10**9)
    assert secured.hang_up() == {**secured.health()["reload"], "errors": [], "waiting": []}
    secured.write(max_series=7)
    assert secured.hang_up()["waiting"] == ["max_series"]
    assert "changing max_series takes a restart" in secured.process.output()
    secured.write()
    assert secured.hang_up()["waiting"] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[collector]\nnonsense = 1\n", "nonsense is unknown"),
        ("[collector\n", "expected TOML"),
        ('[collector]\nlog_level = "loud"\n', "expected one of"),
    ],
)
def test_a_file_with_a_mistake_changes_nothing_and_is_said(
    secured: Secured, text: str, says: str
) -> None:
    secured.file.write_text(text)
    reload = secured.hang_up()
    assert says in " ".join(reload["errors"])
    assert secured.health()["status"] == "degraded"
    assert secured.serial() == secured.pair.serial


def test_a_part_that_cannot_use_new_settings_keeps_its_own_and_the_others_go_on(
    secured: Secured,
) -> None:
    secured.write(trusted_proxies=["nowhere"], max_connections=600)
    reload = secured.hang_up()
    assert [error.partition(":")[0] for error in reload["errors"]] == ["trusted proxies"]
    assert secured.health()["connections"]["most"] == 600


def log_in(opened: socket.socket, client: str) -> int:
    """Try a name that nobody has, as a client behind a proxy; return the status."""
    body = b'{"name": "nobody-%d", "password": "wrong"}' % next(_numbers)
    head = (
        "POST /api/performance/auth/login HTTP/1.1",
        "host: monitor.example",
        "content-type: application/json",
        f"content-length: {len(body)}",
        f"x-forwarded-for: {client}",
    )
    return status_of(opened, "\r\n".join([*head, "", ""]).encode() + body)


def test_logins_are_limited_by_client_behind_a_trusted_proxy_and_by_peer_otherwise(
    secured: Secured,
) -> None:
    secured.write(trusted_proxies=["127.0.0.1"])
    secured.hang_up()
    with secured.connection() as opened:
        # What a client adds itself does not give it another address.
        tries = [log_in(opened, f"10.9.9.{n}, 198.51.100.7") for n in range(40)]
        assert set(tries) == {401, 429}
        assert log_in(opened, "203.0.113.20") == 401
    secured.write()
    secured.hang_up()
    with secured.connection() as opened:
        assert 429 in [log_in(opened, f"203.0.{n}.1") for n in range(40)]


def test_turning_tls_off_takes_a_restart(secured: Secured) -> None:
    secured.file.write_text("[collector]\n")
    assert "takes a restart" in " ".join(secured.hang_up()["errors"])
    assert secured.serial() == secured.pair.serial


def test_the_collector_stops_in_time_with_connections_and_handshakes_open(tmp: Path) -> None:
    secured = Secured(tmp, TRIMTAB_COLLECTOR_HOST="0.0.0.0")
    with (
        secured.process.start() as process,
        secured.connection() as opened,
        socket.create_connection(("127.0.0.1", secured.port)) as silent,
    ):
        ask(opened)
        silent.sendall(b"\x16\x03\x01")
        wait_for(lambda: secured.health()["connections"]["open"] >= 3, "both to count")
        assert "in the clear" not in process.output()  # off loopback, but with TLS
        begun = time.monotonic()
        assert process.stop() == 0
        assert time.monotonic() - begun < 4  # nothing was waited for until it was cut


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"TRIMTAB_COLLECTOR_TLS_CERT": "/nowhere.pem"}, "tls_cert: cannot read /nowhere.pem"),
        ({"TRIMTAB_COLLECTOR_TLS_KEY": "/nowhere.pem"}, "tls_key: expected tls_cert beside it"),
        ({"TRIMTAB_COLLECTOR_HOST": "0.0.0.0"}, "set tls_cert and tls_key"),
        ({"TRIMTAB_COLLECTOR_BASE_URL": "monitor.example"}, "base_url: expected https://HOST"),
        ({"TRIMTAB_COLLECTOR_TRUSTED_PROXIES": "proxy"}, "trusted_proxies: expected addresses"),
    ],
)
def test_settings_that_cannot_be_used_end_the_start_with_one_sentence(
    tmp: Path, settings: dict[str, str], says: str
) -> None:
    environ = {"TRIMTAB_COLLECTOR_DATA_DIR": str(tmp / "c"), "TRIMTAB_COLLECTOR_PORT": "0"}
    found, _ = load(environ={**environ, **settings})
    interval = sys.getswitchinterval()
    try:
        with pytest.raises((SettingsError, StartupError), match=says):
            run(found, lambda: found, lambda _ready: None)
    finally:
        sys.setswitchinterval(interval)


def test_insecure_is_said_out_loud(tmp: Path) -> None:
    open_to_all = Collector(
        tmp, TRIMTAB_COLLECTOR_HOST="0.0.0.0", TRIMTAB_COLLECTOR_INSECURE="true"
    )
    with open_to_all.start():
        assert "keys, tokens and data travel in the clear host=0.0.0.0" in open_to_all.output()
