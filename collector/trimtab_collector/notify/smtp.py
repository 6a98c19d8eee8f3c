"""Mail by SMTP: a plain and an HTML part, threads by References, STARTTLS unless told otherwise."""

import asyncio
import contextlib
import hashlib
import html
import re
import socket
import ssl
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage
from email.parser import BytesHeaderParser
from email.policy import EmailPolicy
from email.utils import format_datetime
from typing import Any, Final

import aiosmtplib

from trimtab_collector.notify.channel import DeliveryError, Message, writing
from trimtab_collector.notify.notice import is_address
from trimtab_collector.notify.options import ChannelSettings, Sending
from trimtab_collector.notify.outbound import Outbound, is_loopback, reason
from trimtab_collector.notify.texts import WrittenMessage, clean
from trimtab_core.config import setting
from trimtab_core.errors import SettingsError

__all__ = ["MAX_ADDRESSES", "SmtpChannel", "SmtpSettings"]

MAX_ADDRESSES: Final = 50
#: for one command; the sender bounds them all
_COMMAND_S: Final = 10.0
_GOODBYE_S: Final = 1.0
_PORTS: Final = {"starttls": 587, "tls": 465, "none": 25}
#: longest line of a header that people read (RFC 5322, section 2.1.1)
_LINE: Final = 76
#: one header as it leaves, its continuation lines joined (RFC 5322, section 2.2)
_HEADER: Final = re.compile(rb"([!-9;-~]+): [ -~]*")
_COLOURS: Final = {"critical": "#b3261e", "warning": "#9a6700", "over": "#1a7f37"}


class _MailPolicy(EmailPolicy):
    """The policy of EmailMessage, but no subject loses or gains a space where it is folded.

    What does not fit on one plain line is encoded as a whole, its spaces too: between two encoded
    words a space is none (RFC 2047, section 6.2).
    """

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return the lines of a header as they leave."""
        text = str(value)
        if name != "Subject" or (text.isascii() and len(f"{name}: {text}") <= _LINE):
            return super().fold_binary(name, value)
        header = Header(text, "utf-8", maxlinelen=_LINE, header_name=name)
        return f"{name}: {header.encode(linesep=self.linesep)}{self.linesep}".encode("ascii")


#: 7 bits: what is checked is what every server gets
_POLICY: Final = _MailPolicy(linesep="\r\n", cte_type="7bit")


@dataclass(frozen=True, slots=True)
class SmtpSettings(ChannelSettings):
    """Settings of a channel of mail."""

    host: str = setting("", "Name of the mail server.")
    port: int = setting(
        0, "Port; 0 is 587 for starttls, 465 for tls, 25 for none.", least=0, most=65535
    )
    security: str = setting(
        "starttls",
        "How the connection is secured; none is for this machine only.",
        choices=tuple(_PORTS),
    )
    username: str = setting("", "Login name; empty for no login.")
    password: str = setting("", "Password of the login.", secret=True)
    sender: str = setting("", "Address that the mails are from.")
    to: tuple[str, ...] = setting((), "Addresses that the mails go to.")

    @property
    def target(self) -> str:
        """Server and recipients."""
        return f"{', '.join(self.to) or 'recipients of each rule'} by {self.host}:{self.number}"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The recipients of notices that name none."""
        return self.to

    @property
    def number(self) -> int:
        """The port."""
        return self.port or _PORTS[self.security]

    def obstacle(self, outbound: Outbound) -> str:
        """Return why the mail server is never reached by the collector's settings, or ""."""
        return outbound.refusal(self.host, self.number)

    def check(self) -> None:
        """Raise SettingsError for what the types do not say."""
        super(SmtpSettings, self).check()
        if not re.fullmatch(r"[A-Za-z0-9.:_-]{1,253}", self.host):
            raise SettingsError(f"host: expected the name of a mail server, got {self.host!r:.80}")
        if not is_address(self.sender):
            raise SettingsError(
                f"sender: expected an address such as trimtab@example.com, got {self.sender!r:.80}"
            )
        wrong = [each for each in self.to if not is_address(each)]
        if wrong or len(self.to) > MAX_ADDRESSES:
            got = repr(wrong[0])[:80] if wrong else f"{len(self.to)} of them"
            raise SettingsError(f"to: expected up to {MAX_ADDRESSES} mail addresses, got {got}")
        if self.username and self.security == "none":
            raise SettingsError(
                "username: expected security starttls or tls with a login, got none: the password "
                "would travel in the clear"
            )


