"""Mail, to a real SMTP server: what it says, how it is secured, what it cannot be made to do."""

import contextlib
import email
import re
import socket
import ssl
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from support.notices import AT_S, notice
from support.processes.certificates import self_signed, server_context
from support.processes.servers import free_port
from trimtab_collector.notify.addresses import AllowedHosts
from trimtab_collector.notify.channel import DeliveryError, Message
from trimtab_collector.notify.channels import parse_channel
from trimtab_collector.notify.notice import Where
from trimtab_collector.notify.options import Sending
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.smtp import SmtpChannel
from trimtab_collector.notify.texts import Texts
from trimtab_core.errors import SettingsError

#: headers that a mail of ours has
HEADERS = {
    "Subject", "From", "To", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted",
    "X-Auto-Response-Suppress", "X-Trimtab-Idempotency-Key", "Content-Type", "MIME-Version",
    "X-Peer", "X-MailFrom", "X-RcptTo",
}  # fmt: skip


@dataclass
class Mailbox:
    """What a mail server was handed; refuses recipients as `refusals` says."""

    mails: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    logins: list[tuple[str, str, bool]] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    answer: str = "250 OK"

    async def handle_RCPT(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refusals:
            return self.refusals[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        content = envelope.content
        assert isinstance(content, bytes)
        mail = email.message_from_bytes(content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self.mails.append(([*envelope.rcpt_tos], mail))
        return self.answer

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append((data.login.decode(), data.password.decode(), session.ssl is not None))
        return AuthResult(success=data.password == b"pa55", handled=False)


@contextlib.contextmanager
def mail_server(box: Mailbox, **settings: Any) -> Iterator[int]:
    """Yield the port of a server in a thread of its own."""
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), **settings)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


async def send(port: int, *messages: Message, ca: Path | None = None, **table: Any) -> list[str]:
    whole = {
        "kind": "smtp", "host": "localhost", "port": port, "security": "none",
        "sender": "trimtab@example.com", "to": ["ops@example.com"], **table,
    }  # fmt: skip
    entry = parse_channel("ops", whole)
    outbound = Outbound(AllowedHosts.of(["localhost"]), str(ca) if ca else "")
    channel = SmtpChannel(entry.settings, Sending(outbound, "https://trimtab.example.com"))  # type: ignore[arg-type]
    return [await channel.send(each) for each in messages or (of(),)]


def of(kind: Any = "firing", number: int = 1, **more: Any) -> Message:
    each = notice(kind, number, **more)
    return Message(f"{each.key}:ops", (each,), AT_S)


@pytest.mark.asyncio
async def test_a_mail_has_a_plain_and_an_html_part_and_says_who_sent_it() -> None:
    box = Mailbox()
    with mail_server(box) as port:
        assert await send(port) == [""]
    ((to, mail),) = box.mails
    assert to == ["ops@example.com"]
    assert mail["Subject"] == (
        "[critical] checkout /cart/{id}: response time p95 5.23 s over 5 s (since 14:03)"
    )
    assert mail["From"] == "trimtab <trimtab@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Trimtab-Idempotency-Key"] == "incident:1:ops"
    assert mail["Date"].datetime.timestamp() == AT_S
    plain, html = mail.iter_parts()
    assert plain.get_content_type() == "text/plain"
    assert "5.23 s over 5 s, since 14:03 UTC." in plain.get_content()
    assert html.get_content_type() == "text/html"
    # A reader's mail program is asked to fetch nothing.
    assert "src=" not in html.get_content()
    assert "http://" not in html.get_content()


@pytest.mark.asyncio
async def test_mails_of_an_alert_are_one_thread_and_a_repeat_has_the_same_id() -> None:
    box = Mailbox()
    with mail_server(box) as port:
        messages = (of("firing", 1), of("firing", 1), of("resolved", 2))
        await send(port, *messages, of("firing", 1, thread="other"))
    first, again, resolved, other = (mail for _, mail in box.mails)
    assert first["Message-ID"] == again["Message-ID"] != resolved["Message-ID"]
    assert first["References"] == resolved["References"] != other["References"]
    assert first["References"].endswith("@example.com>")


@pytest.mark.asyncio
async def test_no_name_adds_a_header_a_recipient_or_markup() -> None:
    bad = "x\r\nBcc: evil@example.com\r\n\r\n<script>alert(1)</script>"
    box = Mailbox()
    hostile = replace(notice(), rule_name=bad, metric=bad, where=Where(bad, bad, bad, bad, bad))
    with mail_server(box) as port:
        await send(port, Message("k\r\nBcc: e@example.com", (hostile,), AT_S))
    ((to, mail),) = box.mails
    assert to == ["ops@example.com"]
    assert mail["Bcc"] is None
    _, html = mail.iter_parts()
    assert "<script>" not in html.get_content()
    assert "&lt;script&gt;" in html.get_content()


