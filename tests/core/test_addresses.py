"""Hosts, ports, URLs and proxies as people write them."""

import pytest

from trimtab_core.addresses import host_and_port, is_loopback, joined, network_of, web_address
from trimtab_core.config import parse_address
from trimtab_core.errors import SettingsError
from trimtab_core.proxies import proxy_for


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("127.0.0.1:8621", ("127.0.0.1", 8621)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:8621", ("::1", 8621)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("::1:8621", None),
        ("::1", None),
        ("[::1]", None),
        ("[::1:8621", None),
        ("[host]:1", None),
        (":8621", None),
        ("host:", None),
        ("host:65536", None),
        ("host:" + "1" * 5000, None),
        ("host:٣", None),
        ("host", None),
    ],
)
def test_a_host_and_its_port(text: str, found: tuple[str, int] | None) -> None:
    assert host_and_port(text) == found
    if found:
        assert joined(*found) == text


@pytest.mark.parametrize(
    ("host", "is_this_machine"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("LOCALHOST", True),
        ("localhost.example", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host: str, is_this_machine: bool) -> None:
    assert is_loopback(host) is is_this_machine


@pytest.mark.parametrize("text", ["tcp://[::1]:8622", "tcp://127.0.0.1:8622", "tcp://host:1"])
def test_an_address_for_apps_is_shown_as_it_is_written(text: str) -> None:
    assert str(parse_address(text)) == text


@pytest.mark.parametrize("text", ["tcp://::1:8622", "tcp://[::1]", "tcp://[host]:1", "tcp://[]:1"])
def test_an_ipv6_address_for_apps_needs_its_brackets(text: str) -> None:
    with pytest.raises(SettingsError, match="with an IPv6 host in brackets"):
        parse_address(text)


@pytest.mark.parametrize(
    ("url", "shown", "prefix"),
    [
        ("https://monitor.example", "https://monitor.example", ""),
        ("https://monitor.example:443/", "https://monitor.example", ""),
        ("https://monitor.example:8443/a/b/", "https://monitor.example:8443/a/b", "/a/b"),
        ("http://[::1]:8620", "http://[::1]:8620", ""),
        ("HTTPS://Monitor.Example/T", "https://monitor.example/T", "/T"),
    ],
)
def test_a_url_is_taken_apart_and_shown_again(url: str, shown: str, prefix: str) -> None:
    found = web_address(url, "base_url")
    assert (str(found), found.prefix) == (shown, prefix)


@pytest.mark.parametrize(
    "url",
    ["", "monitor.example", "//monitor.example", "https://", "https://a:b", "https://a:0", "ws://a",
     "https://a/b?c", "https://a/#b", "https://a/b c", "https://a//b", "https://a/%2e", "https://[a"],
)  # fmt: skip
def test_a_url_that_is_none_is_refused_by_the_name_of_its_setting(url: str) -> None:
    with pytest.raises(SettingsError, match="base_url: expected"):
        web_address(url, "base_url")


PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "choice", "environ", "found"),
    [
        ("https://c.example", "environment", {}, ""),
        ("https://c.example", "environment", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://c.example", "environment", {"https_proxy": "proxy.example:3128"}, PROXY),
        ("https://c.example", "environment", {"ALL_PROXY": PROXY}, PROXY),
        ("https://c.example", "environment", {"HTTPS_PROXY": ""}, ""),
        ("https://c.example", "none", {"HTTPS_PROXY": PROXY}, ""),
        ("https://c.example", PROXY, {"HTTPS_PROXY": "http://other:1", "NO_PROXY": "*"}, PROXY),
        # Only https, and never this machine.
        ("http://c.example", "environment", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, ""),
        ("https://127.0.0.1:8620", "environment", {"HTTPS_PROXY": PROXY}, ""),
        ("https://[::1]:8620", PROXY, {}, ""),
        ("http://localhost:8620", PROXY, {}, ""),
    ],
)
def test_which_proxy_is_taken(url: str, choice: str, environ: dict[str, str], found: str) -> None:
    assert proxy_for(web_address(url, "url"), choice, environ) == found


@pytest.mark.parametrize(
    ("exceptions", "excepted"),
    [
        ("*", True),
        ("c.example", True),
        ("C.Example", True),
        ("example", True),
        (".example", True),
        ("*.example", True),
        ("a.example, c.example", True),
        ("c.example:443", True),
        ("c.example:8443", False),
        ("xc.example", False),
        ("ample", False),
        ("", False),
        (",,", False),
    ],
)
def test_what_no_proxy_names_is_asked_directly(exceptions: str, excepted: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "NO_PROXY": exceptions}
    found = proxy_for(web_address("https://c.example", "url"), "environment", environ)
    assert found == ("" if excepted else PROXY)


@pytest.mark.parametrize(
    ("exceptions", "excepted"),
    [("10.0.0.0/8", True), ("10.1.2.3", True), ("10.1.2.4", False), ("11.0.0.0/8", False)],
)
def test_no_proxy_may_name_networks(exceptions: str, excepted: bool) -> None:
    environ = {"HTTPS_PROXY": PROXY, "no_proxy": exceptions}
    found = proxy_for(web_address("https://10.1.2.3", "url"), "environment", environ)
    assert found == ("" if excepted else PROXY)


@pytest.mark.parametrize(
    "choice", ["socks5://pw@proxy:1", "http://pw@", "pw:x", "http://a:pw", "pw", "http://u:pw@:1"]
)
def test_a_proxy_that_is_none_is_refused_without_showing_it(choice: str) -> None:
    with pytest.raises(SettingsError, match="collector_proxy: expected a proxy") as caught:
        proxy_for(web_address("https://c.example", "url"), choice, {})
    assert "pw" not in str(caught.value)


def test_a_proxy_for_plain_http_is_refused_since_it_would_see_the_key() -> None:
    with pytest.raises(SettingsError, match="with http the proxy would see the key"):
        proxy_for(web_address("http://c.example", "url"), PROXY, {})


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::"),
        ("2001:db8::2:3", "2001:db8::"),
        ("2001:db8:0:1::1", "2001:db8:0:1::"),
        ("fe80::1%eth0", "fe80::"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_what_stands_for_one_client(address: str, network: str) -> None:
    assert network_of(address) == network
