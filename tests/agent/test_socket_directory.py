"""Where the agent's socket may be: in a directory in which nobody else can put another one."""

import os
from pathlib import Path

import pytest

from support.lacking import lack
from trimtab_agent.sockets import bind_unix
from trimtab_core.config import parse_address
from trimtab_core.errors import StartupError


@pytest.mark.parametrize(("mode", "whose"), [(0o777, "all"), (0o770, "its group")])
def test_a_directory_that_others_may_write_to_is_refused(tmp: Path, mode: int, whose: str) -> None:
    place = tmp / "run"
    place.mkdir()
    place.chmod(mode)
    with pytest.raises(StartupError, match=f"writable by {whose}: chmod go-w"):
        bind_unix(parse_address(f"unix://{place}/a.sock"))


def test_a_directory_from_which_others_can_take_nothing_away_is_accepted(tmp: Path) -> None:
    place = tmp / "run"
    place.mkdir()
    place.chmod(0o1777)
    with bind_unix(parse_address(f"unix://{place}/a.sock")) as opened:
        assert os.stat(opened.getsockname()).st_mode & 0o777 == 0o660


def test_the_directory_of_another_user_is_refused(tmp: Path) -> None:
    if os.geteuid():
        lack("only root can give a directory to another user")
    place = tmp / "run"
    place.mkdir(mode=0o755)
    os.chown(place, 12345, 12345)
    with pytest.raises(StartupError, match="belongs to the user with the id 12345"):
        bind_unix(parse_address(f"unix://{place}/a.sock"))


def test_directories_are_made_for_this_user_alone_whatever_the_mask(tmp: Path) -> None:
    before = os.umask(0)
    try:
        bind_unix(parse_address(f"unix://{tmp}/x/y/a.sock")).close()
    finally:
        os.umask(before)
    assert [(tmp / each).stat().st_mode & 0o777 for each in ("x", "x/y")] == [0o700, 0o700]


def test_a_link_at_the_place_of_the_socket_is_refused(tmp: Path) -> None:
    (tmp / "a.sock").symlink_to(tmp / "nowhere")
    with pytest.raises(StartupError, match="there is another file"):
        bind_unix(parse_address(f"unix://{tmp}/a.sock"))
