"""Asks a collector's API from the console: which one, and with whose rights.

A token comes from a file or the variable TRIMTAB_TOKEN, never from the command line, which every
user of a machine can read; without any, on the collector's own host, from its data directory.
"""

import argparse
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from trimtab_core import config
from trimtab_core.addresses import API
from trimtab_core.asking import HttpClient
from trimtab_core.errors import SettingsError, TrimtabError

__all__ = ["AskError", "AskedAnswer", "Asker", "add_asking", "asker_of", "renew", "with_times"]

logger = logging.getLogger("trimtab.asking")

_DEFAULT_URL: Final = "http://127.0.0.1:8620"
_TIMEOUT_S: Final = 60.0
#: a time before now, as the API takes it: -15m, -1h30m; no option looks like one
_BEFORE_NOW: Final = re.compile(r"-\d[\w.]*")


class AskError(TrimtabError):
    """The collector could not be asked, or refused; the text says what it said."""

    #: of a refusal, else 0
    status = 0


class AskedAnswer(NamedTuple):
    """What a collector answered: text of a page, or `data` of an envelope."""

    text: str
    data: Any


class Asker:
    """Asks one collector; raises AskError."""

    def __init__(
        self,
        url: str,
        token: str,
        environ: Mapping[str, str],
        ca_file: str = "",
        timeout_s: float = _TIMEOUT_S,
    ) -> None:
        self._client = HttpClient(
            url,
            environ,
            ca_file=ca_file,
            variable="--url",
            ca_variable="--ca-file",
            timeout_s=timeout_s,
        )
        self._token = token
        address = self._client.address
        if not address.tls and not address.loopback:
            logger.warning(
                "%s is not https: token and data travel in the clear; give the collector a "
                "certificate (tls_cert) or put it behind TLS, and use https",
                address,
            )

    @property
    def is_here(self) -> bool:
        """Whether it asks this machine."""
        return self._client.address.loopback

    @property
    def address(self) -> str:
        """Whom it asks."""
        return str(self._client.address)

    def use(self, token: str) -> None:
        """Use the rights of a token from here on."""
        self._token = token

    def get(self, path: str, query: Mapping[str, str]) -> AskedAnswer:
        """Return what a path answers."""
        given = urlencode({name: text for name, text in query.items() if text})
        return self._ask("GET", f"{path}?{given}" if given else path)

    def post(self, path: str, body: Mapping[str, Any]) -> AskedAnswer:
        """Send a body, and return the answer."""
        return self._ask("POST", path, body)

    def delete(self, path: str) -> AskedAnswer:
        """Delete what a path names, and return the answer."""
        return self._ask("DELETE", path)

    def log_in(self, name: str, password: str) -> None:
        """Use the rights of a user from here on."""
        found = self.post("/auth/login", {"name": name, "password": password})
        self._token = str(found.data["accessToken"])

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> AskedAnswer:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        answer = self._client.ask(
            API + path,
            method=method,
            headers=headers,
            body=None if body is None else json.dumps(body).encode(),
        )
        if answer.trouble:
            raise AskError(
                f"expected a collector at {self._client.address}, got: {answer.trouble}; name "
                "another with --url or TRIMTAB_URL"
            )
        good = 200 <= answer.status < 300
        if answer.headers.get("content-type", "").startswith("text/html"):
            if good:
                return AskedAnswer(answer.text, None)
            raise AskError(f"expected an answer of {path}, got status {answer.status}")
        try:
            found = json.loads(answer.body)
            if good:
                return AskedAnswer("", found["data"])
            message = found["error"]["message"]
        except (ValueError, KeyError, TypeError) as error:
            raise AskError(
                f"expected a collector's answer from {self._client.address}, got status "
                f"{answer.status}"
            ) from error
        refusal = AskError(f"the collector refused ({answer.status}): {message}")
        refusal.status = answer.status
        raise refusal


def with_times(arguments: Sequence[str]) -> list[str]:
    """Return arguments with `--from -1h` as `--from=-1h`: argparse takes what begins with - for an
    option, unless it is a number.
    """
    found: list[str] = []
    for place, text in enumerate(arguments):
        if text == "--":
            return [*found, *arguments[place:]]
        before = found[-1] if found else ""
        if _BEFORE_NOW.fullmatch(text) and before.startswith("--") and "=" not in before:
            found[-1] = f"{before}={text}"
        else:
            found.append(text)
    return found


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


def asker_of(
    options: argparse.Namespace,
    environ: Mapping[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> Asker:
    """Return who asks as the options say; raises SettingsError, and AskError at log-in."""
    environ = os.environ if environ is None else environ
    url = options.url or environ.get("TRIMTAB_URL") or _DEFAULT_URL
    if bool(options.user) != bool(options.password_file):
        raise SettingsError("expected --user and --password-file together")
    asker = Asker(url, "", environ, options.ca_file or "", timeout_s)
    renew(asker, options, environ)
    return asker


def renew(asker: Asker, options: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Log in again, or read the token again, for who asks longer than a log-in is good for.

    Raises SettingsError, and AskError at log-in.
    """
    if options.user:
        asker.use("")
        asker.log_in(options.user, _read("--password-file", options.password_file))
    elif options.token_file:
        asker.use(_read("--token-file", options.token_file))
    else:
        asker.use(environ.get("TRIMTAB_TOKEN", "") or _own_token(asker, environ))


def _read(flag: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{flag}: cannot read {path!r}: {error}") from error


def _own_token(asker: Asker, environ: Mapping[str, str]) -> str:
    """Return the token of a collector of this user on this machine, empty without one.

    It is for that collector alone: on loopback, or where that collector says that it listens.
    """
    named = environ.get("TRIMTAB_COLLECTOR_DATA_DIR", "")
    directory = Path(config.data_directory(named, environ, "collector"))
    try:
        listens = directory / "address"
        if not asker.is_here and listens.read_text(encoding="ascii").strip() != asker.address:
            return ""
        return (directory / "token").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