class SmtpChannel:
    """Sends mail; loop only."""

    def __init__(self, settings: SmtpSettings, sending: Sending) -> None:
        self._settings = settings
        self._outbound = sending.outbound
        self._texts = settings.texts(sending.base_url)

    async def send(self, message: Message) -> str:
        """Send one mail to all recipients; the remark names those that the server refused."""
        to = message.addresses or self._settings.to
        if not to:
            raise DeliveryError(
                "expected recipients, got none: set `to` of the channel, or mail addresses as "
                "recipients of the rule",
                lasting=True,
            )
        with writing():
            mail = _sound(self.mail(message, to))
        settings = self._settings
        connection = await self._outbound.connect(settings.host, settings.number)
        if settings.security == "none" and not is_loopback(connection):
            connection.close()
            raise DeliveryError(
                f"expected security starttls or tls for {settings.host}, got none: only mail "
                "servers on this machine are spoken to in the clear"
            )
        try:
            refused = await self._transmit(connection, mail, to)
        except aiosmtplib.SMTPRecipientsRefused as error:
            first = error.recipients[0]
            raise DeliveryError(
                f"{settings.host} refused every recipient: {_said(first)}",
                lasting=all(each.code >= 500 for each in error.recipients),
            ) from error
        except aiosmtplib.SMTPAuthenticationError as error:
            raise DeliveryError(f"{settings.host} refused the login: {_said(error)}") from error
        except aiosmtplib.SMTPResponseException as error:
            lasting = error.code >= 550
            raise DeliveryError(
                f"{settings.host} answered {_said(error)}", lasting=lasting
            ) from error
        except (aiosmtplib.SMTPException, OSError) as error:
            cause = error.__cause__ or error
            advice = _advice(settings.security, cause)
            raise DeliveryError(
                f"{settings.host}:{settings.number}: {reason(cause)}{advice}"
            ) from error
        except ValueError as error:
            # TLS refused the name, so that there never was a transport to own the connection.
            connection.close()
            raise DeliveryError(f"{settings.host}: {error!s:.200}") from error
        return f"refused: {', '.join(refused)}" if refused else ""

    async def close(self) -> None:
        """Nothing is held."""

    def mail(self, message: Message, to: tuple[str, ...]) -> EmailMessage:
        """Return the mail; no header of it can hold what a name hides in an encoded word."""
        written = self._texts.write(message)
        domain = self._settings.sender.rpartition("@")[2]
        mail = EmailMessage(policy=_POLICY)
        mail["Subject"] = _header(written.title, 300)
        local, _, host = self._settings.sender.rpartition("@")
        mail["From"] = Address("trimtab", local, host)
        mail["To"] = ", ".join(to)
        mail["Date"] = format_datetime(datetime.fromtimestamp(message.sent_s, UTC))
        mail["Message-ID"] = f"<{_digest(message.key)}@{domain}>"
        if message.thread:
            # The first mail of an alert may never have left: all refer to what stands for it.
            root = f"<{_digest(message.thread)}.alert@{domain}>"
            mail["In-Reply-To"] = root
            mail["References"] = root
        # Out-of-office programs do not answer to these (RFC 3834).
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Auto-Response-Suppress"] = "All"
        mail["X-Trimtab-Idempotency-Key"] = _header(message.key, 200)
        mail.set_content(written.plain())
        mail.add_alternative(_html(written, _colour(message)), subtype="html")
        return mail

    async def _transmit(
        self, connection: socket.socket, mail: bytes, to: tuple[str, ...]
    ) -> list[str]:
        """Return the recipients that were refused where others were not."""
        settings = self._settings
        client = aiosmtplib.SMTP(
            hostname=settings.host,
            sock=connection,
            use_tls=settings.security == "tls",
            start_tls=False,
            tls_context=self._outbound.tls,
            timeout=_COMMAND_S,
            local_hostname=settings.sender.rpartition("@")[2],
        )
        try:
            await client.connect()
            if settings.security == "starttls":
                await client.starttls(server_hostname=settings.host)
            if settings.username:
                await client.login(settings.username, settings.password)
            refused, _ = await client.sendmail(settings.sender, list(to), mail)
            # The server has the mail: whatever becomes of the goodbye does not make it fail.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError):
                async with asyncio.timeout(_GOODBYE_S):
                    await client.quit()
            return list(refused)
        finally:
            # The client owns the connection; the end of TLS is not waited for.
            abort: Any = getattr(client.transport, "abort", client.close)
            abort()
            client.close()


