"""Rows of the table of endpoints: people, their log-ins, and the keys and tokens of programs."""

from typing import Final

from trimtab_collector.api.endpoint import ApiEndpoint
from trimtab_collector.auth.administration import (
    ACTION,
    BY,
    KEY_ID,
    TOKEN_ID,
    USER_ID,
    Administration,
    agent_keys,
    audit,
    change_user,
    delete_user,
    new_agent_key,
    new_token,
    new_user,
    rebind_agent_key,
    revoke_agent_key,
    revoke_token,
    tokens,
    users,
)
from trimtab_collector.auth.logins import (
    Logins,
    change_password,
    login,
    login_by_link,
    logout,
    me,
    refresh,
    setup,
)
from trimtab_collector.contract.callers import Role
from trimtab_collector.contract.parameters import LIMIT, RANGE
from trimtab_collector.contract.people import (
    AgentKeyBinding,
    AgentKeyBody,
    AgentKeyList,
    AuditList,
    Credentials,
    LinkRequest,
    LoggedIn,
    LoggedOut,
    LogoutRequest,
    MadeAgentKey,
    MadeServiceToken,
    NewAgentKey,
    NewPassword,
    NewServiceToken,
    NewUser,
    RefreshRequest,
    ServiceTokenBody,
    ServiceTokenList,
    SetupRequest,
    UserBody,
    UserChange,
    UserList,
    WhoBody,
)

__all__ = ["PEOPLE"]

_MONTH_S: Final = 30 * 86_400

# fmt: off
PEOPLE: Final = (
    ApiEndpoint(("/auth/login",), login, (LoggedIn,), role=Role.ANYONE, method="POST",
             takes=Credentials, of=Logins, refuses=(401, 429)),
    ApiEndpoint(("/auth/link",), login_by_link, (LoggedIn,), role=Role.ANYONE, method="POST",
             takes=LinkRequest, of=Logins, refuses=(401, 429)),
    ApiEndpoint(("/auth/refresh",), refresh, (LoggedIn,), role=Role.ANYONE, method="POST",
             takes=RefreshRequest, of=Logins, refuses=(401, 403, 429)),
    ApiEndpoint(("/auth/logout",), logout, (LoggedOut,), role=Role.ANYONE, method="POST",
             takes=LogoutRequest, of=Logins, refuses=(403,)),
    ApiEndpoint(("/auth/setup",), setup, (LoggedIn,), role=Role.ANYONE, method="POST",
             takes=SetupRequest, of=Logins, status=201, refuses=(401, 409, 429)),
    ApiEndpoint(("/auth/password",), change_password, (LoggedIn,), method="POST",
             takes=NewPassword, of=Logins, refuses=(403, 429)),
    ApiEndpoint(("/auth/me",), me, (WhoBody,), of=Logins),
    ApiEndpoint(("/users",), users, (UserList,), role=Role.ADMIN, of=Administration),
    ApiEndpoint(("/users",), new_user, (UserBody,), role=Role.ADMIN, method="POST",
             takes=NewUser, of=Administration, status=201, refuses=(409,)),
    ApiEndpoint(("/users/{id}",), change_user, (UserBody,), (USER_ID,), role=Role.ADMIN,
             method="PUT", takes=UserChange, of=Administration, refuses=(409,)),
    ApiEndpoint(("/users/{id}",), delete_user, (UserBody,), (USER_ID,), role=Role.ADMIN,
             method="DELETE", of=Administration, refuses=(409,)),
    ApiEndpoint(("/agent-keys",), agent_keys, (AgentKeyList,), role=Role.ADMIN,
             of=Administration),
    ApiEndpoint(("/agent-keys",), new_agent_key, (MadeAgentKey,), role=Role.ADMIN, method="POST",
             takes=NewAgentKey, of=Administration, status=201),
    ApiEndpoint(("/agent-keys/{id}",), rebind_agent_key, (AgentKeyBody,), (KEY_ID,),
             role=Role.ADMIN, method="PUT", takes=AgentKeyBinding, of=Administration),
    ApiEndpoint(("/agent-keys/{id}",), revoke_agent_key, (AgentKeyBody,), (KEY_ID,),
             role=Role.ADMIN, method="DELETE", of=Administration),
    ApiEndpoint(("/tokens",), tokens, (ServiceTokenList,), role=Role.ADMIN, of=Administration),
    ApiEndpoint(("/tokens",), new_token, (MadeServiceToken,), role=Role.ADMIN, method="POST",
             takes=NewServiceToken, of=Administration, status=201, refuses=(409,)),
    ApiEndpoint(("/tokens/{id}",), revoke_token, (ServiceTokenBody,), (TOKEN_ID,),
             role=Role.ADMIN, method="DELETE", of=Administration),
    ApiEndpoint(("/audit",), audit, (AuditList,), (*RANGE, LIMIT, BY, ACTION), _MONTH_S,
             role=Role.ADMIN, of=Administration),
)
# fmt: on
