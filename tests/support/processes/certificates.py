"""Certificates for servers of tests, made by openssl: an authority of one's own, or none."""

import shutil
import ssl
import subprocess
from pathlib import Path

from support.lacking import lack

__all__ = ["self_signed", "server_context"]


def self_signed(directory: Path, *names: str) -> tuple[Path, Path]:
    """Return certificate and key for names or addresses ("DNS:x", "IP:127.0.0.1")."""
    if shutil.which("openssl") is None:
        lack("openssl is not installed")
    certificate, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=trimtab-test", "-keyout", str(key)),
            *("-out", str(certificate), "-addext", f"subjectAltName={','.join(names)}"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Return the context of a server that shows a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
