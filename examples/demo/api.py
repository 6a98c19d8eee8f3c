"""The collector's API as the demo asks it: reads with the token, changes as the admin."""

import json
import urllib.parse
from collections.abc import Mapping
from typing import Any

from examples.demo.client import Client

__all__ = ["Admin", "Api", "ApiError"]

_PREFIX = "/api/performance"


class ApiError(Exception):
    """The collector's API did not answer as expected."""


class Api:
    """Reads with a service token; for one task at a time."""

    def __init__(self, port: int, token: str) -> None:
        self._client = Client(port)
        self._headers = {"Authorization": f"Bearer {token}"}

    async def page(self, path: str, **params: object) -> bytes:
        """Return an answer as it is; raises ApiError."""
        where = f"{_PREFIX}{path}?{urllib.parse.urlencode(params)}"
        answer = await self._client.request("GET", where, headers=self._headers)
        if answer.status != 200:
            raise ApiError(f"expected 200 from {path}, got {answer.status}: {answer.body!r:.200}")
        return answer.body

    async def read(self, path: str, **params: object) -> Any:
        """Return `data` of an answer, `from_` standing for `from`; raises ApiError."""
        query = urllib.parse.urlencode({name.rstrip("_"): value for name, value in params.items()})
        return await _asked(self._client, "GET", f"{path}?{query}", self._headers)


class Admin:
    """Changes by an admin; for one task at a time.

    Each begins with a log-in, which is good for minutes only.
    """

    def __init__(self, port: int, name: str, password: str) -> None:
        self._client = Client(port)
        self._login = {"name": name, "password": password}

    async def change(self, *changes: tuple[str, str, object]) -> list[Any]:
        """Send (method, path, body) one after the other; raises ApiError."""
        session = await _asked(self._client, "POST", "/auth/login", {}, self._login)
        headers = {"Authorization": f"Bearer {session['accessToken']}"}
        return [
            await _asked(self._client, method, path, headers, body)
            for method, path, body in changes
        ]


async def _asked(
    client: Client, method: str, path: str, headers: dict[str, str], body: object = None
) -> Any:
    shown = f"{method} {path.partition('?')[0]}"
    sent = b"" if body is None else json.dumps(body).encode()
    try:
        answer = await client.request(method, _PREFIX + path, sent, headers)
        found = json.loads(answer.body)
    except (OSError, EOFError, ValueError) as error:
        raise ApiError(f"expected JSON from {shown}, got {error!r}") from error
    if answer.status not in (200, 201) or not isinstance(found, Mapping) or "data" not in found:
        raise ApiError(f"expected data from {shown}, got {answer.status}: {found!r:.300}")
    return found["data"]
