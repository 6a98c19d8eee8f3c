"""Who may use an endpoint: the role that it asks for, and what a request shows for itself."""

import hmac
from enum import Enum

from trimtab_collector.contract.errors import ApiError

__all__ = ["Access", "Role"]


class Role(Enum):
    """What a caller must be to use an endpoint."""

    #: nobody in particular
    ANYONE = "anyone"
    #: somebody with the read token
    READER = "reader"


class Access:
    """Decides by the read token; any thread."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    def check(self, role: Role, authorization: str) -> None:
        """Raise ApiError 401 unless the header of a request shows the role."""
        if role is not Role.ANYONE and not self.is_reader(authorization):
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
