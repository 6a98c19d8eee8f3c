"""People, their log-ins, and the keys and tokens of programs."""

from typing import Annotated, Any, Literal

from msgspec import Meta, field

from trimtab_collector.contract.body import Body

__all__ = [
    "AgentKeyBinding",
    "AgentKeyBody",
    "AgentKeyList",
    "AuditBody",
    "AuditList",
    "Credentials",
    "LinkRequest",
    "LoggedIn",
    "LoggedOut",
    "LogoutRequest",
    "MadeAgentKey",
    "MadeServiceToken",
    "NewAgentKey",
    "NewPassword",
    "NewServiceToken",
    "NewUser",
    "RefreshRequest",
    "ServiceTokenBody",
    "ServiceTokenList",
    "SetupRequest",
    "UserBody",
    "UserChange",
    "UserList",
    "WhoBody",
]

_Label = Annotated[str, Meta(max_length=200)]
_Secret = Annotated[str, Meta(max_length=256, extra={"secret": True})]
_Role = Literal["admin", "planner"]
_Places = Annotated[list[_Label], Meta(max_length=100)]


class Credentials(Body, kw_only=True):
    """Name and password; with `cookie`, the refresh token comes as a cookie."""

    name: _Label
    password: _Secret
    cookie: bool = False


class LinkRequest(Body, kw_only=True):
    """The token of a sign-in link; with `cookie`, the refresh token comes as a cookie."""

    token: _Secret
    cookie: bool = False


class RefreshRequest(Body, kw_only=True):
    """A refresh token, or nothing where the cookie has it."""

    refresh_token: _Secret = ""


class LogoutRequest(Body, kw_only=True):
    """The refresh token of the session that ends, or nothing where the cookie has it."""

    refresh_token: _Secret = ""


class SetupRequest(Body, kw_only=True):
    """The one-time token of the set-up link, and who the first admin is."""

    token: _Secret
    name: _Label
    password: _Secret
    cookie: bool = False


class NewPassword(Body, kw_only=True):
    """One's present password and the next."""

    password: _Secret
    new_password: _Secret
    cookie: bool = False


class WhoBody(Body, kw_only=True):
    """Who asks: `kind` is user or token."""

    name: str
    role: str
    kind: str


class UserBody(Body, kw_only=True):
    """Somebody who may log in, unless disabled."""

    id: str
    name: str
    role: str
    disabled: bool
    created: str
    last_login: str | None


class LoggedIn(Body, kw_only=True):
    """An access token, and what gets the next; the refresh token is null where a cookie has it."""

    access_token: str
    token_type: str
    expires_in_seconds: int
    refresh_token: str | None
    user: UserBody


class LoggedOut(Body, kw_only=True):
    """How many sessions ended: 0 where there was none."""

    ended: int


class UserList(Body, kw_only=True):
    """Everybody who was added."""

    users: list[UserBody]


class NewUser(Body, kw_only=True):
    """Somebody to add."""

    name: _Label
    password: _Secret
    role: _Role = "planner"


class UserChange(Body, kw_only=True):
    """What is to change of somebody; what is not given stays."""

    role: _Role | None = None
    disabled: bool | None = None
    password: _Secret | None = None


class AgentKeyBody(Body, kw_only=True):
    """A key of an agent, without its secret; an empty scope is all."""

    id: str
    name: str
    environments: list[str]
    services: list[str]
    #: names of agents, or patterns with * and ?; empty: the first one that writes with it
    agents: list[str]
    #: the agent that wrote with it first, and whose it is
    agent: str | None
    #: may write measures of databases, queues and services that the agent looks at
    probes: bool
    created: str
    revoked: str | None


class AgentKeyList(Body, kw_only=True):
    """The keys of agents, revoked ones too."""

    keys: list[AgentKeyBody]


class NewAgentKey(Body, kw_only=True):
    """A key to make; an empty scope is all."""

    name: _Label = ""
    environments: _Places = field(default_factory=list)
    services: _Places = field(default_factory=list)
    #: names of agents, or patterns with * and ?; empty: the first one that writes with it
    agents: _Places = field(default_factory=list)
    #: of a key with a scope: may write measures of what the agent looks at, which are no service's
    probes: bool = False


class AgentKeyBinding(Body, kw_only=True):
    """The agents of a key from now on; empty: the next one that writes with it."""

    agents: _Places = field(default_factory=list)


class MadeAgentKey(Body, kw_only=True):
    """A new key with its text, which is shown this once."""

    key: str
    agent_key: AgentKeyBody


class ServiceTokenBody(Body, kw_only=True):
    """A token of a program, without its secret; it may read everything and change nothing."""

    id: str
    name: str
    #: made by whom: console, api, first start, settings
    origin: str
    created: str
    expires: str | None
    revoked: str | None
    #: to about a minute
    last_used: str | None


class ServiceTokenList(Body, kw_only=True):
    """The tokens of programs, revoked ones too."""

    tokens: list[ServiceTokenBody]


class NewServiceToken(Body, kw_only=True):
    """A token to make; without days it does not expire."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    days: Annotated[int, Meta(ge=1, le=3650)] | None = None


class MadeServiceToken(Body, kw_only=True):
    """A new token with its text, which is shown this once."""

    token: str
    service_token: ServiceTokenBody


class AuditBody(Body, kw_only=True):
    """One change: who made it, and what was before and after it."""

    id: int
    at: str
    by: str
    role: str
    action: str
    subject: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class AuditList(Body, kw_only=True):
    """Changes, the latest first."""

    entries: list[AuditBody]
    left_out: int
