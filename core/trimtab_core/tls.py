"""TLS as a client: which certificates to trust, and what to do when one is refused.

Certificates and host names are always checked; there is no setting against it. Whoever wants to
trust a certificate that no public authority has signed names it, or its authority, in a file.
"""

import os
import ssl
from collections.abc import Iterator
from typing import Final

from trimtab_core.errors import SettingsError

__all__ = ["client_context", "explained"]

#: Accept a certificate of the file as an anchor, even if it is no authority's.
_PARTIAL_CHAIN: Final = 0x80000
#: verify codes of OpenSSL (x509_vfy.h)
_NOT_YET, _EXPIRED = 9, 10
_UNKNOWN: Final = frozenset({2, 18, 19, 20, 21, 27})
_OTHER_HOST: Final = frozenset({62, 64})


def client_context(ca_file: str = "", setting: str = "ca_file") -> ssl.SSLContext:
    """Return a context that checks servers: TLS 1.2 or newer, their certificates and host names.

    Trusted are the certificates in ca_file and no others; without one, those of the system, which
    `SSL_CERT_FILE` and `SSL_CERT_DIR` may name. Raises SettingsError for a file without any.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= _PARTIAL_CHAIN
    context.set_alpn_protocols(["http/1.1"])
    if not ca_file:
        _trust_system(context)
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise SettingsError(
            f"{setting}: expected certificates as PEM in {ca_file}, found none"
        ) from None
    except OSError as error:
        raise SettingsError(f"{setting}: cannot read {ca_file}: {error.strerror}") from error
    return context


def _trust_system(context: ssl.SSLContext) -> None:
    context.set_default_verify_paths()
    paths = ssl.get_default_verify_paths()
    if paths.cafile is None and not (paths.capath and os.listdir(paths.capath)):
        # Some builds of Python know no store of the system; certifi comes with httpx.
        try:
            import certifi
        except ImportError:
            return
        context.load_verify_locations(cafile=certifi.where())


def explained(error: BaseException, host: str, setting: str = "ca_file") -> str:
    """Return what is wrong with a server's TLS and what to do; empty for other errors.

    It looks through the causes of an error, as HTTP clients wrap what OpenSSL says. setting is the
    one that names a file of trusted certificates.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return _refused(cause, host, setting)
        if isinstance(cause, ssl.SSLError):
            return _broken(cause, host)
    return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        reason = getattr(following, "reason", None)  # of urllib's URLError
        cause = following.__cause__ or following.__context__
        following = reason if isinstance(reason, BaseException) else cause


def _refused(error: ssl.SSLCertVerificationError, host: str, setting: str) -> str:
    code = error.verify_code
    if code in _OTHER_HOST:
        return (
            f"the certificate of {host} is for another name ({error.verify_message}): use a name "
            "that is in it, or have one made for this name"
        )
    if code == _EXPIRED:
        return f"the certificate of {host} has expired: renew it there, and check the clock here"
    if code == _NOT_YET:
        return f"the certificate of {host} is not valid yet: check the clocks of both machines"
    if code in _UNKNOWN:
        return (
            f"nobody trusted here has signed the certificate of {host} ({error.verify_message}): "
            f"if it is yours, name it or its authority in {setting}; if not, somebody stands in "
            "between"
        )
    return f"the certificate of {host} is refused: {error.verify_message}"


def _broken(error: ssl.SSLError, host: str) -> str:
    reason = (error.reason or "").upper()
    if reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return f"{host} does not speak TLS at that port: is it http, or another port?"
    if reason in ("TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "NO_PROTOCOLS_AVAILABLE"):
        return f"{host} speaks no TLS 1.2 or newer: it needs another version or configuration"
    return f"TLS with {host} failed: {error.reason or error}"
