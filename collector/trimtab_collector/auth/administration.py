"""Users, agent keys, service tokens and the audit trail, as admins see and change them."""

from collections.abc import Sequence
from typing import Any

from trimtab_collector.auth.audit import AUDIT, AuditTrail, note
from trimtab_collector.auth.keys import AgentKey, KeyFile
from trimtab_collector.auth.logins import user_body
from trimtab_collector.auth.passwords import LoginThreads, check_password, hash_password
from trimtab_collector.auth.people import People, check_name
from trimtab_collector.auth.tokens import ServiceToken, ServiceTokens
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError, instant
from trimtab_collector.contract.kinds import PathName, Text
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.contract.people import (
    AgentKeyBody,
    AgentKeyList,
    AuditBody,
    AuditList,
    MadeAgentKey,
    MadeServiceToken,
    ServiceTokenBody,
    ServiceTokenList,
    UserBody,
    UserList,
)
from trimtab_collector.statefile import StateFile
from trimtab_core.errors import SettingsError

__all__ = [
    "ACTION",
    "BY",
    "KEY_ID",
    "TOKEN_ID",
    "USER_ID",
    "Administration",
    "agent_keys",
    "audit",
    "change_user",
    "delete_user",
    "make_key",
    "new_agent_key",
    "new_token",
    "new_user",
    "rebind_agent_key",
    "rebind_key",
    "revoke_agent_key",
    "revoke_key",
    "revoke_token",
    "tokens",
    "users",
]

USER_ID = PathName("id", "Id of a user.")
KEY_ID = PathName("id", "Id of an agent key.")
TOKEN_ID = PathName("id", "Id of a service token.")
BY = Text("by", "Only changes by this name.")
ACTION = Text("action", "Only this action, such as user.change, or all of a noun: user.")


class Administration:
    """What admins look after; each function says in which thread it works."""

    def __init__(
        self,
        state: StateFile,
        people: People,
        service_tokens: ServiceTokens,
        keys: KeyFile,
        threads: LoginThreads,
    ) -> None:
        state.bring(AUDIT)
        self.state = state
        self.people = people
        self.tokens = service_tokens
        self.keys = keys
        self.trail = AuditTrail(state)
        self.threads = threads


def users(admin: Administration, _parameters: Parameters) -> UserList:
    """Return everybody who may log in, disabled ones too."""
    return UserList(users=[user_body(person) for person in admin.people.list()])


async def new_user(admin: Administration, parameters: Parameters) -> UserBody:
    """Return a user who was added."""
    body, caller = parameters.body, parameters.caller
    check_name(body.name)
    check_password(body.password, body.name)

    hashed = await admin.threads.hash(hash_password, body.password)
    return user_body(
        await admin.threads.run(admin.people.add, caller, body.name, hashed, Role(body.role))
    )


async def change_user(admin: Administration, parameters: Parameters) -> UserBody:
    """Return a user whose role, state or password was changed, which ends all of their sessions."""
    body, caller, person_id = parameters.body, parameters.caller, parameters[USER_ID]

    hashed = None
    if body.password is not None:
        found = await admin.threads.run(admin.people.find, person_id)
        check_password(body.password, found.name if found else "")
        hashed = await admin.threads.hash(hash_password, body.password)
    role = None if body.role is None else Role(body.role)
    return user_body(
        await admin.threads.run(admin.people.change, caller, person_id, role, body.disabled, hashed)
    )


def delete_user(admin: Administration, parameters: Parameters) -> UserBody:
    """Return a user who was deleted, with all sessions."""
    return user_body(admin.people.delete(parameters.caller, parameters[USER_ID]))


def agent_keys(admin: Administration, _parameters: Parameters) -> AgentKeyList:
    """Return the keys that agents write with, without their secrets, revoked ones too."""
    return AgentKeyList(keys=[_key_body(key) for key in admin.keys.list()])


def new_agent_key(admin: Administration, parameters: Parameters) -> MadeAgentKey:
    """Return a new key for an agent, with its text, which is shown this once."""
    body, caller = parameters.body, parameters.caller
    try:
        text, key = make_key(
            *(admin.state, admin.keys, caller, body.name, body.environments, body.services),
            body.agents,
            probes=body.probes,
        )
    except SettingsError as error:
        raise ApiError(422, "bad_body", str(error)) from error
    return MadeAgentKey(key=text, agent_key=_key_body(key))


