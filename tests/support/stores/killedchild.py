"""A child that fills a store, merges and drops, saying what was acknowledged: to be killed.

    python killedchild.py DIRECTORY

Prints the number of a batch once it is acknowledged, and "end" when it is done.
"""

import sys
from pathlib import Path

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.tiers import Retention
from trimtab_core.batches import Batch

__all__ = ["BATCHES", "DAY_S", "END_S", "KEPT", "START_S", "batch"]

HOUR_S = 3600
DAY_S = 24 * HOUR_S
#: a midnight in UTC
START_S = 1_700_006_400 - 1_700_006_400 % DAY_S
#: batches of two hours, some a day later, and some late ones of the first hour
BATCHES = 30
END_S = START_S + 4 * DAY_S
KEPT = Retention(2 * DAY_S, 30 * DAY_S, 400 * DAY_S)


def batch(number: int) -> Batch:
    """Return a batch; its number tells its window, route and instance."""
    window_s = START_S + number % 5 * 20 + (number // 5 % 2) * HOUR_S
    if number >= 20:
        window_s += DAY_S if number < 25 else 0
    key = key_of(f"/{number % 3}", instance=f"host#{number % 2}")
    return a_batch(number, {key: point_of([1000 * number, 7])}, window_s=window_s)


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run until the end, or until killed."""
    clock = Clock(START_S + HOUR_S)
    store = SQLiteStore(Path(sys.argv[1]), clock=clock, retention=KEPT, waits=True)
    runs = ((range(10), 3), (range(10, 20), 4), (range(20, 25), 27), (range(25, BATCHES), 96))
    for numbers, hours in runs:
        for number in numbers:
            append(store, batch(number))
            say(f"{number}")
        clock.now_s = START_S + hours * HOUR_S
        store.compact(clock.now_s)
    store.close()
    say("end")


if __name__ == "__main__":
    main()