#: what a decoder of encoded words (RFC 2047) makes of a name that is printable ASCII
ENCODED = {
    "headers": "=?utf-8?q?x=0D=0AReply-To:_e@evil.example=0D=0A=0D=0ALog_in:_https://evil?=",
    "base64": "=?utf-8?b?eA0KUmVwbHktVG86IGVAZXZpbC5leGFtcGxl?=",
    "direction": "=?utf-8?q?=E2=80=AEgnp.exe?=",
    "nul": "=?utf-8?q?a=00b?=",
    "utf-7": "=?utf-7?q?+AA0ACg-Reply-To:_e@evil.example?=",
    "in two": "=?utf-8?q?a?= =?utf-8?q?=0D=0AReply-To:_e@evil.example?=",
    "in itself": "=?utf-8?q?=3D=3Futf-8=3Fq=3Fa=0D=0AReply-To:_e=3F=3D?=",
    "unended": "=?utf-8?q?=0D=0AReply-To:",
    "in another script": "문=?utf-8?q?=0D=0AReply-To:_e@evil.example?=",
}


@pytest.mark.asyncio
@pytest.mark.parametrize("name", ENCODED.values(), ids=ENCODED)
async def test_an_encoded_word_in_a_name_stays_what_it_is(name: str) -> None:
    box = Mailbox()
    plain = replace(notice(), key=name, thread=name, where=Where("p", "s", "r", name, "v"))
    hostile = replace(plain, rule_name=name, metric=name, where=Where(name, name, name, name, name))
    with mail_server(box) as port:
        await send(port, Message(name, (hostile,), AT_S), Message("k", (plain,), AT_S))
        await send(port, Message(f"digest:{name}", (hostile, plain), AT_S))
    first, usual, digest = (mail for _, mail in box.mails)
    for mail in (first, usual, digest):
        assert set(mail.keys()) <= HEADERS
        assert not any(
            unicodedata.category(each)[0] == "C" for text in mail.values() for each in str(text)
        )
        # The first line of the body is ours.
        assert not next(iter(mail.iter_parts())).get_content().startswith("Log in")
    assert "= ?utf-" in str(first["Subject"])


def test_a_mail_whose_headers_are_not_those_that_were_set_never_leaves() -> None:
    from trimtab_collector.notify import smtp

    for text in (ENCODED["headers"], ENCODED["direction"]):
        mail = EmailMessage(policy=policy.SMTP)
        mail["Subject"] = text
        mail.set_content("x")
        with pytest.raises(DeliveryError, match="headers of one line of text") as told:
            smtp._sound(mail)
        assert told.value.lasting


@pytest.mark.asyncio
async def test_no_name_becomes_a_link() -> None:
    box = Mailbox()
    names = Where(
        "https://evil.example/a", "HTTP://evil.example", "www.evil.example/x", "ftp://e.x"
    )
    with mail_server(box) as port:
        await send(port, of(where=names, rule_name="see https://evil.example"))
    ((_, mail),) = box.mails
    parts = [part.get_content() for part in mail.iter_parts()]
    for text in (str(mail["Subject"]), *parts):
        assert not re.search(r"(https?|ftp)://(evil|e\.x)|www\.", text, re.IGNORECASE), text
    assert "HTTP[:]//evil[.]example www[.]evil[.]example/x" in mail["Subject"]


@pytest.mark.asyncio
async def test_a_mail_leads_to_the_pages_of_its_alert_in_both_parts() -> None:
    path = "/performance/dashboard/service?service=a%26b&from=1"
    box = Mailbox()
    with mail_server(box) as port:
        await send(port, of(links=(("service", path),)))
    ((_, mail),) = box.mails
    plain, rich = (part.get_content() for part in mail.iter_parts())
    assert f"  - The service around that time: https://trimtab.example.com{path}" in plain
    assert f'<a href="https://trimtab.example.com{path.replace("&from", "&amp;from")}"' in rich


@pytest.mark.asyncio
async def test_korean_arrives_as_it_was_written() -> None:
    box = Mailbox()
    # Each is folded at another place: no space is lost or won there.
    messages = [of(where=Where("live", "shop", f"/{'a' * width}/é b")) for width in range(40)]
    with mail_server(box) as port:
        await send(port, *messages, lang="ko", tz="Asia/Seoul")
    texts = Texts("ko", ZoneInfo("Asia/Seoul"), "https://trimtab.example.com")
    titles = [texts.write(each).title for each in messages]
    assert [str(mail["Subject"]) for _, mail in box.mails] == titles
    _, mail = box.mails[0]
    assert mail["Subject"].startswith("[심각] shop")
    assert "확인할 것" in next(iter(mail.iter_parts())).get_content()


@pytest.mark.asyncio
async def test_starttls_comes_before_the_login(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "DNS:localhost")
    box = Mailbox()
    settings = {
        "tls_context": server_context(certificate, key), "require_starttls": True,
        "authenticator": box.authenticate, "auth_required": True,
    }  # fmt: skip
    login: dict[str, Any] = {"security": "starttls", "username": "u", "password": "pa55"}
    with mail_server(box, **settings) as port:
        await send(port, ca=certificate, **login)
        with pytest.raises(DeliveryError, match="refused the login: 535"):
            await send(port, ca=certificate, **{**login, "password": "wrong"})
        with pytest.raises(DeliveryError, match="not trusted"):
            await send(port, **login)
    assert box.logins[0] == ("u", "pa55", True)
    assert len(box.mails) == 1


