"""Somebody who talks to the collector's API: any method, a body, headers, what came back."""

import http.client
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["ADMIN", "PASSWORD", "Answered", "Client"]

ADMIN = "ada"
PASSWORD = "correct horse battery"


class Answered(NamedTuple):
    """An answer of the API: its data or its error in `body`."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def data(self) -> Any:
        """The data of an answer that is not a refusal."""
        assert self.status < 300, f"answered {self.status}: {self.body}"
        return self.body["data"]

    @property
    def code(self) -> str:
        """The code of a refusal."""
        return str(self.body["error"]["code"])


class Client:
    """Asks a collector from an address of the loopback network, with a token if it has one."""

    def __init__(self, port: int, token: str = "", address: str = "127.0.0.1") -> None:
        self.port = port
        self.token = token
        self.address = address

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Send one request on a connection of its own; path is below the base of the API."""
        sent = dict(headers or {})
        if self.token:
            sent.setdefault("Authorization", f"Bearer {self.token}")
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json")
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=20, source_address=(self.address, 0)
        )
        try:
            connection.request(method, f"/api/performance{path}", data, sent)
            answer = connection.getresponse()
            text = answer.read()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, json.loads(text) if text else None, found)
        finally:
            connection.close()

    def login(self, name: str = ADMIN, password: str = PASSWORD, **more: object) -> Answered:
        """Log in and keep the access token if that works."""
        found = self.ask("POST", "/auth/login", {"name": name, "password": password, **more})
        if found.status == 200:
            self.token = found.data["accessToken"]
        return found
