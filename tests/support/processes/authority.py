"""Certificates for tests, made when they are needed: an authority, and what it signs."""

import ipaddress
import itertools
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority", "Pair", "serving", "write_together"]

_numbers = itertools.count(1)


class Pair(NamedTuple):
    """Files of a certificate and of its key, and what tells the certificate from others."""

    cert: Path
    key: Path
    serial: int
    until: datetime


class Authority:
    """Signs certificates; `ca_file` is what trusts them."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._name = _named(f"Authority {next(_numbers)} of the tests")
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            _builder(self._name, self._name, self._key, timedelta(days=-1), timedelta(days=30))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs=True), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self.ca_file = directory / f"authority-{next(_numbers)}.pem"
        self.ca_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        *hosts: str,
        begin: timedelta = timedelta(days=-1),
        end: timedelta = timedelta(days=20),
        alone: bool = False,
        passphrase: bytes = b"",
    ) -> Pair:
        """Return a new certificate for hosts and addresses; alone: signed by its own key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = _named(hosts[0])
        names = x509.SubjectAlternativeName([_general(host) for host in hosts])
        builder = (
            _builder(subject, subject if alone else self._name, key, begin, end)
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    (key if alone else self._key).public_key()
                ),
                critical=False,
            )
        )
        certificate = builder.sign(key if alone else self._key, hashes.SHA256())
        number = next(_numbers)
        pair = Pair(
            self._directory / f"cert-{number}.pem",
            self._directory / f"key-{number}.pem",
            certificate.serial_number,
            certificate.not_valid_after_utc,
        )
        pair.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secrecy: serialization.KeySerializationEncryption = (
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption()
        )
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secrecy)
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(key.private_bytes(*form))
        return pair


def serving(pair: Pair, *, most: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """Return what a server of a test listens with; most is the newest version that it speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if most is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.maximum_version = most
    context.load_cert_chain(pair.cert, pair.key)
    return context


def write_together(pair: Pair, cert: Path, key: Path) -> None:
    """Put a pair where another one was, each file in one step, as renewing tools do."""
    for source, target in ((pair.cert, cert), (pair.key, key)):
        beside = target.with_suffix(".new")
        beside.touch(mode=0o600)
        beside.write_bytes(source.read_bytes())
        beside.replace(target)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs,
        crl_sign=signs,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begin: timedelta,
    end: timedelta,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begin)
        .not_valid_after(now + end)
    )
