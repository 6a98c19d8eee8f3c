"""Asks a collector's API from the console: which one, and with whose rights.

A token comes from a file or the variable TRIMTAB_TOKEN, never from the command line, which every
user of a machine can read; without any, on the collector's own host, from its data directory.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from trimtab_core import config
from trimtab_core.errors import SettingsError, TrimtabError

__all__ = ["AskError", "AskedAnswer", "Asker", "add_asking", "asker_of"]

_DEFAULT_URL: Final = "http://127.0.0.1:8620"
_BASE: Final = "/api/performance"
_TIMEOUT_S: Final = 60.0
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class AskError(TrimtabError):
    """The collector could not be asked, or refused; the text says what it said."""


class AskedAnswer(NamedTuple):
    """What a collector answered: text of a page, or `data` of an envelope."""

    text: str
    data: Any


class Asker:
    """Asks one collector; raises AskError."""

    def __init__(self, url: str, token: str, ca_file: str = "") -> None:
        self._url = url.rstrip("/")
        self._token = token
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise SettingsError(f"--url: expected http:// or https:// and a host, got {url!r:.200}")
        # No proxy is asked for what runs on this machine.
        self._local = parts.hostname in _LOOPBACK
        self._verify: Any = ca_file or True

    def get(self, path: str, query: Mapping[str, str]) -> AskedAnswer:
        """Return what a path answers."""
        return self._ask("GET", path, params={name: text for name, text in query.items() if text})

    def post(self, path: str, body: Mapping[str, Any]) -> AskedAnswer:
        """Send a body, and return the answer."""
        return self._ask("POST", path, json=dict(body))

    def log_in(self, name: str, password: str) -> None:
        """Use the rights of a user from here on."""
        found = self.post("/auth/login", {"name": name, "password": password})
        self._token = str(found.data["accessToken"])

    def _ask(self, method: str, path: str, **more: Any) -> AskedAnswer:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        try:
            with httpx.Client(
                verify=self._verify, timeout=_TIMEOUT_S, trust_env=not self._local
            ) as client:
                answer = client.request(method, self._url + _BASE + path, headers=headers, **more)
        except (httpx.HTTPError, OSError, ValueError) as error:
            raise AskError(
                f"expected a collector at {self._url}, got {type(error).__name__}: {error}; name "
                "another with --url or TRIMTAB_URL"
            ) from error
        if answer.headers.get("content-type", "").startswith("text/html"):
            if answer.is_success:
                return AskedAnswer(answer.text, None)
            raise AskError(f"expected an answer of {path}, got status {answer.status_code}")
        try:
            body = answer.json()
            if answer.is_success:
                return AskedAnswer("", body["data"])
            message = body["error"]["message"]
        except (ValueError, KeyError, TypeError) as error:
            raise AskError(
                f"expected a collector's answer from {self._url}, got status {answer.status_code}"
            ) from error
        raise AskError(f"the collector refused ({answer.status_code}): {message}")


def add_asking(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which collector is asked, and with whose rights."""
    group = parser.add_argument_group("which collector")
    group.add_argument(
        "--url", metavar="URL", help=f"where it is (TRIMTAB_URL; default: {_DEFAULT_URL})"
    )
    group.add_argument(
        "--token-file", metavar="FILE", help="read the token from it (TRIMTAB_TOKEN)"
    )
    group.add_argument("--user", metavar="NAME", help="log in as this user instead")
    group.add_argument("--password-file", metavar="FILE", help="read the user's password from it")
    group.add_argument("--ca-file", metavar="FILE", help="certificates to trust, for https")


def asker_of(options: argparse.Namespace, environ: Mapping[str, str] | None = None) -> Asker:
    """Return who asks as the options say; raises SettingsError, and AskError at log-in."""
    environ = os.environ if environ is None else environ
    url = options.url or environ.get("TRIMTAB_URL") or _DEFAULT_URL
    if bool(options.user) != bool(options.password_file):
        raise SettingsError("expected --user and --password-file together")
    if options.user:
        asker = Asker(url, "", options.ca_file or "")
        asker.log_in(options.user, _read("--password-file", options.password_file))
        return asker
    if options.token_file:
        token = _read("--token-file", options.token_file)
    else:
        token = environ.get("TRIMTAB_TOKEN", "") or _own_token(environ)
    return Asker(url, token, options.ca_file or "")


def _read(flag: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{flag}: cannot read {path!r}: {error}") from error


def _own_token(environ: Mapping[str, str]) -> str:
    """Return the token of a collector of this user on this machine, empty without one."""
    named = environ.get("TRIMTAB_COLLECTOR_DATA_DIR", "")
    path = Path(config.data_directory(named, environ, "collector")) / "token"
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
