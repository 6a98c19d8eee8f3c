"""Strange frames, batches and questions from a seed, for as long as asked; honest traffic beside.

A real agent and a real collector are sent, in bursts, what no honest peer sends. After each burst
all that tests/support/fuzzing/world.py names must hold; what does not is a finding, printed with
its seed and the last cases, and the next world begins with the next seed. `--beside` measures what
floods of one key, or one app, do to honest traffic instead. Ends with 1 if there was a finding.
"""

import argparse
import random
import sys
import time
from pathlib import Path

import harness
from faults_stack import directory
from fuzz_beside import beside
from support.fuzzing.world import PARTS, World, world

_BURST = {"frames": 40, "batches": 60, "api": 100}
#: bursts until a new agent and a new collector begin, with another seed
_BURSTS = 12


def main() -> None:
    options = harness.arguments(__doc__, _flags)
    if options.beside:
        rounds = options.rounds or (1 if options.quick else 5)
        harness.report("fuzz --beside", beside(rounds, options.quick), options.json)
        return
    seed = options.seed if options.seed is not None else random.randrange(10**6)
    parts = options.only or list(PARTS)
    deadline = time.monotonic() + (5 if options.quick else options.seconds)
    found: list[str] = []
    cases, grown, share = dict.fromkeys(parts, 0), 0.0, 0.0
    while time.monotonic() < deadline:
        harness.progress(f"seed {seed}")
        with directory() as place, world(place, seed) as running:
            text = _one(running, parts, deadline, cases)
            grown = max(grown, *running.grown.values())
            share = max(share, *running.cpu_share.values(), 0.0)
            if text:
                print(f"\nfinding, seed {seed}: {text}\n", flush=True)
                found.append(f"seed {seed}: {text.partition(chr(10))[0]}")
                _keep(place, seed)
        seed += 1
    rows = [
        harness.Row("findings", len(found), "", "0", not found, note="; ".join(found)[:2_000]),
        *(harness.Row(f"{part}: cases", count, "") for part, count in cases.items()),
        harness.Row("most memory gained", grown / 2**20, "MiB", "<= 64", grown <= 64 * 2**20),
        harness.Row("most CPU of a burst, of what it may take", share * 100, "%", "<= 100",
                    share <= 1),
    ]  # fmt: skip
    harness.report("fuzz", rows, options.json, harness.packages("trimtab", "msgpack", "zstandard"))
    sys.exit(bool(found))


def _one(running: World, parts: list[str], deadline: float, cases: dict[str, int]) -> str:
    """Fuzz a world until its time is over; return what did not hold, empty if all did."""
    try:
        for _ in range(_BURSTS):
            for part in parts:
                cases[part] += _BURST[part]
                running.burst(part, _BURST[part])
            if time.monotonic() > deadline:
                break
        running.settle()
        running.read_all()
        running.restart()
        running.read_all()
    except AssertionError as error:
        return str(error)
    return ""


def _keep(place: Path, seed: int) -> None:
    """Print the end of what both processes said."""
    for name in ("agent", "collector"):
        lines = (place / f"{name}.err").read_text("utf-8", "replace").splitlines()
        text = "\n  ".join(line[:300] for line in lines if " INFO " not in line)
        print(f"{name}, seed {seed}:\n  {text[-3_000:]}", flush=True)


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seconds", type=int, default=60, metavar="N", help="for how long; 60")
    parser.add_argument("--seed", type=int, metavar="N", help="the first seed; else any")
    parser.add_argument(
        "--only", action="append", choices=list(PARTS), metavar="PART",
        help=f"fuzz this part, and others so named: {', '.join(PARTS)}",
    )  # fmt: skip
    parser.add_argument(
        "--beside", action="store_true", help="measure honest traffic beside five floods instead"
    )


if __name__ == "__main__":
    main()
