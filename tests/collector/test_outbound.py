"""The guard of what the collector sends out: where it connects to, and where it never does."""

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from support.processes.certificates import self_signed, server_context
from support.processes.servers import free_port
from support.processes.stub_collector import Answer, StubCollector
from trimtab_collector.notify.addresses import AllowedHosts, is_public
from trimtab_collector.notify.channel import DeliveryError
from trimtab_collector.notify.exchange import Target, post
from trimtab_collector.notify.outbound import Outbound
from trimtab_core.errors import SettingsError

HERE = AllowedHosts.of(["127.0.0.1", "localhost"])


def taking(_body: bytes, _number: int) -> Answer:
    return Answer(200)


def answering(status: int, **headers: str) -> Callable[[bytes, int], Answer]:
    return lambda body, number: Answer(status, {k.replace("_", "-"): v for k, v in headers.items()})


async def send(url: str, outbound: Outbound | None = None, **headers: str) -> None:
    guard = Outbound(HERE) if outbound is None else outbound
    await post(guard, Target.of(url, "url"), b'{"a":1}', headers)


def told(*addresses: str) -> Callable[[str, int], Any]:
    """Return a resolver that answers the next address at each question, the last for ever."""
    left = list(addresses)

    async def resolver(host: str, port: int) -> Sequence[str]:
        return [left.pop(0) if len(left) > 1 else left[0]]

    return resolver


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "5f00::1",
        "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.192", "168.63.129.16",
        "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.88.99.1", "198.18.0.1", "192.0.2.1",
        "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1",
    ],
)  # fmt: skip
def test_an_address_that_only_this_network_reaches_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize(
    "text",
    ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "2001:4860:4860::8888", "64:ff9b::101:101",
     "::ffff:1.1.1.1", "2002:101:101::1"],
)  # fmt: skip
def test_an_address_of_the_internet_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.asyncio
async def test_a_name_that_leads_nowhere_says_what_to_check() -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(DeliveryError, match="check the name, and the resolver") as told:
        await Outbound(resolver=unknown).connect("smtp.exmaple.com", 587)
    assert "'smtp.exmaple.com', got: Name or service not known" in str(told.value)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "host",
    ["127.1", "2130706433", "0x7f000001", "017700000001", "127.0.0.1", "localhost", "[::1]",
     "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "169.254.169.254"],
)  # fmt: skip
async def test_no_way_of_writing_an_address_leads_to_this_machine(host: str) -> None:
    with StubCollector(taking) as stub:
        with pytest.raises(DeliveryError, match=r"public address|expected an address"):
            await send(f"https://{host}:{stub.port}/", Outbound())
        assert stub.asked == []


@pytest.mark.asyncio
async def test_a_name_that_leads_elsewhere_at_the_second_question_gains_nothing() -> None:
    with StubCollector(taking) as stub:
        outbound = Outbound(resolver=told("192.0.2.1", "127.0.0.1"))
        for _ in range(2):
            with pytest.raises(DeliveryError, match="public address"):
                await send(f"https://rebinding.example:{stub.port}/", outbound)
        assert stub.asked == []


