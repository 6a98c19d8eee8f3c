"""Who a request is from, its scheme, host and path: behind trusted proxies, others, and none."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_collector.front import Front, Hop, Proxies, elements
from trimtab_collector.settings import CollectorSettings
from trimtab_core.errors import SettingsError

SETTINGS = CollectorSettings(trusted_proxies=("10.0.0.0/8", "192.0.2.7", "fd00::/8"))


class Seen:
    """An application that notes the scope it is given and answers nothing of interest."""

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scope = dict(scope)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b")]})


def passed(
    settings: CollectorSettings,
    *,
    peer: str = "10.0.0.1",
    path: str = "/api/performance/health",
    scheme: str = "http",
    kind: str = "http",
    headers: Mapping[str, str] | list[tuple[str, str]] = {},  # noqa: B006 - is not changed
) -> tuple[dict[str, Any], list[tuple[bytes, bytes]]]:
    """Return what comes out behind the front, and the headers of the answer."""
    seen = Seen()
    answered: list[tuple[bytes, bytes]] = []

    async def send(message: Any) -> None:
        answered.extend(message.get("headers", ()))

    pairs = headers if isinstance(headers, list) else list(headers.items())
    scope = {
        "type": kind,
        "client": (peer, 4711) if peer else None,
        "scheme": scheme,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "headers": [
            (b"host", b"inside:8620"),
            *((name.lower().encode(), value.encode("latin-1")) for name, value in pairs),
            (b"accept", b"*/*"),
        ],
    }
    asyncio.run(Front(seen, settings)(scope, None, send))
    return seen.scope, answered


XFF, XFP, XFH = "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"


@pytest.mark.parametrize(
    ("peer", "header", "client"),
    [
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),  # nobody trusts this peer
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("192.0.2.7", "198.51.100.1", "198.51.100.1"),
        ("192.0.2.8", "198.51.100.1", "192.0.2.8"),
        ("fd00::1", "2001:db8::5", "2001:db8::5"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1:5555", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::5]:5555", "2001:db8::5"),
        ("10.0.0.1", "::ffff:198.51.100.1", "198.51.100.1"),
        # What the client made up stands before what the first trusted proxy saw.
        ("10.0.0.1", "127.0.0.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "10.9.9.9, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "198.51.100.1, 10.0.0.2, 10.0.0.3", "198.51.100.1"),
        ("10.0.0.1", "10.0.0.9, 10.0.0.2", "10.0.0.9"),
        # Who cannot be told is the last one that can.
        ("10.0.0.1", "198.51.100.1, unknown", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.1, evil', 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", ", ,", "10.0.0.1"),
        ("10.0.0.1", "localhost", "10.0.0.1"),
        ("10.0.0.1", "999.1.1.1", "10.0.0.1"),
    ],
)
def test_the_client_is_the_last_hop_that_no_trusted_proxy_is(
    peer: str, header: str, client: str
) -> None:
    scope, _ = passed(SETTINGS, peer=peer, headers={XFF: header})
    assert scope["client"][0] == client


def test_the_lines_of_a_repeated_header_are_one_list() -> None:
    headers = [(XFF, "198.51.100.1"), (XFF, "198.51.100.2")]
    scope, _ = passed(SETTINGS, headers=headers)
    assert scope["client"][0] == "198.51.100.2"


@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.1"])
def test_no_header_of_proxies_gets_further_in(peer: str) -> None:
    names = [XFF, XFP, XFH, "X-Forwarded-Prefix", "X-Real-IP", "Forwarded"]
    scope, _ = passed(SETTINGS, peer=peer, headers=dict.fromkeys(names, "https"))
    assert [name for name, _ in scope["headers"]] == [b"host", b"accept"]


def test_without_trusted_proxies_nothing_is_believed() -> None:
    scope, _ = passed(
        CollectorSettings(),
        peer="127.0.0.1",
        headers={
            XFF: "198.51.100.1",
            XFP: "https",
            XFH: "evil.example",
            "Forwarded": "for=1.1.1.1",
        },
    )
    assert scope["client"] == ("127.0.0.1", 4711)
    assert scope["scheme"] == "http"
    assert dict(scope["headers"])[b"host"] == b"inside:8620"


def test_a_peer_of_ipv4_on_an_ipv6_socket_has_its_plain_address() -> None:
    scope, _ = passed(CollectorSettings(), peer="::ffff:203.0.113.9")
    assert scope["client"] == ("203.0.113.9", 4711)


@pytest.mark.parametrize(
    ("given", "scheme"),
    [("https", "https"), ("HTTPS", "https"), ("http", "http"), ("gopher", "http"), ("", "http")],
)
def test_the_scheme_is_what_a_trusted_proxy_says(given: str, scheme: str) -> None:
    headers = {XFF: "198.51.100.1", XFP: given}
    assert passed(SETTINGS, headers=headers)[0]["scheme"] == scheme
    assert passed(SETTINGS, peer="1.1.1.1", headers=headers)[0]["scheme"] == "http"


def test_the_scheme_of_a_websocket_is_of_its_own_kind() -> None:
    headers = {XFF: "198.51.100.1", XFP: "https"}
    assert passed(SETTINGS, kind="websocket", scheme="ws", headers=headers)[0]["scheme"] == "wss"


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("monitor.example", "monitor.example"),
        ("monitor.example:8443", "monitor.example:8443"),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ("evil.example/path", "inside:8620"),
        ("evil example", "inside:8620"),
        ("a\r\nset-cookie: x", "inside:8620"),
        ("", "inside:8620"),
    ],
)
def test_the_host_is_what_a_trusted_proxy_says_if_it_is_one(host: str, found: str) -> None:
    scope, _ = passed(SETTINGS, headers={XFF: "198.51.100.1", XFH: host})
    assert dict(scope["headers"])[b"host"] == found.encode()


def test_scheme_and_host_are_those_that_the_proxy_next_to_the_client_saw() -> None:
    headers = {XFF: "198.51.100.1, 10.0.0.2", XFP: "https, http", XFH: "out.example, in.example"}
    scope, _ = passed(SETTINGS, headers=headers)
    assert scope["scheme"] == "https"
    assert dict(scope["headers"])[b"host"] == b"out.example"


def test_what_the_client_made_up_of_scheme_and_host_is_not_believed() -> None:
    # One trusted proxy, which adds to each list; the client sent the first element of each.
    headers = {XFF: "9.9.9.9, 198.51.100.1", XFP: "https, http", XFH: "evil.example, real.example"}
    scope, _ = passed(SETTINGS, headers=headers)
    assert scope["scheme"] == "http"
    assert dict(scope["headers"])[b"host"] == b"real.example"


# ---------------------------------------------------------------- Forwarded (RFC 7239)

STANDARD = replace(SETTINGS, forwarded_header="forwarded")


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("for=198.51.100.1", "198.51.100.1"),
        ('For="198.51.100.1:4711"; Proto=https', "198.51.100.1"),
        ('for="[2001:db8:cafe::17]:4711"', "2001:db8:cafe::17"),
        ("for=9.9.9.9, for=198.51.100.1", "198.51.100.1"),
        ('for=9.9.9.9,for="198.51.100.1";by=10.0.0.1,for=10.0.0.2', "198.51.100.1"),
        ("for=198.51.100.1, for=_hidden", "10.0.0.1"),
        ("for=198.51.100.1, for=unknown", "10.0.0.1"),
        ("for=198.51.100.1, proto=https", "10.0.0.1"),
        # A mistake hides what is further out, never what a trusted proxy has added.
        ('for="9.9.9.9, for=198.51.100.1', "198.51.100.1"),
        ('for="a,b";x="\\"", for=198.51.100.1', "198.51.100.1"),
        ("for=198.51.100.1,,", "10.0.0.1"),
        ("=;,", "10.0.0.1"),
    ],
)
def test_the_standard_header_is_read_from_its_end(header: str, client: str) -> None:
    scope, _ = passed(STANDARD, headers={"Forwarded": header})
    assert scope["client"][0] == client


def test_the_standard_header_says_scheme_and_host() -> None:
    header = 'for=198.51.100.1;proto=https;host="monitor.example:443";by="_x"'
    scope, _ = passed(STANDARD, headers={"Forwarded": header})
    assert scope["scheme"] == "https"
    assert dict(scope["headers"])[b"host"] == b"monitor.example:443"


def test_only_the_family_that_the_settings_name_is_believed() -> None:
    both = {XFF: "198.51.100.1", "Forwarded": "for=198.51.100.2"}
    assert passed(SETTINGS, headers=both)[0]["client"][0] == "198.51.100.1"
    assert passed(STANDARD, headers=both)[0]["client"][0] == "198.51.100.2"
    assert passed(STANDARD, headers={XFF: "198.51.100.1"})[0]["client"][0] == "10.0.0.1"
    forged = {"Forwarded": "for=198.51.100.2"}
    assert passed(SETTINGS, headers=forged)[0]["client"][0] == "10.0.0.1"


@given(st.text(st.characters(codec="latin-1"), max_size=200))
def test_whatever_stands_before_the_element_of_a_proxy_does_not_hide_it(text: str) -> None:
    (last, *_) = elements(f"{text},for=198.51.100.1;proto=https")
    assert last == {"for": "198.51.100.1", "proto": "https"}


@given(st.lists(st.text(st.characters(codec="latin-1"), max_size=60), max_size=4))
def test_no_header_breaks_a_request_or_makes_a_proxy_of_its_sender(texts: list[str]) -> None:
    names = (b"x-forwarded-for", b"forwarded", b"x-forwarded-proto", b"x-forwarded-host")
    headers = [(name, text.encode("latin-1")) for name, text in zip(names, texts, strict=False)]
    for header in ("x-forwarded", "forwarded"):
        assert Proxies(("10.0.0.0/8",), header).origin("1.1.1.1", headers) == Hop("1.1.1.1")
        Proxies(("10.0.0.0/8",), header).origin("10.0.0.1", headers)


def test_a_long_list_costs_a_bounded_number_of_hops() -> None:
    scope, _ = passed(SETTINGS, headers={XFF: "198.51.100.1, " + "10.0.0.2, " * 5000 + "10.0.0.3"})
    assert scope["client"][0] == "10.0.0.2"


@pytest.mark.parametrize("text", ["10.0.0.0/33", "proxy.example", "", "*"])
def test_a_proxy_that_is_no_address_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match="trusted_proxies: expected addresses and networks"):
        Proxies((text,))


def test_other_proxies_can_be_trusted_while_it_runs() -> None:
    seen = Seen()
    front = Front(seen, CollectorSettings())
    with pytest.raises(SettingsError):
        front.use(replace(SETTINGS, trusted_proxies=("nonsense",)))
    front.use(SETTINGS)

    async def send(_message: Any) -> None: ...

    headers = [(b"x-forwarded-for", b"198.51.100.1")]
    scope = {"type": "http", "client": ("10.0.0.1", 1), "scheme": "http", "path": "/"}
    asyncio.run(front({**scope, "headers": headers}, None, send))
    assert seen.scope["client"] == ("198.51.100.1", 0)


# ---------------------------------------------------------------- prefix

BELOW = CollectorSettings(base_url="https://monitor.example/trimtab/")


@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("/trimtab/api/performance/health", "/api/performance/health"),
        ("/api/performance/health", "/api/performance/health"),
        ("/trimtab/agent/v1/batches", "/agent/v1/batches"),
        ("/trimtab", "/"),
        ("/trimtab/", "/"),
        ("/trimtabs/api", "/trimtabs/api"),
        ("/", "/"),
    ],
)
def test_a_prefix_may_be_kept_or_taken_off_by_the_proxy(kind: str, path: str, inside: str) -> None:
    scope, _ = passed(BELOW, kind=kind, path=path, scheme="ws" if kind == "websocket" else "http")
    assert (scope["path"], scope["raw_path"]) == (inside, inside.encode())
    assert scope["root_path"] == "/trimtab"


def test_without_a_prefix_paths_stay_as_they_are() -> None:
    plain = CollectorSettings(base_url="https://monitor.example")
    scope, _ = passed(plain, path="/trimtab/api")
    assert (scope["path"], scope["root_path"]) == ("/trimtab/api", "")


# ---------------------------------------------------------------- HSTS

HSTS = (b"strict-transport-security", b"max-age=2592000")


def test_browsers_are_told_to_insist_on_https_over_https_only() -> None:
    assert HSTS in passed(CollectorSettings(), scheme="https")[1]
    assert HSTS not in passed(CollectorSettings(), scheme="http")[1]
    assert HSTS in passed(SETTINGS, headers={XFF: "198.51.100.1", XFP: "https"})[1]
    assert HSTS not in passed(SETTINGS, peer="1.1.1.1", headers={XFF: "1.1.1.2", XFP: "https"})[1]


@pytest.mark.parametrize("host", ["localhost:8620", "127.0.0.1", "[::1]:8620"])
def test_browsers_are_not_told_so_for_this_machine_whose_other_ports_it_would_lock(
    host: str,
) -> None:
    headers = {XFF: "198.51.100.1", XFP: "https", XFH: host}
    assert HSTS not in passed(SETTINGS, headers=headers)[1]


def test_agents_are_not_told_and_the_setting_turns_it_off() -> None:
    assert HSTS not in passed(CollectorSettings(), scheme="https", path="/agent/v1/batches")[1]
    assert HSTS not in passed(CollectorSettings(hsts_days=0), scheme="https")[1]
