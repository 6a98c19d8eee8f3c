"""An agent's name belongs to the key that first wrote with it."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.clock import Clock
from support.processes.servers import Collector
from support.stores.badrows import plant
from support.stores.batches import Connect, a_batch, key_of, point_of
from trimtab_collector.auth import owners
from trimtab_collector.auth.keyring import KeyRing
from trimtab_collector.auth.keys import AgentKey, KeyFile
from trimtab_collector.auth.owners import AgentOwners
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile
from trimtab_core.batches import CLOCK_HEADER
from trimtab_core.errors import SettingsError


@dataclass
class House:
    """Keys and owners of a directory, with a clock that stands."""

    directory: Path
    clock: Clock
    file: KeyFile
    keys: KeyRing
    state: StateFile
    owners: AgentOwners

    def key(self, environments: str = "", services: str = "", agents: str = "*") -> AgentKey:
        """Make a key; scopes and agents are words, no agents: whoever writes first."""
        text, _ = self.file.new("", environments.split(), services.split(), agents.split())
        key = self.keys.find(text)
        assert key is not None
        return key

    def write(self, agent: str, key: AgentKey) -> None:
        """Do what an accepted batch does; a key is what it is by now."""
        key = self.keys.valid(key.id) or key
        if not self.owners.check(agent, key):
            self.owners.claim(agent, key)

    def revoke(self, key: AgentKey) -> None:
        self.file.revoke(key.id)
        self.clock.now_s += 2
        self.keys.find("ttk_" + "0" * 12 + "_" + "0" * 64)

    def restart(self) -> None:
        """Read what was kept, as a collector does that starts."""
        self.owners = AgentOwners(self.state, self.keys, self.clock)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    clock, state, file = Clock(1_000_000.0), StateFile(tmp_path), KeyFile(tmp_path)
    keys = KeyRing(tmp_path, clock)
    yield House(tmp_path, clock, file, keys, state, AgentOwners(state, keys, clock))
    keys.close()
    state.close()


@pytest.mark.parametrize(
    ("owner", "other", "may"),
    [
        (("", ""), ("", ""), True),
        (("", ""), ("prod", ""), False),
        (("", ""), ("", "shop"), False),
        (("prod", ""), ("", ""), True),
        (("prod", ""), ("prod", ""), True),
        (("prod", ""), ("prod test", ""), True),
        (("prod test", ""), ("prod", ""), False),
        (("prod", "shop"), ("prod", ""), True),
        (("prod", ""), ("prod", "shop"), False),
        (("prod", ""), ("test", ""), False),
    ],
)
def test_another_key_writes_as_an_agent_when_it_may_write_as_much(
    house: House, owner: tuple[str, str], other: tuple[str, str], may: bool
) -> None:
    house.write("web-1", house.key(*owner))
    if may:
        house.write("web-1", house.key(*other))
    else:
        with pytest.raises(
            ApiError, match=r"expected key .* which agent 'web-1' belongs to"
        ) as told:
            house.write("web-1", house.key(*other))
        assert (told.value.status, told.value.code) == (403, "forbidden")


def test_a_wider_key_takes_a_name_back(house: House) -> None:
    thief, mine = house.key("test"), house.key()
    house.write("web-1", thief)
    house.write("web-1", mine)
    with pytest.raises(ApiError):
        house.write("web-1", thief)


def test_a_name_is_free_when_its_key_is_revoked_or_a_day_after_its_last_batch(
    house: House,
) -> None:
    wide, narrow = house.key(), house.key("prod")
    for agent in ("web-1", "web-2"):
        house.write(agent, wide)
    house.clock.now_s += 86_000
    house.write("web-1", wide)
    house.clock.now_s += 1000
    house.write("web-2", narrow)
    with pytest.raises(ApiError):
        house.write("web-1", narrow)
    house.revoke(wide)
    house.write("web-1", narrow)


def test_owners_outlive_a_restart_and_are_forgotten_after_a_day(house: House) -> None:
    wide, narrow = house.key(), house.key("prod")
    house.write("web-1", wide)
    house.owners.save()
    house.restart()
    with pytest.raises(ApiError):
        house.write("web-1", narrow)
    # An agent that goes on writing is not forgotten by what was kept of its first batch.
    house.clock.now_s += 80_000
    house.write("web-1", wide)
    house.owners.save()
    house.clock.now_s += 80_000
    house.restart()
    with pytest.raises(ApiError):
        house.write("web-1", narrow)
    house.clock.now_s += 80_000
    house.owners.save()
    assert house.state.rows("SELECT * FROM agent_owner") == []
    house.write("web-1", narrow)


def test_a_key_with_a_scope_fills_no_table(house: House) -> None:
    narrow, wide = house.key("prod"), house.key()
    for number in range(owners._MAX_NEW):
        house.write(f"a-{number}", narrow)
    with pytest.raises(ApiError, match="expected up to 400 new agents an hour") as told:
        house.write("one-more", narrow)
    assert told.value.status == 429
    # Those that are there go on, and other keys too.
    house.write("a-0", narrow)
    for number in range(owners._MAX_NEW + 1):
        house.write(f"b-{number}", wide)
    house.clock.now_s += 3601
    house.write("one-more", narrow)


def test_owners_are_bounded(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owners, "_MAX_AGENTS", 10)
    wide = house.key()
    for number in range(30):
        house.write(f"a-{number}", wide)
    assert len(house.owners._owned) == 10
    house.owners.save()
    house.restart()
    assert len(house.owners._owned) == 10


def test_a_file_that_cannot_be_written_is_a_trouble_and_nothing_is_lost(house: House) -> None:
    wide = house.key()
    house.write("web-1", wide)
    with house.state.change() as connection:
        connection.execute("ALTER TABLE agent_owner RENAME TO away")
    house.owners.stop()
    assert "no such table" in house.owners.trouble
    with house.state.change() as connection:
        connection.execute("ALTER TABLE away RENAME TO agent_owner")
    house.owners.stop()
    assert house.owners.trouble == ""
    assert house.state.rows("SELECT agent, key FROM agent_owner") == [("web-1", wide.id)]


def test_a_key_is_of_the_agent_that_writes_with_it_first(house: House) -> None:
    key, other = house.key(agents=""), house.key(agents="")
    house.write("web-1", key)
    house.write("web-2", other)
    for agent, foreign in (("web-2", key), ("web-1", other), ("web-3", key)):
        with pytest.raises(ApiError, match=f"which key {foreign.id} is for") as told:
            house.write(agent, foreign)
        assert told.value.status == 403
    house.write("web-1", key)
    house.owners.save()
    assert [each.agent for each in house.file.list()] == ["web-1", "web-2"]


def test_a_new_key_takes_no_name_of_a_key_that_is_good_however_long_it_was_silent(
    house: House,
) -> None:
    mine, fresh = house.key("prod", agents=""), house.key(agents="")
    house.write("web-1", mine)
    house.owners.save()
    house.clock.now_s += 30 * 86_400
    house.owners.save()
    house.restart()
    with pytest.raises(ApiError, match=r"which agent 'web-1' belongs to"):
        house.write("web-1", fresh)
    house.revoke(mine)
    house.write("web-1", fresh)


def test_a_key_for_patterns_writes_as_those_alone(house: House) -> None:
    fleet = house.key(agents="web-* db-?")
    for agent in ("web-1", "web-", "db-1"):
        house.write(agent, fleet)
    for agent in ("db-10", "xweb-1", "WEB-1"):
        with pytest.raises(ApiError, match="which key"):
            house.write(agent, fleet)


def test_a_key_that_is_given_away_is_of_the_new_agent_alone(house: House) -> None:
    key, named = house.key(agents=""), house.key(agents="web-1")
    house.write("web-1", key)
    house.owners.save()
    house.file.rebind(key.id)
    house.clock.now_s += 1
    house.write("web-2", key)
    with pytest.raises(ApiError):
        house.write("web-1", key)
    # The name that it had is free.
    house.write("web-1", named)
    house.file.rebind(key.id, ["web-3"])
    house.clock.now_s += 1
    house.write("web-3", key)
    with pytest.raises(ApiError):
        house.write("web-2", key)
    for names in ([""], ["x" * 257], ["a\nb"], ["x"] * 1 + [f"a{n}" for n in range(100)]):
        with pytest.raises(SettingsError, match="agent"):
            house.file.rebind(key.id, names)


def test_of_two_agents_that_begin_at_once_with_one_key_one_gets_it(house: House) -> None:
    key = house.key(agents="")
    assert not house.owners.check("web-1", key)
    assert not house.owners.check("web-2", key)
    house.owners.claim("web-1", key)
    with pytest.raises(ApiError):
        house.owners.claim("web-2", key)


def test_keys_of_an_earlier_version_go_on_writing_as_any_agent(tmp_path: Path) -> None:
    text, _ = KeyFile(tmp_path).new()
    with closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as file:
        for column in ("agents", "agent", "probes", "crc"):
            file.execute(f"ALTER TABLE agent_key DROP COLUMN {column}")
    keys = KeyRing(tmp_path)
    key = keys.find(text)
    keys.close()
    assert key is not None
    assert (key.agents, key.is_free, key.is_of("web-7")) == (("*",), False, True)


@pytest.mark.parametrize(
    "damage",
    [
        "environments = 'no json'",
        "services = '[1]'",
        "created_s = 'x'",
        "name = CAST(x'ff' AS TEXT)",
    ],
)
def test_a_key_that_cannot_be_read_costs_itself(house: House, damage: str) -> None:
    bad, good = house.key(), house.key()
    with closing(house.file.open()) as file:
        plant(file, f"UPDATE agent_key SET {damage} WHERE id = ?", (bad.id,))
    house.clock.now_s += 1
    assert house.keys.valid(good.id) == good
    lost = house.keys.valid(bad.id) is None
    # Damaged bytes of a name cost a character.
    assert house.keys.unreadable == int(lost) == int("name" not in damage)
    assert good in house.file.list()
    # It can be revoked like any other.
    house.file.revoke(good.id)
    again = KeyRing(house.directory)
    assert again.valid(good.id) is None
    again.close()


def test_a_file_that_cannot_be_read_for_now_leaves_the_keys_as_they_were(house: House) -> None:
    key = house.key()
    with closing(sqlite3.connect(house.directory / "keys.db", isolation_level=None)) as file:
        file.execute("ALTER TABLE agent_key RENAME TO away")
        house.clock.now_s += 1
        assert house.keys.valid(key.id) == key
        assert "no such table" in house.keys.trouble
        file.execute("ALTER TABLE away RENAME TO agent_key")
    house.clock.now_s += 1
    assert house.keys.valid(key.id) == key
    assert house.keys.trouble == ""


def test_a_stranger_neither_writes_nor_lies_about_the_clock_of_an_agent(
    collector: Collector, connect: Connect, key: str
) -> None:
    own, stranger = connect(key), connect(collector.new_key(["evil"]))
    points = {key_of(service="shop", environment="prod"): point_of([1_000])}
    assert own.post(a_batch(0, points, agent="agent-prod"))[0] == 202
    evil = {key_of(service="shop", environment="evil"): point_of([1_000])}
    stranger.more = {CLOCK_HEADER: f"{time.time() + 5000:.3f}"}
    status, body = stranger.post(a_batch(1, evil, agent="agent-prod"))
    assert (status, body["error"]["code"]) == (403, "forbidden")
    assert "agent-prod" in body["error"]["message"]
    assert stranger.commands("agent-prod")[0] == 403
    assert "agent-prod" not in collector.api.get("/health")["clockSkewSeconds"]
    # The owner is not disturbed, and an own name is free.
    assert own.post(a_batch(1, points, agent="agent-prod"))[0] == 202
    stranger.more = {}
    assert stranger.post(a_batch(0, evil, agent="agent-evil"))[0] == 202
