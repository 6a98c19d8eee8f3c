"""One request of a console command: what is trusted, what a redirect gets, what goes wrong."""

import ssl
from pathlib import Path

import pytest

from support.processes.authority import Authority, serving
from support.processes.stub_collector import Answer, StubCollector
from trimtab_core.asking import HttpClient
from trimtab_core.errors import SettingsError

TOKEN = {"authorization": "Bearer secret"}


def stub(status: int = 200, tls: ssl.SSLContext | None = None, **headers: str) -> StubCollector:
    return StubCollector(lambda *_: Answer(status, headers, b"hello"), tls)


@pytest.fixture
def authority(tmp: Path) -> Authority:
    return Authority(tmp)


def test_an_answer_has_status_body_and_headers_whatever_its_status() -> None:
    for status in (200, 404, 503):
        with stub(status, some="thing") as running:
            answer = HttpClient(f"{running.url}/prefix", {}).ask("/path?a=b", headers=TOKEN)
        assert (answer.status, answer.text, answer.trouble) == (status, "hello", "")
        assert answer.headers["some"] == "thing"
        (asked,) = running.asked
        assert (asked.method, asked.path) == ("GET", "/prefix/path?a=b")
        assert asked.headers["authorization"] == "Bearer secret"


def test_a_body_is_sent_with_another_method() -> None:
    with stub() as running:
        HttpClient(running.url, {}).ask("/marks", method="POST", body=b"{}", headers=TOKEN)
    assert (running.asked[0].method, running.asked[0].body) == ("POST", b"{}")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_is_explained(status: int) -> None:
    with stub() as target, stub(status, Location=target.url) as running:
        client = HttpClient(running.url, {}, variable="TRIMTAB_URL")
        answer = client.ask("/", headers=TOKEN)
    assert answer.status == status
    assert f"redirects to '{target.url}', where nothing was sent" in answer.trouble
    assert "set TRIMTAB_URL to it" in answer.trouble
    assert target.asked == []


def test_servers_are_trusted_as_the_file_says_and_refusals_are_explained(
    authority: Authority, tmp: Path
) -> None:
    pair = authority.issue("localhost")
    with stub(tls=serving(pair)) as running:
        url, ca_file = running.url.replace("127.0.0.1", "localhost"), str(authority.ca_file)
        assert HttpClient(url, {}, ca_file=ca_file).ask("/").status == 200
        version, until_s = HttpClient(url, {}, ca_file=ca_file).certificate()
        assert (version, until_s) == ("TLSv1.3", pair.until.timestamp())
        answer = HttpClient(url, {}).ask("/", headers=TOKEN)
        assert (answer.status, answer.body) == (0, b"")
        assert "nobody trusted here has signed the certificate of localhost" in answer.trouble
        answer = HttpClient(running.url, {}, ca_file=ca_file).ask("/", headers=TOKEN)
        assert "is for another name" in answer.trouble
    assert len(running.asked) == 1


def test_a_refusal_of_a_certificate_names_what_the_caller_sets(authority: Authority) -> None:
    with stub(tls=serving(authority.issue("localhost"))) as running:
        url = running.url.replace("127.0.0.1", "localhost")
        answer = HttpClient(url, {}, ca_variable="--ca-file").ask("/")
    assert "name it or its authority in --ca-file" in answer.trouble


def test_a_server_that_is_not_there_is_a_sentence() -> None:
    with stub() as running:
        url = running.url
    answer = HttpClient(url, {}).ask("/")
    assert answer.status == 0
    assert "refused" in answer.trouble


def test_no_proxy_is_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with stub() as running:
        client = HttpClient(running.url, {"HTTP_PROXY": "http://127.0.0.1:9"})
        assert client.ask("/").status == 200
        assert not client.through_proxy


def test_what_cannot_be_asked_is_refused_when_the_client_is_made(tmp: Path) -> None:
    for url, ca_file in (("localhost", ""), ("https://localhost", str(tmp / "nothing.pem"))):
        with pytest.raises(SettingsError):
            HttpClient(url, {}, ca_file=ca_file)
