"""A clock that is wrong for a while costs nobody's history."""

from pathlib import Path

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.storage.sqlite.ageclock import AgeClock
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import Selection

NOON = 1_700_006_400
DAY_S = 86_400


def test_a_jump_ahead_is_believed_after_a_day_and_one_back_at_once() -> None:
    wall, steady = Clock(NOON), Clock(0)
    ages = AgeClock(wall, steady)

    def passes(seconds: float) -> None:
        wall.advance_s(seconds)
        steady.advance_s(seconds)

    passes(10)
    assert ages() == NOON + 10
    wall.advance_s(3_000)
    assert ages() == NOON + 3_010
    wall.advance_s(50 * 365 * DAY_S)
    assert ages() == NOON + 3_010
    passes(DAY_S - 1)
    assert ages() == NOON + 3_010 + DAY_S - 1
    wall.advance_s(-50 * 365 * DAY_S)
    assert ages() == wall()
    wall.advance_s(-DAY_S)
    assert ages() == wall()
    wall.advance_s(2 * 3_600)
    assert ages() == wall() - 2 * 3_600
    passes(DAY_S - 60)
    wall.advance_s(50 * 365 * DAY_S)
    # A second jump is not believed with the first one.
    passes(120)
    assert ages() < wall() - 49 * 365 * DAY_S
    wall.advance_s(-50 * 365 * DAY_S - 3 * DAY_S)
    assert ages() == wall()
    wall.advance_s(20 * DAY_S)
    assert ages() < wall()
    passes(DAY_S)
    assert ages() == wall()


def test_after_a_long_pause_time_goes_on_from_the_newest_data() -> None:
    wall, steady = Clock(NOON), Clock(0)
    ages = AgeClock(wall, steady, NOON - 10 * DAY_S)
    assert ages() == NOON - 10 * DAY_S
    wall.advance_s(DAY_S)
    steady.advance_s(DAY_S)
    assert ages() == wall()
    assert AgeClock(wall, steady, NOON + 90 * DAY_S)() == wall()


def test_a_clock_in_2100_deletes_nothing_and_what_comes_after_it_is_kept(tmp_path: Path) -> None:
    wall, steady = Clock(NOON), Clock(0)

    def passes(seconds: float) -> None:
        wall.advance_s(seconds)
        steady.advance_s(seconds)

    store = SQLiteStore(tmp_path, clock=wall, steady=steady)
    key = key_of("/orders")
    early = [a_batch(seq, {key: point_of([9])}, window_s=NOON + 10 * seq) for seq in range(360)]
    late = [
        a_batch(400 + seq, {key: point_of([9])}, window_s=NOON + 10 * seq + 7200)
        for seq in range(360)
    ]
    append(store, *early)
    passes(7_200)
    store.compact(wall.now_s)
    files = {path.name for path in tmp_path.glob("1*.db")}
    assert files
    ahead_s = 76 * 365 * DAY_S
    wall.advance_s(ahead_s)
    store.compact(wall.now_s)
    wall.advance_s(-ahead_s)
    assert {path.name for path in tmp_path.glob("1*.db")} == files
    # Repeats are known, and what comes now is merged into every tier.
    assert append(store, early[0]) == [True]
    append(store, *late)
    passes(2 * DAY_S)
    store.compact(wall.now_s)
    for edges in ((NOON, NOON + 3_600), (NOON + 7_200, NOON + 10_800)):
        rows = store.read(Selection(edges))
        assert int(rows.columns.value("requests").sum()) == 360
    store.close()


def test_a_doubt_lasts_over_restarts_and_ends_a_day_after_it_began() -> None:
    wall, steady = Clock(NOON), Clock(0)
    ages = AgeClock(wall, steady)
    wall.advance_s(20 * DAY_S)
    assert ages() == NOON
    for _ in range(24):
        # Each run counts, and what lies between them does not.
        again = Clock(1000)
        ages = AgeClock(wall, again, int(wall.now_s), ages.facts())
        assert ages() < NOON + 2 * DAY_S
        wall.advance_s(3599)
        again.advance_s(3599)
        assert ages() < NOON + 2 * DAY_S
        wall.advance_s(30)
    again.advance_s(60)
    wall.advance_s(60)
    assert ages() == wall()
    # Believed once, it is so for the next run, too.
    assert AgeClock(wall, Clock(0), NOON, ages.facts())() == wall()


