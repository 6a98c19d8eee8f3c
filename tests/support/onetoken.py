"""Access by a single token, for tests of the API without people."""

from trimtab_collector.auth.access import Access, CredentialError, Shown
from trimtab_collector.contract.callers import Caller, Role

__all__ = ["OneToken", "access_by"]


class OneToken:
    """Knows one token, of a caller with a role."""

    def __init__(self, text: str, role: Role) -> None:
        self._text = text
        self._caller = Caller("the test", role)

    def find(self, text: str) -> Shown:
        if text != self._text:
            raise CredentialError("unknown", "got another")
        return Shown(self._caller, None)


def access_by(token: str, role: Role = Role.PLANNER) -> Access:
    """Return access for whoever shows a token."""
    return Access(OneToken(token, role))
