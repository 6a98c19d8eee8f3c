"""The collector's certificate: what is loaded, what is refused, when files are read again."""

import logging
import re
import ssl
from datetime import timedelta
from pathlib import Path

import pytest

from support.processes.authority import Authority, Pair, write_together
from trimtab_collector.certificate import ServerCertificate, valid_until_s
from trimtab_collector.contract.callers import NOBODY, Caller, Role
from trimtab_collector.contract.health import CertificateHealth
from trimtab_core.errors import SettingsError
from trimtab_core.tls import client_context

READER = Caller("reader", Role.PLANNER)


@pytest.fixture
def authority(tmp: Path) -> Authority:
    return Authority(tmp)


def loaded(pair: Pair) -> ServerCertificate:
    return ServerCertificate(str(pair.cert), str(pair.key))


def shown(certificate: ServerCertificate, authority: Authority) -> int:
    """Return the serial number that a client is shown, over a handshake in memory."""
    into, out, back = ssl.MemoryBIO(), ssl.MemoryBIO(), client_context(str(authority.ca_file))
    server = certificate.context.wrap_bio(into, out, server_side=True)
    client = back.wrap_bio(out, into, server_hostname="localhost")
    for _ in range(10):
        done = 0
        for side in (client, server):
            try:
                side.do_handshake()
                done += 1
            except ssl.SSLWantReadError:
                pass
        if done == 2:
            return int(str((client.getpeercert() or {})["serialNumber"]), 16)
    raise AssertionError("the handshake does not end")


def der(pair: Pair) -> bytes:
    return ssl.PEM_cert_to_DER_cert(pair.cert.read_text())


def test_a_handshake_shows_the_certificate_that_was_loaded_last(authority: Authority) -> None:
    first, second = authority.issue("localhost"), authority.issue("localhost")
    certificate = loaded(first)
    assert shown(certificate, authority) == first.serial
    certificate.use(str(second.cert), str(second.key))
    assert shown(certificate, authority) == second.serial


def test_the_end_of_validity_is_read_from_the_certificate(authority: Authority) -> None:
    pair = authority.issue("localhost")
    assert loaded(pair).until_s == pair.until.timestamp()


@pytest.mark.parametrize("days", [100, 365 * 30, 365 * 200], ids=["UTCTime", "2049", "long"])
def test_the_end_of_validity_is_read_in_both_forms_of_time(authority: Authority, days: int) -> None:
    pair = authority.issue("localhost", end=timedelta(days=days))
    assert valid_until_s(der(pair)) == pair.until.timestamp()


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x82\xff\xff", b"\x30\x03\x02\x01\x00"])
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="expected a certificate in DER"):
        valid_until_s(data)


def test_a_certificate_cut_anywhere_is_refused_or_read_and_nothing_else(
    authority: Authority,
) -> None:
    whole = der(authority.issue("localhost"))
    for size in range(len(whole)):
        try:
            valid_until_s(whole[:size])
        except ValueError:
            pass


def broken(authority: Authority, tmp: Path, how: str) -> tuple[Path, Path]:
    pair, other = authority.issue("localhost"), authority.issue("localhost")
    match how:
        case "no file":
            return tmp / "nothing.pem", pair.key
        case "no key":
            return pair.cert, tmp / "nothing.pem"
        case "another's key":
            return pair.cert, other.key
        case "a passphrase":
            hidden = authority.issue("localhost", passphrase=b"open sesame")
            return hidden.cert, hidden.key
        case "no certificate":
            return pair.key, pair.key
    pair.cert.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    return pair.cert, pair.key


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("no file", "tls_cert: cannot read .*nothing.pem: No such file"),
        ("no key", "tls_key: cannot read .*nothing.pem: No such file"),
        ("another's key", "the key in .* belongs to another certificate"),
        ("a passphrase", "a key with a passphrase: store it without one"),
        ("no certificate", "tls_cert: expected a certificate as PEM in .*, found none"),
        ("garbage", "expected a certificate and its key as PEM"),
    ],
)
def test_files_that_cannot_be_used_are_refused_by_name(
    authority: Authority, tmp: Path, how: str, says: str
) -> None:
    cert, key = broken(authority, tmp, how)
    with pytest.raises(SettingsError, match=says):
        ServerCertificate(str(cert), str(key))
    good = authority.issue("localhost")
    certificate = loaded(good)
    with pytest.raises(SettingsError, match=says):
        certificate.use(str(cert), str(key))
    assert shown(certificate, authority) == good.serial
    part = certificate.health(READER)
    assert part.degraded
    assert isinstance(part.body, CertificateHealth)
    assert re.search(says, part.body.trouble or "")
    told = certificate.health(NOBODY).body
    assert isinstance(told, CertificateHealth)
    assert told.trouble == "the log says why"


def test_one_file_may_hold_certificate_and_key(authority: Authority, tmp: Path) -> None:
    pair = authority.issue("localhost")
    both = tmp / "both.pem"
    both.touch(mode=0o600)
    both.write_bytes(pair.key.read_bytes() + pair.cert.read_bytes())
    assert shown(ServerCertificate(str(both), ""), authority) == pair.serial


def test_new_files_are_used_once_they_have_stopped_changing(authority: Authority) -> None:
    first, second = authority.issue("localhost"), authority.issue("localhost")
    certificate = loaded(first)
    first.cert.write_bytes(second.cert.read_bytes())
    certificate.look()  # the key is still the old one
    first.key.write_bytes(second.key.read_bytes())
    certificate.look()
    assert shown(certificate, authority) != second.serial
    certificate.look()
    assert shown(certificate, authority) == second.serial
    assert certificate.trouble == ""


def test_new_files_that_cannot_be_used_are_said_once_and_mended_ones_are_used(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    first, second = authority.issue("localhost"), authority.issue("localhost")
    certificate = loaded(first)
    first.cert.write_text("half of it")
    for _ in range(5):
        certificate.look()
    said = [line for line in caplog.messages if "refused, the old one stays" in line]
    assert len(said) == 1
    assert certificate.trouble
    assert certificate.health(READER).degraded
    write_together(second, first.cert, first.key)
    for _ in range(2):
        certificate.look()
    assert shown(certificate, authority) == second.serial
    assert not certificate.health(READER).degraded


def test_a_key_that_everybody_can_read_is_said_with_the_remedy(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = authority.issue("localhost")
    pair.key.chmod(0o644)
    loaded(pair)
    assert f"chmod o= {pair.key}" in caplog.text


@pytest.mark.parametrize(
    ("days", "says", "degraded"),
    [(20, "", False), (10, "ends in 10 days", False), (2, "ends in 2 days", True)],
)
def test_a_certificate_that_ends_soon_is_said_before_it_does(
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    days: int,
    says: str,
    degraded: bool,
) -> None:
    with caplog.at_level(logging.WARNING):
        certificate = loaded(authority.issue("localhost", end=timedelta(days=days)))
    assert (says in caplog.text) if says else not caplog.text
    assert certificate.health(READER).degraded is degraded


def test_a_certificate_that_ended_is_loaded_since_clients_decide_and_said(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = loaded(
        authority.issue("localhost", begin=timedelta(days=-9), end=timedelta(days=-3))
    )
    assert "ended 3 days ago" in caplog.text
    assert certificate.health(READER).degraded
