"""How often one may try: per account and per address, before anything is hashed."""

import asyncio
import os
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support.clock import Clock
from trimtab_collector.auth.limits import LoginLimits
from trimtab_collector.auth.passwords import (
    LoginThreads,
    check_password,
    hash_password,
    is_password,
)
from trimtab_collector.auth.places import KnownPlaces, place_of
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.statefile import StateFile


def refused_for_s(limits: LoginLimits, address: str, account: str = "nobody") -> int:
    """Return for how long a try is refused, 0 when it is not; it counts as a failed one."""
    try:
        limits.begin(address, account)
    except ApiError as error:
        refused = error
    else:
        return 0
    assert (refused.status, refused.code) == (429, "too_many_tries")
    return int(refused.headers["Retry-After"])


def test_an_account_has_ten_failures_from_anywhere_and_then_one_in_thirty_seconds() -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    assert [refused_for_s(limits, f"192.0.2.{n}", "ada") for n in range(10)] == [0] * 10
    assert refused_for_s(limits, "192.0.2.99", "ada") == 30
    assert refused_for_s(limits, "192.0.2.99", "paul") == 0
    clock.advance_s(29)
    assert refused_for_s(limits, "192.0.2.99", "ada") == 1
    clock.advance_s(1)
    assert refused_for_s(limits, "192.0.2.99", "ada") == 0
    assert refused_for_s(limits, "192.0.2.99", "ada") == 30


def test_an_address_has_twenty_failures_for_whatever_account() -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    assert [refused_for_s(limits, "192.0.2.1", f"p{n}") for n in range(20)] == [0] * 20
    assert refused_for_s(limits, "192.0.2.1", "another") == 3
    assert refused_for_s(limits, "192.0.2.2", "another") == 0
    clock.advance_s(3)
    assert refused_for_s(limits, "192.0.2.1", "another") == 0


def test_secrets_that_were_none_have_twenty_tries_of_their_own() -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    for _ in range(20):
        limits.failed("192.0.2.1")
    with pytest.raises(ApiError) as refused:
        limits.failed("192.0.2.1")
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "3")
    limits.failed("192.0.2.2")
    assert refused_for_s(limits, "192.0.2.1", "ada") == 0
    clock.advance_s(3)
    limits.failed("192.0.2.1")


def test_failures_of_others_at_an_address_hold_up_nobody_who_has_logged_in_there() -> None:
    limits = LoginLimits(Clock())
    limits.begin("192.0.2.1", "ada")
    limits.worked("192.0.2.1", "ada")
    for number in range(30):
        refused_for_s(limits, "192.0.2.1", f"guess {number}")
    assert refused_for_s(limits, "192.0.2.1", "paul") > 0
    assert refused_for_s(limits, "192.0.2.1", "ada") == 0
    # Nor do such tries, whose places are bounded by account, hold up others.
    limits = LoginLimits(Clock())
    limits.worked("192.0.2.1", "ada")
    while not refused_for_s(limits, "192.0.2.1", "ada"):
        pass
    assert refused_for_s(limits, "192.0.2.1", "paul") == 0


def test_what_worked_was_no_failure_but_there_is_an_end_to_it() -> None:
    clock = Clock()
    limits = LoginLimits(clock)
    for _ in range(500):
        assert refused_for_s(limits, "192.0.2.1", "ada") == 0
        limits.worked("192.0.2.1", "ada")
    assert refused_for_s(limits, "192.0.2.2", "ada") == 5
    assert refused_for_s(limits, "192.0.2.1", "paul") == 0
    clock.advance_s(5)
    assert refused_for_s(limits, "192.0.2.1", "ada") == 0


def test_a_stranger_cannot_lock_somebody_out_where_they_work() -> None:
    limits = LoginLimits(Clock())
    limits.begin("192.0.2.1", "ada")
    limits.worked("192.0.2.1", "ada")
    while not refused_for_s(limits, "203.0.113.7", "ada"):
        pass
    assert refused_for_s(limits, "192.0.2.1", "ada") == 0
    # And there too, the tries are counted.
    while not refused_for_s(limits, "192.0.2.1", "ada"):
        pass


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("2001:db8::1", "2001:db8::2:3", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("fe80::1%eth0", "fe80::1%eth1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("", "", True),
        ("no address", "no address", True),
    ],
)
def test_addresses_of_one_client_are_counted_together(first: str, second: str, same: bool) -> None:
    limits = LoginLimits(Clock())
    for number in range(20):
        limits.begin(first, f"p{number}")
    assert bool(refused_for_s(limits, second)) == same


def test_a_restart_does_not_let_strangers_lock_somebody_out(tmp_path: Path) -> None:
    clock = Clock()
    state = StateFile(tmp_path)
    place = LoginLimits(clock).worked("192.0.2.1", "ada")
    assert place is not None
    KnownPlaces(state).keep(place)
    state.close()
    assert b"ada" not in (tmp_path / "state.db").read_bytes()
    state = StateFile(tmp_path)
    limits = LoginLimits(clock, KnownPlaces(state).all())
    for each in range(10):
        assert refused_for_s(limits, f"198.51.100.{each}", "ada") == 0
    assert refused_for_s(limits, "198.51.100.99", "ada") > 0
    assert refused_for_s(limits, "192.0.2.1", "ada") == 0
    assert limits.worked("192.0.2.1", "ada") is None
    state.close()


