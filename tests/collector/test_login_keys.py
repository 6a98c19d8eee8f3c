"""Where everything begins: the keys that sign access tokens, and the first admin."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.clock import Clock
from trimtab_collector.auth.people import People
from trimtab_collector.auth.setup import SETUP_S, SetupLink, first_admin
from trimtab_collector.auth.signing import ACCESS_S, LEEWAY_S, SigningKeys
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile
from trimtab_core.errors import SettingsError, StartupError

ADA = Caller("ada", Role.ADMIN)


@pytest.fixture
def state(tmp: Path) -> Iterator[StateFile]:
    found = StateFile(tmp)
    yield found
    found.close()


def code_of(refused: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return refused.value.status, refused.value.code


# ---------------------------------------------------------------- keys that sign


def test_a_replaced_key_is_known_for_as_long_as_a_token_of_its_may_live(tmp: Path) -> None:
    clock = Clock(1_000_000)
    keys = SigningKeys(tmp, clock)
    elsewhere = SigningKeys(tmp, clock)
    old = keys.current()
    new_id = keys.rotate()
    assert elsewhere.current().id == new_id
    clock.advance_s(ACCESS_S + LEEWAY_S)
    assert elsewhere.find(old.id) is not None
    clock.advance_s(1)
    assert elsewhere.find(old.id) is None
    keys.rotate()
    assert old.id not in (tmp / "login-keys").read_text()


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", "no json", '[{"id":"a","secret":"00","made_s":1}]', '[{"id":"a"}]'],
    ids=["no key", "no list", "no JSON", "a short key", "no secret"],
)
def test_a_file_of_keys_that_cannot_be_used_stops_the_start(tmp: Path, text: str) -> None:
    (tmp / "login-keys").write_text(text)
    with pytest.raises(StartupError, match="delete the file"):
        SigningKeys(tmp)


def test_a_file_of_keys_that_a_crash_left_empty_is_made_again(tmp: Path) -> None:
    (tmp / "login-keys").touch()
    assert SigningKeys(tmp).current() == SigningKeys(tmp).current()


def test_a_file_of_keys_that_breaks_meanwhile_changes_nothing(tmp: Path) -> None:
    keys = SigningKeys(tmp)
    key = keys.current()
    (tmp / "login-keys").write_text("broken")
    assert keys.current() == key
    (tmp / "login-keys").unlink()
    assert keys.find(key.id) == key


# ---------------------------------------------------------------- the first admin


def test_the_link_is_good_for_an_hour_and_while_there_is_nobody(state: StateFile) -> None:
    clock = Clock()
    found = People(state)
    link = SetupLink(found, clock)
    link.check(link.token)
    for text in ("", "x", link.token[:-1]):
        with pytest.raises(ApiError) as refused:
            link.check(text)
        assert code_of(refused) == (401, "unauthorized")
    clock.advance_s(SETUP_S)
    with pytest.raises(ApiError, match="for an hour"):
        link.check(link.token)
    found.add(ADA, "ada", "x", Role.ADMIN)
    assert SetupLink(found, clock).token == ""
    with pytest.raises(ApiError):
        SetupLink(found, clock).check("")


def test_the_admin_of_the_settings_is_added_once(state: StateFile) -> None:
    found = People(state)
    assert not first_admin(found, "ada", "")
    with pytest.raises(SettingsError, match="admin_password"):
        first_admin(found, "ada", "short")
    assert first_admin(found, "ada", "correct horse battery")
    assert not first_admin(found, "eve", "correct horse battery")
    assert [(each.name, each.role) for each in found.list()] == [("ada", Role.ADMIN)]