@pytest.mark.asyncio
async def test_the_connection_goes_to_the_address_that_was_checked() -> None:
    asked = []

    async def resolver(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return ["127.0.0.1"]

    with StubCollector(taking) as stub:
        # The system knows no such name: only what was checked can have been connected to.
        allowed = AllowedHosts.of(["hook.invalid"])
        await send(f"http://hook.invalid:{stub.port}/x", Outbound(allowed, resolver=resolver))
        assert [each.headers["host"] for each in stub.asked] == [f"hook.invalid:{stub.port}"]
    assert asked == ["hook.invalid"]


@pytest.mark.asyncio
async def test_of_several_addresses_the_public_ones_are_used() -> None:
    async def resolver(host: str, port: int) -> Sequence[str]:
        return ["127.0.0.1", "::1", "fe80::1%eth0"]

    with pytest.raises(DeliveryError, match=r"got 127\.0\.0\.1, ::1, fe80::1"):
        await send("https://mixed.example/", Outbound(resolver=resolver))


@pytest.mark.asyncio
async def test_an_allowed_host_is_reached_and_no_other_name_of_it() -> None:
    with StubCollector(taking) as stub:
        outbound = Outbound(AllowedHosts.of([f"127.0.0.1:{stub.port}"]))
        await send(f"http://127.0.0.1:{stub.port}/", outbound)
        assert len(stub.asked) == 1
        with pytest.raises(DeliveryError, match="expected https"):
            await send(f"http://localhost:{stub.port}/", outbound)
        with pytest.raises(DeliveryError, match="public address"):
            await send("https://127.0.0.1:1/", outbound)


@pytest.mark.asyncio
async def test_other_settings_hold_for_the_connections_that_come(tmp_path: Path) -> None:
    guard = Outbound()
    with StubCollector(taking) as hook:
        with pytest.raises(DeliveryError, match="to allow it"):
            await send(hook.url, guard)
        guard.use(HERE, "", proxies=False)
        await send(hook.url, guard)
        with pytest.raises(SettingsError, match="outbound_ca_file"):
            guard.use(AllowedHosts(), str(tmp_path / "nothing.pem"), proxies=False)
        await send(hook.url, guard)
        guard.use(AllowedHosts(), "", proxies=False)
        with pytest.raises(DeliveryError, match="to allow it"):
            await send(hook.url, guard)


@pytest.mark.asyncio
async def test_a_redirect_is_not_followed() -> None:
    with StubCollector(answering(302, Location="http://169.254.169.254/latest/")) as stub:
        with pytest.raises(DeliveryError, match="302: redirects are not followed"):
            await send(f"{stub.url}/")
        assert len(stub.asked) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("status", "lasting"), [(400, True), (401, False), (404, False), (413, True), (500, False)]
)
async def test_a_refusal_says_its_status_and_whether_it_lasts(status: int, lasting: bool) -> None:
    with StubCollector(answering(status)) as stub:
        with pytest.raises(
            DeliveryError, match=f"127.0.0.1:{stub.port} answered {status}$"
        ) as told:
            await send(stub.url)
        assert told.value.lasting is lasting


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("7", 7, 7), ("999999999", 3600, 3600), ("soon", 0, 0), ("", 0, 0), ("-5", 0, 0)],
)
async def test_retry_after_is_understood_and_bounded(text: str, least: float, most: float) -> None:
    with StubCollector(answering(503, Retry_After=text)) as stub:
        with pytest.raises(DeliveryError) as told:
            await send(stub.url)
        assert least <= told.value.retry_after_s <= most


@pytest.mark.asyncio
async def test_retry_after_may_be_a_date() -> None:
    at = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 60))
    with StubCollector(answering(503, Retry_After=at)) as stub:
        with pytest.raises(DeliveryError) as told:
            await send(stub.url)
        assert 50 < told.value.retry_after_s <= 60


@pytest.mark.asyncio
async def test_tls_is_verified_against_the_name_and_a_file_of_certificates(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "DNS:hook.example")
    allowed = AllowedHosts.of(["hook.example", "other.example"])
    with StubCollector(taking, server_context(certificate, key)) as stub:
        good = Outbound(allowed, str(certificate), resolver=told("127.0.0.1"))
        await send(f"https://hook.example:{stub.port}/", good)
        assert len(stub.asked) == 1
        with pytest.raises(DeliveryError, match="not trusted"):
            await send(f"https://other.example:{stub.port}/", good)
        unknown = Outbound(allowed, resolver=told("127.0.0.1"))
        with pytest.raises(DeliveryError, match=r"not trusted: .*outbound_ca_file"):
            await send(f"https://hook.example:{stub.port}/", unknown)
        assert len(stub.asked) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize("host", [".hook.example", "a..b", "x%00y", "-", "x" * 300])
async def test_a_name_that_cannot_be_one_is_an_error_like_any_other(host: str) -> None:
    outbound = Outbound(AllowedHosts.of([host.rstrip(".")]))
    with pytest.raises(DeliveryError):
        await send(f"https://{host}:{free_port()}/", outbound)


@pytest.mark.asyncio
async def test_a_name_that_tls_refuses_is_an_error_like_any_other(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "DNS:hook.example")
    allowed = AllowedHosts.of([".hook.example"])
    outbound = Outbound(allowed, str(certificate), resolver=told("127.0.0.1"))
    with StubCollector(taking, server_context(certificate, key)) as stub:
        with pytest.raises(DeliveryError):
            await send(f"https://.hook.example:{stub.port}/", outbound)
        assert stub.asked == []