def rebind_agent_key(admin: Administration, parameters: Parameters) -> AgentKeyBody:
    """Return a key that is given to other agents, or to the next one that writes."""
    key_id, agents = parameters[KEY_ID], parameters.body.agents
    try:
        key = rebind_key(admin.state, admin.keys, parameters.caller, key_id, agents)
    except SettingsError as error:
        if all(each.id != key_id for each in admin.keys.list()):
            raise _no_such_key(key_id) from None
        raise ApiError(422, "bad_body", str(error)) from error
    return _key_body(key)


def revoke_agent_key(admin: Administration, parameters: Parameters) -> AgentKeyBody:
    """Return a key that is refused from now on."""
    key_id = parameters[KEY_ID]
    try:
        key = revoke_key(admin.state, admin.keys, parameters.caller, key_id)
    except SettingsError:
        raise _no_such_key(key_id) from None
    return _key_body(key)


def tokens(admin: Administration, _parameters: Parameters) -> ServiceTokenList:
    """Return the service tokens, without their secrets, revoked ones too."""
    return ServiceTokenList(tokens=[_token_body(token) for token in admin.tokens.list()])


def new_token(admin: Administration, parameters: Parameters) -> MadeServiceToken:
    """Return a new service token, with its text, which is shown this once."""
    body = parameters.body
    text, token = admin.tokens.new(parameters.caller, body.name, "api", body.days)
    return MadeServiceToken(token=text, service_token=_token_body(token))


def revoke_token(admin: Administration, parameters: Parameters) -> ServiceTokenBody:
    """Return a service token that is refused from now on."""
    return _token_body(admin.tokens.revoke(parameters.caller, parameters[TOKEN_ID]))


def audit(admin: Administration, parameters: Parameters) -> AuditList:
    """Return who changed what and when, the latest first."""
    found, left_out = admin.trail.entries(
        parameters.from_s,
        parameters.to_s,
        parameters[LIMIT],
        parameters[BY],
        parameters[ACTION],
    )
    entries = [
        AuditBody(
            id=each.id,
            at=parameters.shown(each.at_s),
            by=each.by,
            role=each.role,
            action=each.action,
            subject=each.subject,
            before=each.before,
            after=each.after,
        )
        for each in found
    ]
    return AuditList(entries=entries, left_out=left_out)


def make_key(
    state: StateFile,
    keys: KeyFile,
    caller: Caller,
    name: str,
    environments: Sequence[str],
    services: Sequence[str],
    agents: Sequence[str] = (),
    *,
    probes: bool = False,
) -> tuple[str, AgentKey]:
    """Make a key and note it; returns its text, which is nowhere else, and what is stored.

    Raises SettingsError for the name of an agent that none can have.
    """
    with state.change() as connection:
        text, key = keys.new(name, environments, services, agents, probes=probes)
        note(connection, caller, "key.new", key.id, None, _scope(key))
    return text, key


def revoke_key(state: StateFile, keys: KeyFile, caller: Caller, key_id: str) -> AgentKey:
    """Revoke a key, by its id or its text, and note it; raises SettingsError for an unknown one."""
    with state.change() as connection:
        key = keys.revoke(key_id)
        note(connection, caller, "key.revoke", key.id, _scope(key), None)
    return key


def rebind_key(
    state: StateFile, keys: KeyFile, caller: Caller, key_id: str, agents: Sequence[str]
) -> AgentKey:
    """Give a key to other agents, by its id, and note it; raises SettingsError as `rebind` does."""
    with state.change() as connection:
        before = {key.id: _scope(key) for key in keys.list()}
        key = keys.rebind(key_id, agents)
        note(connection, caller, "key.rebind", key.id, before.get(key.id), _scope(key))
    return key


def _no_such_key(key_id: str) -> ApiError:
    message = f"expected the id of an agent key, got {key_id!r:.20}: see GET /agent-keys"
    return ApiError(404, "not_found", message)


def _scope(key: AgentKey) -> dict[str, Any]:
    return {
        "name": key.name,
        "environments": list(key.environments),
        "services": list(key.services),
        "agents": list(key.agents),
        "agent": key.agent or None,
        "probes": key.probes,
    }


def _key_body(key: AgentKey) -> AgentKeyBody:
    return AgentKeyBody(
        id=key.id,
        name=key.name,
        environments=list(key.environments),
        services=list(key.services),
        agents=list(key.agents),
        agent=key.agent or None,
        probes=key.probes or not key.is_scoped,
        created=instant(key.created_s),
        revoked=_when(key.revoked_s),
    )


def _token_body(token: ServiceToken) -> ServiceTokenBody:
    return ServiceTokenBody(
        id=token.id,
        name=token.name,
        origin=token.origin,
        created=instant(token.created_s),
        expires=_when(token.expires_s),
        revoked=_when(token.revoked_s),
        last_used=_when(token.used_s),
    )


def _when(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else instant(epoch_s)