def test_of_each_account_the_latest_places_are_kept(tmp_path: Path) -> None:
    clock = Clock()
    state = StateFile(tmp_path)
    places = KnownPlaces(state, clock)
    places.keep(place_of("bob", "192.0.2.1"))
    for each in range(40):
        clock.advance_s(1)
        places.keep(place_of("ada", f"192.0.2.{each}"))
    kept = places.all()
    assert len(kept) == 33
    assert place_of("bob", "192.0.2.1") in kept
    assert place_of("ada", "192.0.2.39") in kept
    assert place_of("ada", "192.0.2.7") not in kept
    state.close()


def test_the_memory_of_addresses_and_accounts_is_bounded() -> None:
    limits = LoginLimits(Clock())
    for n in range(30_000):
        address, account = f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}", f"p{n}"
        limits.begin(address, account)
        limits.worked(address, account)
        limits.begin(address, account)
        limits.failed(address)
    for each in (limits._accounts, limits._addresses, limits._secrets):
        assert len(each._free_at_s) == 10_000
    assert len(limits._known) == 10_000


# ---------------------------------------------------------------- passwords


@pytest.mark.parametrize("password", ["", "short", "x" * 257, "Ada.Lovelace"])
def test_a_password_is_neither_short_nor_endless_nor_the_name(password: str) -> None:
    with pytest.raises(ApiError) as found:
        check_password(password, "ada.lovelace")
    assert (found.value.status, found.value.code) == (422, "bad_password")
    assert not password or password not in found.value.message


def test_a_password_is_the_same_from_every_keyboard_and_hashes_are_not() -> None:
    composed, decomposed = "na\N{LATIN SMALL LETTER I WITH DIAERESIS}vete 1", "nai\u0308vete 1"
    hashed = hash_password(composed)
    assert hashed != hash_password(composed)
    assert is_password(hashed, decomposed)
    assert not is_password(hashed, "naivete 1")
    assert not is_password(None, composed)
    assert not is_password("$argon2id$nonsense", composed)
    assert not is_password(hashed, "\ud800" * 10)


def test_one_hash_runs_at_a_time_and_others_are_not_held_up_by_it() -> None:
    go, most, running = threading.Event(), 0, 0

    def work() -> None:
        nonlocal most, running
        running += 1
        most = max(most, running)
        assert go.wait(10)
        running -= 1

    async def test() -> None:
        threads = LoginThreads()
        try:
            hashes = [asyncio.create_task(threads.hash(work)) for _ in range(64)]
            await asyncio.sleep(0)
            with pytest.raises(ApiError) as found:
                await threads.hash(work)
            assert (found.value.status, found.value.code) == (503, "busy")
            hashes.pop().cancel()
            await asyncio.sleep(0)
            assert await threads.run(lambda: "done") == "done"
            go.set()
            await asyncio.gather(*hashes)
        finally:
            threads.close()

    asyncio.run(asyncio.wait_for(test(), 10))
    assert most == 1


@pytest.mark.asyncio
async def test_twenty_may_be_logging_in_and_the_next_is_told_when_to_come_again() -> None:
    threads = LoginThreads(hold_s=lambda: 0.0)
    async with AsyncExitStack() as places:
        for _ in range(20):
            await places.enter_async_context(threads.place())
        with pytest.raises(ApiError) as found:
            await places.enter_async_context(threads.place())
        assert (found.value.status, found.value.code) == (503, "busy")
        assert found.value.headers["Retry-After"] == "2"
    async with threads.place():
        pass
    threads.close()


@pytest.mark.asyncio
async def test_people_for_whom_there_is_no_place_are_not_all_told_at_once() -> None:
    """Refused at once, they would come back at once, and each time hold up the loop."""
    holds = iter([0.05, 0.0])
    threads = LoginThreads(hold_s=lambda: next(holds))
    refused: list[str] = []

    async def come(name: str) -> None:
        try:
            async with threads.place():
                raise AssertionError(f"{name} has a place")
        except ApiError:
            refused.append(name)

    async with AsyncExitStack() as places:
        for _ in range(20):
            await places.enter_async_context(threads.place())
        await asyncio.gather(come("held longer"), come("held for a moment"))
    assert refused == ["held for a moment", "held longer"]
    threads.close()


@pytest.mark.asyncio
async def test_who_is_held_gets_a_place_that_becomes_free() -> None:
    threads = LoginThreads(hold_s=lambda: 0.01)

    async def come() -> bool:
        async with threads.place():
            return True

    async with AsyncExitStack() as places:
        for _ in range(20):
            await places.enter_async_context(threads.place())
        held = asyncio.create_task(come())
        await asyncio.sleep(0)
    assert await asyncio.wait_for(held, 5)
    threads.close()


def test_the_thread_that_hashes_yields_to_others() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    async def test() -> int:
        threads = LoginThreads()
        try:
            return await threads.hash(niceness)
        finally:
            threads.close()

    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads have no priority of their own here")
    assert asyncio.run(test()) > niceness() or niceness() >= 10
