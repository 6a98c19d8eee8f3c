"""Who asks: the role that a caller has, and how an answer may differ from plain data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

__all__ = ["ITSELF", "NOBODY", "VOUCH", "Caller", "Page", "Reply", "Role", "vouch"]

#: where the state of a scope has what tells the server whose connection it is
VOUCH: Final = "trimtab.vouch"


class Role(Enum):
    """What a caller must be to use an endpoint; each may do what those before it may."""

    #: nobody in particular
    ANYONE = "anyone"
    #: reads everything, changes nothing
    PLANNER = "planner"
    #: reads, changes and acts
    ADMIN = "admin"

    @property
    def rank(self) -> int:
        """Place in the order of rights."""
        return list(Role).index(self)


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody whose request was checked: a name for the audit trail, and a role."""

    name: str
    role: Role
    #: id of the user; empty for programs, and where nobody showed anything
    user: str = ""
    #: the user's session; empty for programs
    session: str = ""
    #: id of the access token or service token that was shown
    token: str = ""

    @property
    def id(self) -> str:
        """What tells callers apart; all tokens of a user are one."""
        return self.user or self.token or self.name


NOBODY: Final = Caller("anyone", Role.ANYONE)
#: who changes something that nobody asked for; no user has this name, which has a space
ITSELF: Final = Caller("the collector", Role.ADMIN)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer with a status or headers of its own, such as 201 and a cookie."""

    data: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer that is a page of HTML, and the Content-Security-Policy that it is shown under."""

    html: str
    policy: str


def vouch(scope: Mapping[str, Any], caller: str) -> None:
    """Tell the server who was found to speak on a connection: the id of a caller or of a key.

    It is counted by that and no longer by its address. Another server than ours has no use for it.
    """
    tell: Callable[[str], None] | None = scope.get("state", {}).get(VOUCH)
    if tell is not None:
        tell(caller)
