"""Who may use an endpoint: the role that it asks for, and what a request shows for itself."""

import hmac
from typing import Final

from trimtab_collector.contract.callers import NOBODY, Caller, Role
from trimtab_collector.contract.errors import ApiError

__all__ = ["Access"]

_TOKEN: Final = Caller("read token", Role.PLANNER)


class Access:
    """Decides by the read token; any thread."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(self, role: Role, authorization: str) -> Caller:
        """Return who a request is from.

        Raises ApiError 401 unless its header shows somebody, 403 when they lack the role.
        """
        if self.is_reader(authorization):
            if role.rank > _TOKEN.role.rank:
                raise ApiError(403, "forbidden", f"expected the role {role.value}, got planner")
            return _TOKEN
        if role is Role.ANYONE:
            return NOBODY
        got = "another" if authorization else "none"
        raise ApiError(
            401,
            "unauthorized",
            f"expected the read token as Authorization: Bearer, got {got}: it was shown at the "
            "first start and lies in the file token of the data directory",
            headers={"WWW-Authenticate": "Bearer"},
        )

    def is_reader(self, authorization: str) -> bool:
        """Tell whether the header of a request shows the read token."""
        kind, _, text = authorization.partition(" ")
        # Compared as bytes: compare_digest takes no text beyond ASCII.
        same = hmac.compare_digest(text.strip().encode("utf-8", "replace"), self._token)
        return kind.lower() == "bearer" and same
