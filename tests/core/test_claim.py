"""A directory belongs to one process at a time, and a refusal says what to do."""

import fcntl
import os
from pathlib import Path

import pytest

from trimtab_core.claim import claim
from trimtab_core.errors import StartupError

INSTEAD = "set data_dir to another directory"


def claimed(directory: Path) -> int:
    return claim(directory, what="the spool", process="agent", instead=INSTEAD)


def test_a_directory_is_made_for_its_owner_alone_and_held_until_it_is_closed(tmp: Path) -> None:
    directory = tmp / "deep" / "down"
    held = claimed(directory)
    assert directory.stat().st_mode & 0o777 == 0o700
    with pytest.raises(StartupError) as refused:
        claimed(directory)
    assert str(refused.value) == (
        f"expected a directory of its own for the spool, but another agent uses "
        f"{str(directory)!r}; stop that one or {INSTEAD}"
    )
    os.close(held)
    os.close(claimed(directory))


def test_a_claim_leaves_no_file_behind(tmp: Path) -> None:
    held = claimed(tmp / "data")
    assert os.listdir(tmp / "data") == []
    os.close(held)


def test_what_is_no_directory_is_refused_with_what_to_do(tmp: Path) -> None:
    (tmp / "file").write_text("")
    with pytest.raises(StartupError, match=rf"expected a directory for the spool .*; {INSTEAD}"):
        claimed(tmp / "file")


def test_a_file_system_without_locks_is_not_taken_for_another_process(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, operation: int) -> None:  # as NFS does for a directory
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StartupError, match=r"can be locked, got .*: Bad file descriptor; .*disk"):
        claimed(tmp / "data")
    monkeypatch.undo()
    os.close(claimed(tmp / "data"))
