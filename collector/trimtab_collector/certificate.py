"""The collector's own certificate: loaded at the start, and again when its files change.

New connections get the new certificate, those that are open keep the old one. A pair that cannot be
used is refused and logged, and the old one stays.
"""

import base64
import logging
import os
import ssl
import stat
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, NamedTuple

from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.health import CertificateHealth, HealthPart
from trimtab_core.errors import SettingsError

__all__ = ["ServerCertificate", "valid_until_s"]

logger = logging.getLogger("trimtab.tls")

#: forward secrecy and authenticated encryption only; those of TLS 1.3 are all of that kind
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_WARN_S: Final = 14 * 24 * 3600
#: a certificate that ends this soon makes the collector `degraded`
_SOON_S: Final = 3 * 24 * 3600
_DAY_S: Final = 24 * 3600
_END: Final = b"-----END CERTIFICATE-----"
_BEGIN: Final = b"-----BEGIN CERTIFICATE-----"


class _Pair(NamedTuple):
    cert: str
    key: str
    context: ssl.SSLContext
    #: what the files were when they were read: a change of it is a change of the pair
    stamp: tuple[object, ...]
    until_s: float


class ServerCertificate:
    """A certificate that can be renewed while connections are open; any thread.

    Raises SettingsError when the files cannot be used.
    """

    def __init__(self, cert: str, key: str, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._turn = threading.Lock()
        self._pair = _load(cert, key)
        self._seen = self._pair.stamp
        self._refused: tuple[object, ...] | None = None
        #: why the files that are there now are not in use; empty when they are
        self.trouble = ""
        #: what a server listens with
        self.context = self._pair.context
        self.context.sni_callback = self._choose
        self._tell()

    @property
    def until_s(self) -> float:
        """The end of the validity of the certificate in use, epoch seconds."""
        return self._pair.until_s

    def use(self, cert: str, key: str) -> None:
        """Use the certificate of these files from now on; raises SettingsError and keeps the old.

        It is read even if the files look as before.
        """
        with self._turn:
            try:
                self._pair = _load(cert, key)
            except SettingsError as error:
                self.trouble = str(error)
                raise
            self._seen, self.trouble = self._pair.stamp, ""
            logger.info("certificate loaded file=%s valid until %s", cert, _day(self.until_s))
        self._tell()

    def look(self) -> None:
        """Use the files again if they have changed, but not while they still change.

        Call it every few seconds: certificate and key are two files, and are written one after the
        other. What cannot be used is logged once. Raises nothing.
        """
        pair = self._pair
        stamp = _stamp(pair.cert, pair.key)
        if stamp != self._seen:
            self._seen = stamp
            return
        if stamp in (pair.stamp, self._refused):
            return
        try:
            self.use(pair.cert, pair.key)
        except SettingsError as error:
            self._refused = stamp
            logger.error("the new certificate is refused, the old one stays in use: %s", error)

    def health(self, caller: Caller) -> HealthPart:
        """Return until when it is valid; only those who may read are told what troubles it."""
        told = self.trouble if caller.role is not Role.ANYONE else "the log says why"
        body = CertificateHealth(
            valid_until=instant(self.until_s), trouble=told if self.trouble else None
        )
        return HealthPart(body, bool(self.trouble) or self.until_s - self._clock() < _SOON_S)

    def _choose(self, opened: ssl.SSLObject, _name: str | None, _first: ssl.SSLContext) -> None:
        # Called for every handshake, with or without a name: this one gets the latest pair.
        opened.context = self._pair.context

    def _tell(self) -> None:
        left_s = self.until_s - self._clock()
        if left_s < _WARN_S:
            logger.warning(
                "the certificate %s %s on %s: renew it file=%s",
                "ends" if left_s > 0 else "ended", _left(left_s), _day(self.until_s),
                self._pair.cert,
            )  # fmt: skip


def valid_until_s(certificate: bytes) -> float:
    """Return notAfter of a certificate in DER (RFC 5280, 4.1), epoch seconds.

    Raises ValueError for bytes that are none.
    """
    try:
        fields = _parts(_parts(_parts(certificate)[0][1])[0][1])
        first = 1 if fields[0][0] == 0xA0 else 0  # a version, explicitly tagged
        _, (tag, text) = _parts(fields[first + 3][1])
        digits = text.decode("ascii").removesuffix("Z")
        if tag == 0x17:  # UTCTime: years from 1950 to 2049
            digits = ("20" if int(digits[:2]) < 50 else "19") + digits
        return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC).timestamp()
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"expected a certificate in DER: {error}") from error


def _parts(data: bytes) -> list[tuple[int, bytes]]:
    """Return tag and content of each element of DER."""
    found, place = [], 0
    while place < len(data):
        tag, size = data[place], data[place + 1]
        place += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[place : place + count], "big")
            place += count
        found.append((tag, data[place : place + size]))
        place += size
    return found


def _load(cert: str, key: str) -> _Pair:
    """Return a pair that fits together; raises SettingsError."""
    stamp = _stamp(cert, key)
    text = _read(cert, "tls_cert")
    _, begin, rest = text.partition(_BEGIN)
    if not begin or _END not in rest:
        raise SettingsError(f"tls_cert: expected a certificate as PEM in {cert}, found none")
    if key:
        _read(key, "tls_key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Without a function that answers, OpenSSL would ask for a passphrase at the terminal.
        context.load_cert_chain(cert, key or None, password=_no_passphrase)
        until_s = valid_until_s(base64.b64decode(rest.partition(_END)[0]))
    except (ssl.SSLError, ValueError, OSError) as error:
        reason = getattr(error, "reason", None) or str(error)
        if reason == "KEY_VALUES_MISMATCH":
            why = f"the key in {key or cert} belongs to another certificate"
        else:
            why = f"{reason} in {cert}" + (f" or {key}" if key else "")
        raise SettingsError(
            f"tls_cert, tls_key: expected a certificate and its key as PEM, got: {why}"
        ) from error
    _check_rights(key or cert)
    return _Pair(cert, key, context, stamp, until_s)


def _no_passphrase() -> str:
    raise ValueError("a key with a passphrase: store it without one, readable by its owner alone")


def _read(path: str, setting: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read(1 << 20)
    except OSError as error:
        raise SettingsError(f"{setting}: cannot read {path}: {error.strerror}") from error


def _check_rights(path: str) -> None:
    if os.stat(path).st_mode & (stat.S_IROTH | stat.S_IWOTH):
        logger.warning("everybody on this machine can read the key in %s: chmod o= %s", path, path)


def _stamp(cert: str, key: str) -> tuple[object, ...]:
    found: list[object] = []
    for path in (cert, key or cert):
        try:
            about = os.stat(path)
            found.append((path, about.st_mtime_ns, about.st_size, about.st_ino))
        except OSError as error:
            found.append((path, error.errno))
    return tuple(found)


def _day(epoch_s: float) -> str:
    return datetime.fromtimestamp(epoch_s, UTC).strftime("%Y-%m-%d")


def _left(seconds: float) -> str:
    days = round(abs(seconds) / _DAY_S)
    return f"in {days} days" if seconds > 0 else f"{days} days ago"
