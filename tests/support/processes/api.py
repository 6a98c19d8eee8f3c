"""The collector's API as a test asks it, and what a service's records have come to."""

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

__all__ = ["TOKEN", "Api"]

TOKEN = "token-of-the-tests"


class Api:
    """Reads the collector's API with a bearer token."""

    def __init__(self, url: str, token: str = TOKEN) -> None:
        self.base = f"{url}/api/performance"
        self.token = token

    def request(self, path: str, **params: object) -> tuple[int, Any]:
        """Return status and decoded body of a GET, also of one that is refused."""
        query = urllib.parse.urlencode({key.rstrip("_"): value for key, value in params.items()})
        request = urllib.request.Request(
            f"{self.base}{path}?{query}", headers={"Authorization": f"Bearer {self.token}"}
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def get(self, path: str, **params: object) -> Any:
        """Return `data` of an answer; `from_` stands for the parameter `from`."""
        status, body = self.request(path, **params)
        assert status == 200, f"GET {path} answered {status}: {body}"
        return body["data"]

    def accounting(self, service: str) -> dict[str, Any]:
        """Return the accounts of a service over its environments; zeros when it is unknown.

        counted (records of all kinds), sent, held, agentLost, dropped by reason.
        """
        names = ("requests", "backgrounds", "connections", "counted", "sent", "held", "agentLost")
        total: dict[str, Any] = dict.fromkeys(names, 0) | {"dropped": {}}
        for row in self.get("/services")["services"]:
            if row["service"] == service:
                for name in names:
                    total[name] += row["accounting"][name]
                for reason, count in row["accounting"]["dropped"].items():
                    total["dropped"][reason] = total["dropped"].get(reason, 0) + count
        return total

    def counted(self, service: str) -> int:
        """Return the requests of a service that stand in the store."""
        return int(self.accounting(service)["requests"])

    def booked(self, service: str) -> int:
        """Return all that a service's records came to: counted (backgrounds too), lost, dropped."""
        account = self.accounting(service)
        return int(account["counted"] + account["agentLost"] + sum(account["dropped"].values()))
