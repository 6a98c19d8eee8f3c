"""Who asks: the role that a caller has, and how an answer may differ from plain data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

__all__ = ["ITSELF", "NOBODY", "Caller", "Page", "Reply", "Role"]


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
