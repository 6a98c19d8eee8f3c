"""Files of agent and collector: whole or not there, of their own mode, and nobody else's."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lacking import lack
from trimtab_core.claim import claim
from trimtab_core.errors import StartupError
from trimtab_core.ownfiles import check_own, make_directory, read_own, touch_own, write_own

#: writes the files 0, 1, ... in processes that end, as by kill -9, before their nth call to the
#: file system, until one comes through; prints how many there were
_DYING = """
import os, sys
from pathlib import Path
from trimtab_core.ownfiles import write_own

left = 0

def dying(call):
    def instead(*arguments, **named):
        global left
        left -= 1
        if left < 0:
            os._exit(9)
        return call(*arguments, **named)
    return instead

for number in range(30):
    child = os.fork()
    if not child:
        left = number
        for name in ("open", "fchmod", "fsync", "rename", "listdir", "close"):
            setattr(os, name, dying(getattr(os, name)))
        write_own(Path(sys.argv[1], str(number)), "the new text\\n")
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(number + 1)
"""


@pytest.fixture
def open_to_all(tmp: Path) -> Path:
    """Return a directory in which everybody may write."""
    shared = tmp / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    return shared


@pytest.fixture
def mask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def given_away(path: Path) -> Path:
    """Make a path that of another user, which root alone may."""
    if os.geteuid():
        lack("only root can give a file to another user")
    os.chown(path, 12345, 12345, follow_symlinks=False)
    return path


@pytest.mark.parametrize("before", ["", "the old text\n"], ids=["no file", "a file"])
def test_a_writer_that_is_killed_at_any_call_leaves_the_file_before_or_the_new_one(
    tmp: Path, before: str
) -> None:
    if before:
        for number in range(30):
            (tmp / str(number)).write_text(before)
    done = subprocess.run(
        [sys.executable, "-c", _DYING, tmp], timeout=30, stdout=subprocess.PIPE, check=True
    )
    found = [read_own(tmp / str(number)) for number in range(int(done.stdout))]
    assert {*found} == {before.strip(), "the new text"}
    assert found[-1] == "the new text"


def test_a_file_and_its_name_are_on_the_disk_when_it_is_written(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(fd).st_mode) else "content")
        fsync(fd)

    def renamed(one: Path, other: Path) -> None:
        steps.append("name")
        rename(one, other)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    write_own(tmp / "token", "text")
    assert steps == ["content", "name", "directory"]


def test_what_a_killed_writer_leaves_is_cleared_by_a_later_one(tmp: Path) -> None:
    left, fresh = tmp / "token.part-0a", tmp / "token.part-0b"
    left.write_text("half")
    fresh.write_text("half")
    os.utime(left, (0, 0))
    write_own(tmp / "token", "text")
    assert sorted(path.name for path in tmp.iterdir()) == ["token", "token.part-0b"]


@pytest.mark.parametrize("left", [b"", b"\n", b"\0" * 80], ids=["empty", "a line", "zeros"])
def test_what_a_crash_left_empty_counts_as_no_file(tmp: Path, left: bytes) -> None:
    (tmp / "token").write_bytes(left)
    assert read_own(tmp / "token") == ""


def test_modes_are_set_whatever_the_mask(tmp: Path, mask: None) -> None:
    make_directory(tmp / "a" / "b")
    write_own(tmp / "a" / "written", "x")
    touch_own(tmp / "a" / "touched")
    os.close(claim(tmp / "c" / "d", what="a test", process="test", instead="stop"))
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp.rglob("*")}
    assert modes == dict.fromkeys("abcd", 0o700) | dict.fromkeys(("written", "touched"), 0o600)


def test_a_file_that_others_could_write_to_is_theirs_no_longer(tmp: Path) -> None:
    (tmp / "agent-id").write_text("host-1")
    (tmp / "agent-id").chmod(0o666)
    assert read_own(tmp / "agent-id") == "host-1"
    assert stat.S_IMODE((tmp / "agent-id").stat().st_mode) == 0o644


def test_a_link_where_others_may_write_is_refused_and_never_written_through(
    tmp: Path, open_to_all: Path
) -> None:
    (tmp / "target").write_text("of somebody")
    link = open_to_all / "token"
    link.symlink_to(tmp / "target")
    for use in (read_own, touch_own, check_own):
        with pytest.raises(StartupError, match="got a link: remove it, and let nobody else"):
            use(link)
    write_own(link, "new")
    assert (tmp / "target").read_text() == "of somebody"
    assert not link.is_symlink()


def test_a_link_in_a_directory_of_ones_own_is_followed(tmp: Path) -> None:
    (tmp / "target").write_text("mine")
    (tmp / "token").symlink_to(tmp / "target")
    assert read_own(tmp / "token") == "mine"


def test_a_pipe_is_refused_and_not_waited_for(open_to_all: Path) -> None:
    os.mkfifo(open_to_all / "token")
    with pytest.raises(StartupError, match="got something else"):
        read_own(open_to_all / "token")


@pytest.mark.parametrize("use", [read_own, touch_own, check_own])
def test_the_file_of_another_user_is_refused_where_others_may_write(
    open_to_all: Path, use: object
) -> None:
    assert callable(use)
    path = open_to_all / "token"
    path.write_text("tts_of_somebody")
    given_away(path)
    with pytest.raises(StartupError, match="got one of the user with the id 12345"):
        use(path)


def test_a_directory_or_a_link_to_one_of_another_user_is_refused(
    tmp: Path, open_to_all: Path
) -> None:
    theirs, link = open_to_all / "spool", open_to_all / "linked"
    theirs.mkdir()
    given_away(theirs)
    (tmp / "mine").mkdir()
    link.symlink_to(tmp / "mine")
    make_directory(link)  # a link of one's own: the directory is on another disk
    given_away(link)
    for path in (theirs, link):
        with pytest.raises(StartupError, match="expected a file or directory of this user"):
            claim(path, what="a test", process="test", instead="stop")


def test_root_uses_the_files_of_the_user_whose_directory_it_is(tmp: Path) -> None:
    theirs = tmp / "var"
    theirs.mkdir(mode=0o700)
    given_away(theirs)
    (theirs / "keys.db").touch()
    given_away(theirs / "keys.db")
    make_directory(theirs)
    touch_own(theirs / "keys.db")
