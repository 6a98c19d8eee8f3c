"""The agent's way to the collector over real sockets: certificates, redirects, proxies."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from support.processes.authority import Authority, Pair, serving
from support.processes.stub_collector import Answer, StubCollector
from trimtab_agent.forwarder import Forwarder, make_client
from trimtab_agent.settings import AgentSettings, resolve
from trimtab_agent.spool.spool import Spool
from trimtab_core.errors import SettingsError

KEY = "ttk_secret"


@pytest.fixture
def authority(tmp: Path) -> Authority:
    return Authority(tmp)


def answering(pair: Pair | None, most: ssl.TLSVersion | None = None) -> StubCollector:
    """Return a collector that takes everything; a pair: over TLS."""
    return StubCollector(lambda *_: Answer(), serving(pair, most=most) if pair else None)


async def _send(directory: Path, url: str, ca_file: str, proxy: str) -> Forwarder:
    spool = Spool(directory / "spool")
    client = make_client(url, KEY, ca_file, proxy)
    try:
        forwarder = Forwarder(spool, client, 10, lambda _seconds: None)
        spool.append(b"batch", samples=1, window_s=int(time.time()))
        entry = spool.next(newest=True)
        assert entry is not None
        await forwarder.send(entry)
        return forwarder
    finally:
        await client.aclose()
        spool.close()


def sent(directory: Path, url: str, ca_file: object = "", proxy: str = "none") -> str:
    """Try to send one batch; return what troubles the sender, empty when it was taken."""
    return asyncio.run(_send(directory, url, str(ca_file), proxy)).trouble


def named(url: str, host: str = "localhost") -> str:
    return url.replace("127.0.0.1", host)


# ---------------------------------------------------------------- certificates


def test_a_collector_whose_authority_is_named_is_trusted(tmp: Path, authority: Authority) -> None:
    with answering(authority.issue("localhost", "127.0.0.1")) as stub:
        assert sent(tmp, named(stub.url), authority.ca_file) == ""
        assert sent(tmp, stub.url, authority.ca_file) == ""
    assert {asked.headers["authorization"] for asked in stub.asked} == {f"Bearer {KEY}"}


def test_a_certificate_that_is_named_itself_is_trusted(tmp: Path, authority: Authority) -> None:
    pair = authority.issue("localhost", alone=True)
    with answering(pair) as stub:
        assert sent(tmp, named(stub.url), pair.cert) == ""


@pytest.mark.parametrize("alone", [True, False], ids=["self-signed", "another authority's"])
def test_somebody_in_between_with_a_certificate_of_his_own_gets_nothing(
    tmp: Path, authority: Authority, alone: bool
) -> None:
    theirs = Authority(tmp).issue("localhost", alone=alone)
    with answering(theirs) as stub:
        for ca_file in (authority.ca_file, ""):
            trouble = sent(tmp, named(stub.url), ca_file)
            assert "nobody trusted here has signed the certificate of localhost" in trouble
            assert "name it or its authority in collector_ca_file" in trouble
    assert stub.asked == []


def test_a_certificate_for_another_name_is_refused(tmp: Path, authority: Authority) -> None:
    with answering(authority.issue("other.example", "127.0.0.2")) as stub:
        for url in (stub.url, named(stub.url)):
            assert "is for another name" in sent(tmp, url, authority.ca_file)
    assert stub.asked == []


@pytest.mark.parametrize(
    ("begin", "end", "says"),
    [(-9, -1, "has expired: renew it there"), (1, 9, "is not valid yet: check the clocks")],
)
def test_a_certificate_out_of_its_time_is_refused(
    tmp: Path, authority: Authority, begin: int, end: int, says: str
) -> None:
    pair = authority.issue("localhost", begin=timedelta(days=begin), end=timedelta(days=end))
    with answering(pair) as stub:
        assert says in sent(tmp, named(stub.url), authority.ca_file)
    assert stub.asked == []


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_a_server_that_speaks_only_old_tls_is_refused(tmp: Path, authority: Authority) -> None:
    with answering(authority.issue("localhost"), ssl.TLSVersion.TLSv1_1) as stub:
        trouble = sent(tmp, named(stub.url), authority.ca_file)
    assert "unreachable" in trouble
    assert "TLS" in trouble
    assert stub.asked == []


def test_there_is_no_way_back_to_http(tmp: Path, authority: Authority) -> None:
    with answering(None) as stub:
        https = named(stub.url).replace("http:", "https:")
        assert "does not speak TLS at that port" in sent(tmp, https, authority.ca_file)
    assert stub.asked == []


@pytest.mark.parametrize("text", ["nonsense", ""])
def test_a_file_without_certificates_is_refused_by_name(tmp: Path, text: str) -> None:
    path = tmp / "ca.pem"
    path.write_text(text)
    with pytest.raises(SettingsError, match="collector_ca_file: expected certificates as PEM"):
        make_client("https://localhost", KEY, str(path))
    with pytest.raises(SettingsError, match="collector_ca_file: cannot read"):
        make_client("https://localhost", KEY, str(tmp / "nothing.pem"))


# ---------------------------------------------------------------- redirects, prefix


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_never_carries_the_key(tmp: Path, status: int) -> None:
    with answering(None) as target:
        elsewhere = {"Location": f"{target.url}/agent/v1/batches"}
        with StubCollector(lambda *_: Answer(status, elsewhere)) as stub:
            trouble = sent(tmp, stub.url)
    assert f"it redirects to '{target.url}/agent/v1/batches'" in trouble
    assert "set collector_url to it" in trouble
    assert target.asked == []
    assert len(stub.asked) == 1


@pytest.mark.parametrize("prefix", ["", "/", "/trimtab", "/trimtab/"])
def test_the_collector_may_lie_below_a_prefix(tmp: Path, prefix: str) -> None:
    with answering(None) as stub:
        assert sent(tmp, stub.url + prefix) == ""
    assert stub.asked[0].path == f"{prefix.rstrip('/')}/agent/v1/batches"


# ---------------------------------------------------------------- proxies


class Proxy:
    """An HTTP proxy that knows CONNECT, one connection at a time, and notes what it is asked."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        self.carried = b""

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                opened, _ = self._listener.accept()
                with opened:
                    self._tunnel(opened)

    def _tunnel(self, opened: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = opened.recv(1)
            if not piece:
                return
            head += piece
        self.asked.append(head.decode())
        host, _, port = head.split(b" ")[1].decode().rpartition(":")
        # `collector.example` is this machine, for whoever asks the proxy.
        assert host == "collector.example"
        with socket.create_connection(("127.0.0.1", int(port))) as inner:
            opened.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            back = threading.Thread(target=self._pump, args=(inner, opened))
            back.start()
            self._pump(opened, inner)
            back.join(5)

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                self.carried += piece
                target.sendall(piece)
            target.shutdown(socket.SHUT_WR)

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        thread = threading.Thread(target=self._serve)
        thread.start()
        try:
            yield self
        finally:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            thread.join(5)


def settings(url: str, proxy: str = "environment") -> AgentSettings:
    return AgentSettings(collector_url=url, collector_proxy=proxy)


def test_https_goes_through_the_proxy_of_the_environment_and_the_key_is_not_seen(
    tmp: Path, authority: Authority
) -> None:
    with answering(authority.issue("collector.example")) as stub, Proxy().running() as proxy:
        url = named(stub.url, "collector.example")
        found = resolve(settings(url), {"HTTPS_PROXY": proxy.url})
        assert sent(tmp, url, authority.ca_file, found.collector_proxy) == ""
    assert len(stub.asked) == 1
    assert proxy.asked[0].startswith(f"CONNECT collector.example:{stub.port} ")
    assert KEY not in "".join(proxy.asked)
    assert KEY.encode() not in proxy.carried


def test_a_proxy_that_stands_in_for_the_collector_gets_nothing(
    tmp: Path, authority: Authority
) -> None:
    theirs = Authority(tmp).issue("collector.example")
    with answering(theirs) as stub, Proxy().running() as proxy:
        url = named(stub.url, "collector.example")
        trouble = sent(tmp, url, authority.ca_file, proxy.url)
    assert "nobody trusted here has signed" in trouble
    assert stub.asked == []


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"])
def test_this_machine_is_never_asked_through_a_proxy(
    tmp: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    with answering(None) as stub:
        found = resolve(settings(stub.url))
        assert found.collector_proxy == "none"
        assert sent(tmp, stub.url, "", found.collector_proxy) == ""


def test_a_proxy_with_a_password_shows_it_nowhere() -> None:
    secret = "http://user:s3cret@proxy.example:x"
    with pytest.raises(SettingsError) as caught:
        resolve(settings("https://collector.example", proxy=secret))
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(settings("https://a", proxy=secret))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("collector.example", "collector_url: expected https://HOST"),
        ("ftp://collector.example", "collector_url: expected https://HOST"),
        ("https://", "collector_url: expected https://HOST"),
        ("https://user:pw@collector.example", "without a user and password"),
        ("https://collector.example/?a=b", "nothing may follow the path"),
    ],
)
def test_a_url_of_the_collector_that_is_none_is_refused(url: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        resolve(settings(url))
    assert "pw" not in str(caught.value)
