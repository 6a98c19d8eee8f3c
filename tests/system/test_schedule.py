"""The order of tests: what it names is there."""

from pathlib import Path

from support.schedule import FOLDERS, LONG

TESTS = Path(__file__).resolve().parents[1]


def test_each_file_that_comes_first_is_there_under_its_name_and_once() -> None:
    found = [path.name for path in TESTS.rglob("test_*.py") if path.name in LONG]
    assert sorted(found) == sorted(LONG)


def test_the_folders_are_those_that_have_tests() -> None:
    found = {path.parent.name for path in TESTS.glob("*/test_*.py")}
    assert found == {*FOLDERS}