def test_a_clock_that_is_set_right_or_jumps_again_ends_a_doubt_or_begins_another() -> None:
    wall, steady = Clock(NOON), Clock(0)
    ages = AgeClock(wall, steady)
    wall.advance_s(20 * DAY_S)
    assert ages() == NOON
    for clock in (wall, steady):
        clock.advance_s(DAY_S - 10)
    assert ages() == NOON + DAY_S - 10
    facts = ages.facts()
    right = Clock(NOON + DAY_S)
    assert AgeClock(right, Clock(0), None, facts)() == right()
    further, again = Clock(wall.now_s + 20 * DAY_S), Clock(0)
    ages = AgeClock(further, again, None, facts)
    for clock in (further, again):
        clock.advance_s(DAY_S - 10)
    # The first one has been so for a day by now, the second has not.
    assert ages() == NOON + 22 * DAY_S - 20
    for clock in (further, again):
        clock.advance_s(10)
    assert ages() == further()


def test_a_machine_that_is_off_each_night_is_behind_by_two_nights_at_most() -> None:
    facts: dict[str, int] = {}
    wall = Clock(NOON)
    for _ in range(60):
        steady = Clock(0)
        ages = AgeClock(wall, steady, None, facts)
        for _ in range(16):
            for clock in (wall, steady):
                clock.advance_s(3600)
            assert wall() - 16 * 3600 <= ages() <= wall()
        facts = ages.facts()
        wall.advance_s(8 * 3600)


def test_a_machine_that_starts_all_the_time_is_behind_by_days_and_not_for_ever() -> None:
    facts: dict[str, int] = {}
    wall = Clock(NOON)
    for _ in range(400):
        steady = Clock(0)
        ages = AgeClock(wall, steady, None, facts)
        for clock in (wall, steady):
            clock.advance_s(2 * 3600)
        assert wall() - 4 * DAY_S <= ages() <= wall()
        facts = ages.facts()
        wall.advance_s(2 * 3600)


@pytest.mark.parametrize("days", [3, 20, 500, 76 * 365])
def test_what_is_stored_by_a_wrong_clock_does_not_vouch_for_it_after_a_restart(
    tmp: Path, days: int
) -> None:
    def run(now_s: int, windows: list[int]) -> int:
        """Start, append a batch for each window, let two minutes pass, stop; return what is there.

        Each of the requests at noon counts.
        """
        wall, steady = Clock(now_s), Clock(0)
        store = SQLiteStore(tmp, clock=wall, steady=steady)
        key = key_of("/orders")
        append(store, *(a_batch(t // 10, {key: point_of([9])}, window_s=t) for t in windows))
        for _ in range(4):
            wall.advance_s(30)
            steady.advance_s(30)
            store.compact(wall.now_s)
        # The finest tier goes first: it alone answers about ten seconds.
        rows = store.read(Selection(tuple(range(NOON, NOON + 3610, 10))))
        store.close()
        return int(rows.columns.value("requests").sum())

    assert run(NOON + 7200, list(range(NOON, NOON + 3600, 10))) == 360
    wrong_s = NOON + days * DAY_S
    assert run(wrong_s, [wrong_s - 20]) == 360
    assert run(wrong_s + 150, []) == 360
    assert run(wrong_s + 300, [wrong_s + 280]) == 360
    # Another wrong clock, after the first was set right: what it stored is of the future.
    assert run(NOON + 7500, [NOON + 7400]) == 360
    assert run(NOON + 20 * DAY_S, []) == 360
    assert run(NOON + 7800, []) == 360
