"""Who may use an endpoint: the one place that decides, from the role that the endpoint asks for.

Nothing is open by default: an endpoint that names no role is for planners, and who shows nothing
that is known is nobody.
"""

from typing import Final, NamedTuple, Protocol

from trimtab_collector.contract.callers import NOBODY, Caller, Role
from trimtab_collector.contract.errors import ApiError

__all__ = ["Access", "Bearers", "CredentialError", "Shown"]

_EXPECTED: Final = (
    "expected Authorization: Bearer with an access token (POST /auth/login) or a service token "
    "(trimtab token new; that of the first start is in the file token of the data directory)"
)

_RISE: Final = (
    "log in as an admin (POST /auth/login; on the console --user NAME --password-file FILE)"
)


class Shown(NamedTuple):
    """Who shows a token, and until when it is good, in epoch seconds; None: until it is revoked."""

    caller: Caller
    expires_s: float | None


class CredentialError(Exception):
    """A token that nobody is let in with; reason is unknown, expired or revoked."""

    def __init__(self, reason: str, got: str) -> None:
        super().__init__(got)
        self.reason = reason
        self.got = got


class Bearers(Protocol):
    """Knows whose a token is."""

    def find(self, text: str) -> Shown:
        """Return it; raises CredentialError, and ApiError where it cannot tell."""


class Access:
    """Decides by what a request shows; loop only."""

    def __init__(self, bearers: Bearers) -> None:
        self._bearers = bearers

    def check(self, role: Role, authorization: str) -> Caller:
        """Return who a request is from, by its header.

        Raises ApiError 401 unless it shows somebody, 403 when they lack the role.
        """
        if role is Role.ANYONE:
            return self.known(authorization) or NOBODY
        kind, _, text = authorization.partition(" ")
        if not authorization:
            raise _refused("none", "got none")
        if kind.lower() != "bearer":
            raise _refused("unknown", "got another scheme")
        caller, _ = self.caller(text.strip())
        if caller.role.rank < role.rank:
            raise ApiError(
                403,
                "forbidden",
                f"expected the role {role.value}, got {caller.role.value}: {_RISE}",
            )
        return caller

    def caller(self, text: str) -> Shown:
        """Return who shows a token, and until when; raises ApiError 401 for one not accepted.

        Cheap enough to be asked again each second, so that what is revoked ends a connection.
        """
        try:
            return self._bearers.find(text)
        except CredentialError as error:
            raise _refused(error.reason, error.got) from None

    def known(self, authorization: str) -> Caller | None:
        """Return who a request is from, None where that is nobody; raises nothing."""
        kind, _, text = authorization.partition(" ")
        if kind.lower() != "bearer":
            return None
        try:
            return self._bearers.find(text.strip()).caller
        except (CredentialError, ApiError):
            return None


def _refused(reason: str, got: str) -> ApiError:
    challenge = "Bearer" if reason == "none" else 'Bearer error="invalid_token"'
    return ApiError(
        401,
        "unauthorized",
        f"{_EXPECTED}, {got}",
        {"reason": reason},
        {"WWW-Authenticate": challenge},
    )