def _header(text: str, most: int) -> str:
    """Return a text for a header that nobody decodes (RFC 2047): neither we nor who reads it.

    EmailMessage takes a value to be encoded already where it finds `=?`, and line ends come out.
    """
    return clean(text, most).replace("=?", "= ?")


def _sound(mail: EmailMessage) -> bytes:
    """Return a mail as it leaves; raises DeliveryError if its headers are not those that were set.

    No value may hold a line end or another control or direction character, decoded or not.
    """
    whole = mail.as_bytes()
    head = whole.partition(b"\r\n\r\n")[0].replace(b"\r\n ", b" ").replace(b"\r\n\t", b" ")
    found = [_HEADER.fullmatch(line) for line in head.split(b"\r\n")]
    names = [each[1].decode() if each else "" for each in found]
    read = "".join(map(str, BytesHeaderParser(policy=_POLICY).parsebytes(whole).values()))
    kinds = set(map(unicodedata.category, read))
    if names != mail.keys() or kinds & {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}:
        raise DeliveryError("expected headers of one line of text each, got others", lasting=True)
    return whole


def _advice(security: str, cause: BaseException) -> str:
    """Return which setting fits what the server does, as the end of a sentence."""
    if isinstance(cause, ssl.SSLError) and cause.reason == "WRONG_VERSION_NUMBER":
        return ": set security=starttls, or the port on which TLS begins at once"
    if security == "starttls" and "STARTTLS" in str(cause):
        return ": set security=tls with the port for it, or security=none on this machine"
    if security != "tls" and isinstance(cause, TimeoutError):
        return "; if TLS begins at once on this port, set security=tls"
    return ""


def _said(error: aiosmtplib.SMTPResponseException) -> str:
    return f"{error.code} {clean(str(error.message), 160)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _colour(message: Message) -> str:
    notices = [each for each in message.notices if each.ended_s is None and each.kind != "test"]
    if not notices:
        return _COLOURS["over"]
    critical = any(each.severity == "critical" for each in notices)
    return _COLOURS["critical" if critical else "warning"]


def _html(written: WrittenMessage, colour: str) -> str:
    """Return the body as HTML that needs nothing from elsewhere; every text is escaped."""
    rows = "".join(
        f'<tr><td style="padding:2px 16px 2px 0;color:#57606a">{html.escape(label)}</td>'
        f'<td style="padding:2px 0">{html.escape(text)}</td></tr>'
        for label, text in written.facts
    )
    blocks = [
        (
            f'<h1 style="font-size:18px;margin:0 0 12px;border-left:4px solid {colour};'
            f'padding-left:10px">{html.escape(written.title)}</h1>'
        ),
        f"<p>{html.escape(written.lead)}</p>",
        f'<table style="border-collapse:collapse;margin:12px 0">{rows}</table>' if rows else "",
    ]
    for heading, lines in written.sections:
        items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
        blocks.append(f'<h2 style="font-size:14px;margin:16px 0 4px">{html.escape(heading)}</h2>')
        blocks.append(f'<ul style="margin:0;padding-left:20px">{items}</ul>')
    style = "font-family:sans-serif;font-size:14px;line-height:1.45;color:#1f2328;max-width:640px"
    if written.pages:
        links = (
            f'<a href="{html.escape(address)}" style="color:#0969da">{html.escape(text)}</a>'
            for text, address in written.pages
        )
        blocks.append(f"<p>{' · '.join(links)}</p>")
    return f'<!doctype html><html><body style="{style}">{"".join(blocks)}</body></html>'
