"""A keys.db that is empty or garbage: what was lost is said, and what to do."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.auth.keyring import KeyRing
from trimtab_collector.auth.keys import KeyFile
from trimtab_collector.auth.owners import AgentOwners
from trimtab_collector.statefile import StateFile
from trimtab_core.errors import StartupError

SETTINGS = {
    "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
    "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
}


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFile]:
    found = StateFile(tmp_path, (AUDIT,))
    yield found
    found.close()


def emptied(directory: Path) -> None:
    for path in directory.glob("keys.db*"):
        path.unlink()
    (directory / "keys.db").touch()


def test_an_empty_file_of_keys_is_told_until_there_is_a_key(
    tmp_path: Path, state: StateFile
) -> None:
    _, key = KeyFile(tmp_path).new("web")
    keys = KeyRing(tmp_path)
    owners = AgentOwners(state, keys)
    owners.claim("web-1", key)
    owners.save()
    keys.close()
    emptied(tmp_path)
    for _ in range(2):
        # Also at the next start, when the file has tables again.
        keys = KeyRing(tmp_path)
        owners = AgentOwners(state, keys)
        assert "keys.db has no key, 1 had been made" in owners.lost
        keys.close()
    KeyFile(tmp_path).new("web")
    keys = KeyRing(tmp_path)
    assert AgentOwners(state, keys).lost == ""
    keys.close()


def test_no_keys_are_no_loss_where_none_were_made(tmp_path: Path, state: StateFile) -> None:
    keys = KeyRing(tmp_path)
    assert AgentOwners(state, keys).lost == ""
    keys.close()


def test_a_collector_whose_file_of_keys_is_empty_is_degraded() -> None:
    with short_dir() as directory, Collector(directory, **SETTINGS) as process:
        process.start()
        with Sender(process.port, process.new_key()) as sender:
            sender.insist(a_batch(1, {key_of("/"): point_of([1])}, window_s=window()))
        client = Client(process.port)
        client.login()
        assert client.ask("GET", "/health").data["state"]["trouble"] is None
        process.stop()
        emptied(process.data)
        process.start()
        client = Client(process.port)
        client.login()
        health = client.ask("GET", "/health").data
        assert health["status"] == "degraded"
        assert "put back a backup" in health["state"]["trouble"]
        assert "keys are lost" in process.output()


def test_garbage_in_the_file_of_keys_is_not_said_to_be_the_directory(tmp_path: Path) -> None:
    (tmp_path / "keys.db").write_bytes(b"garbage " * 1024)
    with pytest.raises(StartupError, match="put back a backup of that file"):
        KeyFile(tmp_path)
