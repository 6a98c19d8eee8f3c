"""An agent's name belongs to the key that first wrote with it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.clock import Clock
from support.processes.servers import Collector
from support.stores.batches import Connect, a_batch, key_of, point_of
from trimtab_collector.auth import owners
from trimtab_collector.auth.keyring import KeyRing
from trimtab_collector.auth.keys import AgentKey, KeyFile
from trimtab_collector.auth.owners import AgentOwners
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile
from trimtab_core.batches import CLOCK_HEADER


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
