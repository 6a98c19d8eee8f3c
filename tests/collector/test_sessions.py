"""Refresh tokens: good for one use, but for answers that are lost and tabs that share a cookie."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clock import Clock
from trimtab_collector.auth.audit import AuditTrail
from trimtab_collector.auth.people import PEOPLE, People
from trimtab_collector.auth.sessions import GRACE_S, Sessions
from trimtab_collector.auth.signing import SigningKeys
from trimtab_collector.contract.callers import ITSELF, NOBODY, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import Schema, StateFile


class World:
    """Sessions of a user by a clock that a test moves."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock(1_800_000_000.0)
        self.state = StateFile(directory)
        people = People(self.state, self.clock)
        self.ada = people.add(ITSELF, "ada", "hash", Role.ADMIN)
        self.sessions = Sessions(self.state, people, SigningKeys(directory), self.clock)

    def begin(self) -> str:
        return self.sessions.begin(self.ada).refresh

    def renew(self, text: str) -> str:
        return self.sessions.renew(text).refresh

    def has_ended(self, text: str) -> bool:
        """Tell whether the session of a token has ended, of which nothing is used up."""
        found = self.state.rows(
            "SELECT count(*) FROM login_session WHERE lookup = ?", (text.split("_")[1],)
        )
        return found == [(0,)]

    def refuse_as_copied(self, text: str) -> None:
        """Fail unless a token ends its session, and the audit trail says so."""
        with pytest.raises(ApiError, match="used before, so the session has ended") as caught:
            self.renew(text)
        assert (caught.value.status, caught.value.code) == (401, "unauthorized")
        assert self.has_ended(text)
        entries, _ = AuditTrail(self.state).entries(0, 1e12, 10, action="session")
        assert [(each.action, each.subject) for each in entries] == [("session.reused", "ada")]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.state.close()


def test_who_did_not_get_the_answer_may_ask_again_within_half_a_minute(world: World) -> None:
    first = world.begin()
    lost = world.renew(first)
    world.clock.advance_s(GRACE_S)
    again = world.renew(first)
    assert len({first, lost, again}) == 3
    assert world.renew(again)


@pytest.mark.parametrize("used", [0, 1, 2])
def test_tabs_that_share_a_token_all_get_one_and_any_of_them_is_good(
    world: World, used: int
) -> None:
    first = world.begin()
    given = [world.renew(first) for _ in range(3)]
    world.clock.advance_s(900)
    assert world.renew(given[used])


def test_when_one_of_them_is_used_the_others_and_the_one_before_end_the_session(
    world: World,
) -> None:
    for copied in (0, 1):
        first = world.begin()
        given = [world.renew(first), world.renew(first)]
        world.renew(given[1])
        with pytest.raises(ApiError, match="used before"):
            world.renew((first, given[0])[copied])
        assert world.has_ended(first)


def test_a_token_that_is_used_again_later_ends_the_session(world: World) -> None:
    first = world.begin()
    world.renew(first)
    world.clock.advance_s(GRACE_S + 0.1)
    world.refuse_as_copied(first)


def test_uses_within_the_grace_do_not_prolong_it(world: World) -> None:
    first = world.begin()
    for _ in range(3):
        world.renew(first)
        world.clock.advance_s(GRACE_S / 2 - 1)
    world.clock.advance_s(5)
    world.refuse_as_copied(first)


def test_a_token_of_two_uses_ago_ends_the_session_at_once(world: World) -> None:
    first = world.begin()
    world.renew(world.renew(first))
    world.refuse_as_copied(first)


def test_a_clock_that_is_put_back_leaves_no_token_good_for_longer(world: World) -> None:
    first = world.begin()
    world.renew(first)
    world.clock.advance_s(-3_600)
    world.refuse_as_copied(first)


def test_one_token_gives_at_most_thirty_two_and_more_uses_end_nothing(world: World) -> None:
    first = world.begin()
    given = [world.renew(first) for _ in range(32)]
    with pytest.raises(ApiError, match="at most 32 uses") as caught:
        world.renew(first)
    assert (caught.value.status, caught.value.headers["Retry-After"]) == (429, "2")
    assert world.state.rows("SELECT length(siblings) FROM login_session") == [(31 * 32,)]
    assert world.renew(given[0])
    assert world.state.rows("SELECT length(siblings) FROM login_session") == [(0,)]


def test_any_of_the_tokens_of_a_session_ends_it_at_a_log_out(world: World) -> None:
    for which in range(3):
        first = world.begin()
        shown = [first, world.renew(first), world.renew(first)][which]
        assert world.sessions.end(NOBODY, shown) == 1
        assert world.has_ended(first)
        assert world.sessions.end(NOBODY, shown) == 0


def test_a_session_of_the_version_before_goes_on(tmp_path: Path) -> None:
    clock = Clock(1_800_000_000.0)
    state = StateFile(tmp_path, (Schema(PEOPLE.owner, PEOPLE.steps[:1]),))
    first = "ttf_" + "a" * 24 + "_" + "b" * 64
    digest, now_s = hashlib.sha256(b"b" * 64).digest(), clock()
    with state.change() as connection:
        connection.execute(
            "INSERT INTO person VALUES ('p', 'ada', 'ada', 'admin', 'x', 1, 0, NULL, NULL)"
        )
        connection.execute(
            "INSERT INTO login_session VALUES ('s', ?, 'p', ?, ?, ?, ?)",
            ("a" * 24, digest, now_s, now_s, now_s + 900),
        )
    sessions = Sessions(state, People(state, clock), SigningKeys(tmp_path), clock)
    lost = sessions.renew(first).refresh
    again = sessions.renew(first).refresh
    assert lost != again
    assert sessions.renew(again).person.name == "ada"
    state.close()


def test_strangers_who_guess_wait_for_no_change(world: World) -> None:
    """And keep none waiting: what they show is looked up without the lock of a writer."""
    other = StateFile(world.state.path.parent)
    with other.change():
        guessed = "ttf_" + "0" * 24 + "_" + "0" * 64
        with pytest.raises(ApiError, match="it has ended"):
            world.renew(guessed)
        assert world.sessions.end(NOBODY, guessed) == 0
    other.close()
