"""Access by single tokens, for tests of the API without people."""

from collections.abc import Mapping

from trimtab_collector.auth.access import Access, CredentialError, Shown
from trimtab_collector.contract.callers import Caller, Role

__all__ = ["OneToken", "access_by"]


class OneToken:
    """Knows a token, and perhaps some more, each of a caller with its own role."""

    def __init__(self, text: str, role: Role, more: Mapping[str, Role] | None = None) -> None:
        self._roles = {text: role, **(more or {})}

    def find(self, text: str) -> Shown:
        if text not in self._roles:
            raise CredentialError("unknown", "got another")
        return Shown(Caller("the test", self._roles[text], token=text), None)


def access_by(
    token: str, role: Role = Role.PLANNER, more: Mapping[str, Role] | None = None
) -> Access:
    """Return access for whoever shows a token, or one of more."""
    return Access(OneToken(token, role, more))
