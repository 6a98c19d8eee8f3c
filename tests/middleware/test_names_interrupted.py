"""Tables of names that are used, interrupted or forked in the middle of a change lose nothing."""

import os
import threading
from typing import Any

import pytest

from support.clock import Clock
from trimtab.metrics.measures import Measures
from trimtab.tables import IDLE_S, NameTable
from trimtab_core.measures import COUNTER, OTHER


@pytest.fixture
def seconds() -> Clock:
    return Clock()


def full_table(seconds: Clock) -> NameTable[int, int]:
    """Return a table of a hundred names, half of them idle from the next `age` on."""
    table: NameTable[int, int] = NameTable(100, clock=seconds)
    for name in range(100):
        table.add(name, lambda name=name: name)  # type: ignore[misc]
    seconds.advance_s(IDLE_S)
    table.age()
    for name in range(50):
        table.get(name)
    seconds.advance_s(IDLE_S)
    return table


@pytest.mark.parametrize("change", ["age", "shed", "add"])
def test_what_runs_in_the_middle_of_a_change_reads_and_harms_nothing(
    seconds: Clock, change: str
) -> None:
    seen: list[Any] = []

    def is_busy(value: int) -> bool:
        # As a signal handler or finalizer, in the thread that makes the change.
        seen.append([table.get(name) for name in range(100)])
        seen.append([table.add(100, lambda: 100), table.shed()])
        table.age()
        table.start_over()
        return value == 50

    table = full_table(seconds)
    table._is_busy = is_busy
    if change == "shed":
        table.age()
        seen.clear()
    names = [*range(100)]
    gone = [] if change == "age" else [51]
    if change == "add":
        assert table.add(200, lambda: 200) == 200
        names.append(200)
    else:
        assert getattr(table, change)() is (True if change == "shed" else None)
    assert seen[0] == [*range(100)]
    assert seen[1] == [None, False]
    kept = [name for name in names if name not in gone]
    assert (sorted(table), len(table)) == (kept, len(kept))
    assert [table.get(name) for name in kept] == kept


def test_a_change_that_is_interrupted_loses_no_name(seconds: Clock) -> None:
    def is_busy(value: int) -> bool:
        if value == 75 and not done:
            raise KeyboardInterrupt
        return False

    done: list[bool] = []
    table = full_table(seconds)
    table._is_busy = is_busy
    with pytest.raises(KeyboardInterrupt):
        table.age()
    assert (len(table), sorted(table)) == (100, [*range(100)])
    done.append(True)
    table.age()
    assert table.shed()
    assert len(table) == 99


def test_the_child_of_a_fork_in_the_middle_of_a_change_has_all_names(seconds: Clock) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def is_busy(value: int) -> bool:
        if value == 75:
            inside.set()
            assert go_on.wait(10)
        return False

    table = full_table(seconds)
    table._is_busy = is_busy
    thread = threading.Thread(target=table.age)
    thread.start()
    assert inside.wait(10)
    child = os.fork()
    if not child:
        try:
            table.after_fork()
            go_on.set()
            table.age()
            os._exit(sorted(table) != [*range(100)] or not table.shed() or len(table) != 99)
        finally:
            os._exit(2)
    go_on.set()
    thread.join(10)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_name_that_is_asked_for_while_its_family_changes_goes_by_other(seconds: Clock) -> None:
    measures = Measures(seconds)
    family = measures.family("names", COUNTER, cap=3)
    held = [family.at((("name", str(number)),)) for number in range(3)]
    given: list[Any] = []
    age = family._found._is_busy

    def is_busy(measure: Any) -> bool:
        given.append(family.at((("name", "new"),)))
        return age(measure)

    family._found._is_busy = is_busy
    for _ in range(2):
        seconds.advance_s(IDLE_S)
        family.age()
    assert {measure.is_other for measure in given} == {True}
    assert measures.has_room()
    assert [family.at((("name", str(number)),)) for number in range(3)] == held
    given[0].add(1)
    assert [(key.attributes, delta.sum) for key, delta in measures.changed()] == [
        ((("name", OTHER),), 1)
    ]
