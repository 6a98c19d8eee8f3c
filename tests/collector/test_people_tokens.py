"""Users and service tokens as the state file keeps them, and their audit trail."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.clock import Clock
from trimtab_collector.auth import audit, people
from trimtab_collector.auth.access import Access, CredentialError
from trimtab_collector.auth.audit import AuditTrail, note
from trimtab_collector.auth.people import People
from trimtab_collector.auth.register import Register
from trimtab_collector.auth.sessions import IDLE_S, SESSION_S, Sessions
from trimtab_collector.auth.signing import SigningKeys
from trimtab_collector.auth.tokens import ServiceTokens
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile
from trimtab_core.errors import StartupError

ADA = Caller("ada", Role.ADMIN)
DAY_S = 86_400


@pytest.fixture
def state(tmp: Path) -> Iterator[StateFile]:
    found = StateFile(tmp)
    yield found
    found.close()


def code_of(refused: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return refused.value.status, refused.value.code


def last(state: StateFile) -> dict[str, Any]:
    (entry,), _ = AuditTrail(state).entries(0, 1e12, 1)
    return entry._asdict()


# ---------------------------------------------------------------- users


def test_a_change_counts_the_version_up_and_is_noted_without_secrets(state: StateFile) -> None:
    found = People(state)
    found.add(ADA, "ada", "hash-of-ada", Role.ADMIN)
    paul = found.add(ADA, "paul", "hash-of-paul", Role.PLANNER)
    assert last(state) | {"id": 0, "at_s": 0} == {
        "id": 0,
        "at_s": 0,
        "by": "ada",
        "role": "admin",
        "action": "user.add",
        "subject": "paul",
        "before": None,
        "after": {"role": "planner", "disabled": False},
    }
    changed = found.change(ADA, paul.id, role=Role.ADMIN, disabled=True, password="hash-two")
    assert (changed.version, changed.role) == (2, Role.ADMIN)
    entry = last(state)
    assert entry["before"] == {"role": "planner", "disabled": False}
    assert entry["after"] == {"role": "admin", "disabled": True, "password": "changed"}
    assert found.change(ADA, paul.id, role=Role.ADMIN).version == 2
    assert "hash" not in str(AuditTrail(state).entries(0, 1e12, 100))


def test_there_is_always_an_admin_who_can_log_in(state: StateFile) -> None:
    found = People(state)
    ada = found.add(ADA, "ada", "x", Role.ADMIN)
    off = found.add(ADA, "off", "x", Role.ADMIN)
    found.change(ADA, off.id, disabled=True)
    changes: list[Callable[[], object]] = [
        lambda: found.change(ADA, ada.id, role=Role.PLANNER),
        lambda: found.change(ADA, ada.id, disabled=True),
        lambda: found.delete(ADA, ada.id),
    ]
    for change in changes:
        with pytest.raises(ApiError) as refused:
            change()
        assert code_of(refused) == (409, "last_admin")
    found.change(ADA, off.id, disabled=False)
    found.delete(ADA, ada.id)
    assert [each.name for each in found.list()] == ["off"]


def test_a_name_is_somebodys_once_in_whatever_case(state: StateFile) -> None:
    found = People(state)
    found.add(ADA, "Ada", "x", Role.ADMIN)
    with pytest.raises(ApiError) as refused:
        found.add(ADA, "aDA", "x", Role.PLANNER)
    assert code_of(refused) == (409, "name_taken")
    assert found.by_name("ADA") == found.list()[0]
    for name in ("", "a b", "x" * 65, "a\n", "../x", "\N{CYRILLIC SMALL LETTER A}da"):
        with pytest.raises(ApiError) as refused:
            found.add(ADA, name, "x", Role.PLANNER)
        assert code_of(refused) == (422, "bad_name")


def test_the_first_admin_is_the_first(state: StateFile) -> None:
    found = People(state)
    found.add(ADA, "ada", "x", Role.ADMIN, first=True)
    with pytest.raises(ApiError) as refused:
        found.add(ADA, "eve", "x", Role.ADMIN, first=True)
    assert code_of(refused) == (409, "set_up")


def test_users_are_bounded(state: StateFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "MAX_PEOPLE", 2)
    found = People(state)
    for name in ("ada", "paul"):
        found.add(ADA, name, "x", Role.ADMIN)
    with pytest.raises(ApiError) as refused:
        found.add(ADA, "eve", "x", Role.ADMIN)
    assert code_of(refused) == (409, "too_many")


# ---------------------------------------------------------------- the audit trail


def test_a_change_that_fails_leaves_no_entry(state: StateFile) -> None:
    trail = AuditTrail(state)

    def change() -> None:
        with state.change() as connection:
            note(connection, ADA, "thing.change", "x")
            raise OSError("a disk")

    with pytest.raises(OSError, match="a disk"):
        change()
    assert trail.entries(0, 1e12, 10) == ([], 0)


def test_entries_are_chosen_by_name_action_and_noun(state: StateFile) -> None:
    trail = AuditTrail(state)
    with state.change() as connection:
        for who, action in (
            ("ada", "user.add"),
            ("ada", "user.change"),
            ("eve", "user.add"),
            ("eve", "users.add"),
        ):
            note(connection, Caller(who, Role.ADMIN), action, "x")

    def actions(**chosen: str) -> list[str]:
        return [each.action for each in trail.entries(0, 1e12, 10, **chosen)[0]]

    assert actions(by="ada") == ["user.change", "user.add"]
    assert actions(action="user") == ["user.add", "user.change", "user.add"]
    assert actions(action="users.add", by="eve") == ["users.add"]
    assert actions(action="%") == []
    assert trail.entries(0, 1e12, 1)[1] == 3


def test_the_trail_is_bounded_in_entries_and_bytes(
    state: StateFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_KEPT", 3)
    trail = AuditTrail(state)
    for n in range(5):
        with state.change() as connection:
            note(connection, ADA, "thing.change", str(n), None, {"text": "x" * 20_000 * (n == 4)})
    found, left_out = trail.entries(0, 1e12, 10)
    assert ([each.subject for each in found], left_out) == (["4", "3", "2"], 0)
    assert found[0].after is not None
    assert set(found[0].after) == {"bytes"}


# ---------------------------------------------------------------- service tokens


def test_the_first_start_makes_a_token_and_later_ones_find_it(tmp: Path, state: StateFile) -> None:
    tokens = ServiceTokens(state)
    made = tokens.first(tmp)
    assert made.new
    assert made.path == tmp / "token"
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert tokens.first(tmp) == made._replace(new=False)
    (kept,) = tokens.list()
    assert (kept.origin, kept.name) == ("first start", "first start")
    assert made.text.startswith(f"tts_{kept.id}_")


def test_a_token_of_an_earlier_version_stays_good(tmp: Path, state: StateFile) -> None:
    (tmp / "token").write_text("ttr_" + "0" * 64 + "\n")
    tokens = ServiceTokens(state)
    found = tokens.first(tmp)
    assert (found.text, found.new) == ("ttr_" + "0" * 64, False)
    register = Register(state, SigningKeys(tmp))
    caller = register.find(found.text).caller
    assert (caller.name, caller.role) == ("token first start", Role.PLANNER)
    register.close()


def test_a_token_that_was_revoked_is_not_made_again(tmp: Path, state: StateFile) -> None:
    tokens = ServiceTokens(state)
    first = tokens.first(tmp)
    tokens.revoke(ADA, tokens.list()[0].id)
    assert tokens.first(tmp).text == ""
    (tmp / "token").unlink()
    assert tokens.first(tmp) == ("", None, False)
    register = Register(state, SigningKeys(tmp))
    with pytest.raises(ApiError) as refused:
        Access(register).check(Role.PLANNER, f"Bearer {first.text}")
    assert refused.value.details == {"reason": "revoked"}
    register.close()


def test_another_file_or_setting_takes_the_place_of_the_one_before(
    tmp: Path, state: StateFile
) -> None:
    tokens = ServiceTokens(state)
    register = Register(state, SigningKeys(tmp))
    access = Access(register)
    first = tokens.first(tmp).text
    (tmp / "token").unlink()
    second = tokens.first(tmp).text
    assert access.known(f"Bearer {first}") is None
    assert access.known(f"Bearer {second}") is not None
    for configured in ("word-one", "word-two", "", "word-one"):
        tokens.first(tmp, configured)
        for word in ("word-one", "word-two"):
            assert bool(access.known(f"Bearer {word}")) == (word == configured)
    assert access.known(f"Bearer {second}") is not None
    register.close()


def test_a_token_that_a_crash_left_empty_is_made_again(tmp: Path, state: StateFile) -> None:
    (tmp / "token").touch()
    found = ServiceTokens(state).first(tmp)
    assert found.new
    assert (tmp / "token").read_text().strip() == found.text


def test_a_token_that_somebody_else_linked_is_refused(tmp: Path, state: StateFile) -> None:
    (tmp / "theirs").write_text("tts_known-to-somebody")
    (tmp / "token").symlink_to(tmp / "theirs")
    tmp.chmod(0o777)
    with pytest.raises(StartupError, match="got a link"):
        ServiceTokens(state).first(tmp)


def test_a_token_expires_and_its_last_use_is_kept(tmp: Path, state: StateFile) -> None:
    clock = Clock(1_000_000)
    tokens = ServiceTokens(state, clock)
    register = Register(state, SigningKeys(tmp), clock)
    text, made = tokens.new(ADA, "grafana", "api", 30)
    clock.advance_s(29 * DAY_S)
    assert register.find(text).expires_s == 1_000_000 + 30 * DAY_S
    uses = register.take_uses()
    assert uses == {made.id: clock()}
    tokens.used(uses)
    assert tokens.list()[0].used_s == clock()
    assert register.take_uses() == {}
    clock.advance_s(DAY_S)
    with pytest.raises(ApiError) as refused:
        Access(register).caller(text)
    assert refused.value.details == {"reason": "expired"}
    register.close()


def test_a_token_is_revoked_by_its_text_too_and_twice_is_no_mistake(state: StateFile) -> None:
    tokens = ServiceTokens(state)
    text, made = tokens.new(ADA, "x", "api")
    assert tokens.revoke(ADA, text).id == made.id
    assert tokens.revoke(ADA, made.id).revoked_s is not None
    with pytest.raises(ApiError) as refused:
        tokens.revoke(ADA, "nobody")
    assert code_of(refused) == (404, "not_found")


# ---------------------------------------------------------------- sessions, by the clock


class World:
    """Sessions of one user over a state file, and a clock."""

    def __init__(self, directory: Path, state: StateFile) -> None:
        self.clock = Clock(1_000_000)
        self.people = People(state, self.clock)
        self.keys = SigningKeys(directory, self.clock)
        self.sessions = Sessions(state, self.people, self.keys, self.clock, self.clock)
        self.ada = self.people.add(ADA, "ada", "x", Role.ADMIN)


@pytest.fixture
def world(tmp: Path, state: StateFile) -> World:
    return World(tmp, state)


def test_a_session_that_is_not_used_for_a_week_has_ended(world: World) -> None:
    refresh = world.sessions.begin(world.ada).refresh
    world.clock.advance_s(IDLE_S - 1)
    refresh = world.sessions.renew(refresh).refresh
    world.clock.advance_s(IDLE_S)
    with pytest.raises(ApiError, match="expired"):
        world.sessions.renew(refresh)
    world.sessions.tidy()
    with pytest.raises(ApiError, match="has ended"):
        world.sessions.renew(refresh)


def test_a_session_ends_after_a_month_however_much_it_is_used(world: World) -> None:
    begun_s, refresh = world.clock(), world.sessions.begin(world.ada).refresh
    for _ in range(29):
        world.clock.advance_s(DAY_S)
        refresh = world.sessions.renew(refresh).refresh
    world.clock.now_s = begun_s + SESSION_S
    with pytest.raises(ApiError, match="expired"):
        world.sessions.renew(refresh)


def test_a_user_has_twenty_sessions_and_the_next_ends_the_oldest(
    world: World, state: StateFile
) -> None:
    texts = []
    for _ in range(21):
        world.clock.advance_s(1)
        texts.append(world.sessions.begin(world.ada).refresh)
    with pytest.raises(ApiError, match="has ended"):
        world.sessions.renew(texts[0])
    assert all(world.sessions.renew(text) for text in texts[1:])
    assert state.rows("SELECT count(*) FROM login_session") == [(20,)]


def test_a_log_in_that_was_overtaken_by_a_change_begins_nothing(world: World) -> None:
    world.people.change(ADA, world.ada.id, password="y")
    with pytest.raises(ApiError) as refused:
        world.sessions.begin(world.ada)
    assert code_of(refused) == (401, "unauthorized")


def test_what_has_expired_is_forgotten(world: World, state: StateFile) -> None:
    issued = world.sessions.begin(world.ada)
    world.sessions.end(Caller("ada", Role.ADMIN), issued.refresh)
    world.sessions.begin(world.ada)
    world.sessions.tidy()
    counts = "SELECT (SELECT count(*) FROM revoked), (SELECT count(*) FROM login_session)"
    assert state.rows(counts) == [(1, 1)]
    world.clock.advance_s(SESSION_S)
    world.sessions.tidy()
    assert state.rows(counts) == [(0, 0)]


def test_a_clock_that_is_ahead_for_a_while_ends_no_session(state: StateFile, tmp: Path) -> None:
    wall, steady = Clock(), Clock()
    people = People(state)
    ada = people.add(ADA, "ada", "x", Role.ADMIN)
    sessions = Sessions(state, people, SigningKeys(tmp), wall, steady)
    text = sessions.begin(ada).refresh
    for _ in range(60):
        wall.advance_s(60)
        steady.advance_s(60)
        sessions.tidy()
    wall.advance_s(400 * 86_400)
    for _ in range(60):
        wall.advance_s(60)
        steady.advance_s(60)
        sessions.tidy()
    with pytest.raises(ApiError, match="expired"):
        sessions.renew(text)
    wall.advance_s(-400 * 86_400)
    sessions.tidy()
    assert sessions.renew(text).person.name == "ada"


def test_an_access_token_needs_its_session_also_when_its_revocation_is_forgotten(
    world: World, state: StateFile, tmp: Path
) -> None:
    keys = SigningKeys(tmp)
    sessions, register = Sessions(state, world.people, keys), Register(state, keys)
    issued = sessions.begin(world.ada)
    caller = register.find(issued.access).caller
    assert register.find(issued.access).caller == caller
    sessions.end(caller)
    with state.change() as connection:
        connection.execute("DELETE FROM revoked")
    with pytest.raises(CredentialError, match="revoked"):
        register.find(issued.access)
    register.close()