@pytest.mark.asyncio
async def test_an_endless_answer_is_not_read() -> None:
    endless = Answer(200, body=b"x" * 65_536, times=20_000)
    with StubCollector(lambda body, number: endless) as stub:
        await asyncio.wait_for(send(stub.url), 10)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "head", [b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000, b"SSH-2.0-x\r\n\r\n", b""]
)
async def test_what_is_no_answer_of_http_is_an_error(head: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", free_port())
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(DeliveryError):
        await asyncio.wait_for(send(f"http://127.0.0.1:{port}/"), 10)
    server.close()


@pytest.mark.asyncio
async def test_a_header_cannot_hold_a_line_break() -> None:
    with StubCollector(taking) as stub:
        with pytest.raises(DeliveryError, match="printable"):
            await send(stub.url, Authorization="Bearer x\r\nHost: evil")
        assert stub.asked == []


@pytest.mark.asyncio
async def test_nobody_listening_is_said_in_a_line() -> None:
    port = free_port()
    with pytest.raises(DeliveryError, match=f"^127.0.0.1:{port}: Connection refused$"):
        await send(f"http://127.0.0.1:{port}/")


async def proxy(asked: list[str]) -> tuple[asyncio.Server, int]:
    """Return a proxy that answers CONNECT and leads every one to the port that it names here."""

    async def copy(source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            to.write(data)
        to.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.decode())
        port = int(head.split()[1].rpartition(b":")[2])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)
        finally:
            back.transport.abort()
            writer.transport.abort()

    port = free_port()
    return await asyncio.start_server(serve, "127.0.0.1", port), port


@pytest.mark.asyncio
async def test_a_proxy_is_told_the_address_that_was_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    server, port = await proxy(asked)
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:pa%3Ass@localhost:{port}")
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.delenv("https_proxy", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    certificate, key = self_signed(tmp_path, "DNS:hook.example", "DNS:here.example")

    async def resolver(host: str, port: int) -> Sequence[str]:
        return {"hook.example": ["93.184.216.34"], "localhost": ["127.0.0.1"]}[host]

    with StubCollector(taking, server_context(certificate, key)) as stub:
        allowed = AllowedHosts.of(["here.example"])
        outbound = Outbound(allowed, str(certificate), proxies=True, resolver=resolver)
        await send(f"https://hook.example:{stub.port}/", outbound)
        # The name of an allowed host may be known to the proxy alone.
        await send(f"https://here.example:{stub.port}/", outbound)
        assert len(stub.asked) == 2
    assert asked[0].startswith(f"CONNECT 93.184.216.34:{stub.port} HTTP/1.1")
    assert "Proxy-Authorization: Basic dXNlcjpwYTpzcw==" in asked[0]
    assert asked[1].startswith(f"CONNECT here.example:{stub.port} HTTP/1.1")
    server.close()


@pytest.mark.asyncio
async def test_this_machine_is_never_reached_through_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    certificate, key = self_signed(tmp_path, "IP:127.0.0.1")
    with StubCollector(taking, server_context(certificate, key)) as stub:
        await send(stub.url, Outbound(HERE, str(certificate), proxies=True))
        assert len(stub.asked) == 1


@pytest.mark.asyncio
async def test_the_proxy_of_the_environment_is_used_only_when_the_operator_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with StubCollector(taking) as stub:
        await send(stub.url)
        assert len(stub.asked) == 1


@pytest.mark.parametrize(
    ("text", "entry"),
    [("Alertmanager.local.", ("alertmanager.local", 0)), ("10.0.0.5:9093", ("10.0.0.5", 9093)),
     ("[::1]:80", ("::1", 80)), ("::1", ("::1", 0))],
)  # fmt: skip
def test_allowed_hosts_are_names_or_addresses_with_or_without_port(
    text: str, entry: tuple[str, int]
) -> None:
    assert AllowedHosts.of([text]).entries == {entry}
    assert entry in AllowedHosts.of([text])


@pytest.mark.parametrize("text", ["", "http://x", "x:y", "x:99999", "*.example.com", "a b"])
def test_a_wrong_allowed_host_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="allow_hosts: expected host or host:port"):
        AllowedHosts.of([text])


@pytest.mark.parametrize(
    "url",
    ["", "x", "ftp://x/", "https://", "https://a:b@x/", "https://x/ y", "https://x/\r\nHost: y",
     "https://x:99999/", "https://ü.example/", "https://[::1", "https://x/" + "y" * 2000],
)  # fmt: skip
def test_what_is_no_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(SettingsError, match=r"^url: expected an address") as told:
        Target.of(url, "url")
    assert "a:b" not in str(told.value)


def test_a_file_of_certificates_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="outbound_ca_file: expected certificates"):
        Outbound(ca_file=str(tmp_path / "none.pem"))


def test_the_system_writes_addresses_in_more_ways_than_one() -> None:
    """What the guard is up against: getaddrinfo reads these as loopback."""
    for text in ("127.1", "2130706433", "0x7f000001"):
        assert socket.getaddrinfo(text, 80)[0][4][0] == "127.0.0.1"