@pytest.mark.asyncio
async def test_a_server_without_starttls_gets_nothing() -> None:
    box = Mailbox()
    with (
        mail_server(box) as port,
        pytest.raises(
            DeliveryError,
            match=r"STARTTLS.*: set security=tls with the port for it, or security=none",
        ),
    ):
        await send(port, security="starttls", username="u", password="pa55")
    assert box.logins == []
    assert box.mails == []


@pytest.mark.asyncio
async def test_tls_from_the_start_is_verified_too(tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path, "DNS:localhost")
    box = Mailbox()
    with mail_server(box, ssl_context=server_context(certificate, key)) as port:
        await send(port, ca=certificate, security="tls")
        with pytest.raises(DeliveryError, match="not trusted"):
            await send(port, security="tls")
    assert len(box.mails) == 1


@pytest.mark.asyncio
async def test_tls_where_the_server_begins_without_it_says_what_to_set() -> None:
    with mail_server(Mailbox()) as port, pytest.raises(DeliveryError) as told:
        await send(port, security="tls")
    assert "it speaks no TLS on this port: set security=starttls" in str(told.value)


@pytest.mark.asyncio
async def test_refused_recipients_are_named_and_the_others_have_it() -> None:
    box = Mailbox(refusals={"gone@example.com": "550 no such user"})
    with mail_server(box) as port:
        remarks = await send(port, to=["ops@example.com", "gone@example.com"])
        assert remarks == ["refused: gone@example.com"]
        with pytest.raises(DeliveryError, match="refused every recipient: 550 no such") as told:
            await send(port, to=["gone@example.com"])
        assert told.value.lasting
        box.refusals["gone@example.com"] = "450 later"
        with pytest.raises(DeliveryError) as told:
            await send(port, to=["gone@example.com"])
        assert not told.value.lasting
    assert [to for to, _ in box.mails] == [["ops@example.com"]]


@pytest.mark.asyncio
@pytest.mark.parametrize(("answer", "lasting"), [("451 busy", False), ("554 spam", True)])
async def test_a_refused_mail_says_what_the_server_said(answer: str, lasting: bool) -> None:
    box = Mailbox(answer=answer)
    with mail_server(box) as port, pytest.raises(DeliveryError, match=answer) as told:
        await send(port)
    assert told.value.lasting is lasting


@pytest.mark.asyncio
async def test_addresses_of_the_rule_take_the_place_of_those_of_the_channel() -> None:
    box = Mailbox()
    with mail_server(box) as port:
        await send(port, replace(of(), addresses=("ada@example.com",)))
        with pytest.raises(DeliveryError, match="expected recipients"):
            await send(port, to=[])
    assert [to for to, _ in box.mails] == [["ada@example.com"]]


@pytest.mark.asyncio
async def test_a_private_mail_server_is_reached_only_when_it_is_allowed() -> None:
    box = Mailbox()
    with mail_server(box) as port, pytest.raises(DeliveryError, match=r"ALLOW_HOSTS=127\.0\.0\.1"):
        await send(port, host="127.0.0.1")
    assert box.mails == []


@pytest.mark.asyncio
async def test_a_name_that_tls_refuses_is_an_error_like_any_other() -> None:
    async def resolver(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    # It is only connected to: TLS refuses the name before a word is said.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        table = {
            "kind": "smtp", "host": ".x.org", "port": port, "security": "tls",
            "sender": "t@x.org", "to": "ops@x.org",
        }  # fmt: skip
        outbound = Outbound(AllowedHosts.of([".x.org"]), resolver=resolver)
        entry = parse_channel("ops", table)
        with pytest.raises(DeliveryError):
            await SmtpChannel(entry.settings, Sending(outbound)).send(of())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"host": "a b"}, "host: expected the name of a mail server, got 'a b'"),
        ({"sender": "x\r\nBcc: y@z"}, "sender: expected an address"),
        ({"to": ["=?utf-8?q?a=2Cevil?=@x.org"]}, "to: expected up to 50 mail addresses"),
        ({"to": ["ops@example.com, evil@x"]}, "to: expected up to 50 mail addresses"),
        ({"security": "none", "username": "u"}, "username: expected security starttls or tls"),
        ({"security": "ssl"}, "security: expected one of"),
        ({"port": 99999}, "port: expected 0 to 65535"),
        ({"hots": "x"}, "hots is unknown; did you mean host?"),
        ({"tz": "Mars/Base"}, "tz: expected a time zone such as Europe/Berlin, got 'Mars/Base'"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(table: dict[str, Any], text: str) -> None:
    whole = {"kind": "smtp", "host": "m.example.com", "sender": "t@example.com", **table}
    with pytest.raises(SettingsError, match=r"^channel 'ops': ") as told:
        parse_channel("ops", whole)
    assert text in str(told.value)


def test_ssl_of_the_standard_library_is_what_the_guard_uses() -> None:
    assert Outbound().tls.verify_mode is ssl.CERT_REQUIRED
    assert Outbound().tls.check_hostname
