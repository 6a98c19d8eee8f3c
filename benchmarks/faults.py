"""What faults cost and how long they last: frozen, absent, killed and slow agents, outages, storms.

Real processes (collector, agent, apps under `trimtab run`), real faults, 127.0.0.1 alone. Each row
has its goal. `--only NAME` (repeatable) runs some parts, `--soak SECONDS` adds the long one.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Final

from faults_agent import frames, sockets, spool
from faults_apps import apps
from faults_latency import latency, memory
from faults_links import links
from faults_recovery import recovery
from faults_soak import soak
from faults_stack import Sizes
from faults_storm import descriptors, storm
from harness import Row, arguments, packages, progress, report

PARTS: Final[Mapping[str, Callable[[Sizes], list[Row]]]] = {
    "latency": latency,
    "memory": memory,
    "apps": apps,
    "sockets": sockets,
    "frames": frames,
    "spool": spool,
    "storm": storm,
    "descriptors": descriptors,
    "recovery": recovery,
    "links": links,
}


def _flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--only", action="append", choices=list(PARTS), metavar="NAME",
        help=f"run this part, and others so named: {', '.join(PARTS)}",
    )  # fmt: skip
    parser.add_argument(
        "--soak",
        type=int,
        metavar="SECONDS",
        help="soak for so long at the end; 600 is what the goals are for",
    )


def main() -> None:
    """Run the parts, one after the other."""
    options = arguments(__doc__, _flags)
    sizes = Sizes(options.rounds or (2 if options.quick else 5), options.quick)
    rows: list[Row] = []
    for name in options.only or PARTS:
        begun = time.monotonic()
        progress(f"{name} ...")
        try:
            rows += PARTS[name](sizes)
        except (AssertionError, OSError, RuntimeError) as error:
            # One part that cannot be measured must not cost the others.
            rows.append(Row(name, None, "", "measured", False, note=f"{error!r:.600}"))
        progress(f"{name}: {time.monotonic() - begun:.0f} s")
    if options.soak:
        rows += soak(options.soak)
    else:
        rows.append(Row("soak", None, "", note="left out; --soak 600 runs it for ten minutes"))
    report("faults", rows, options.json, packages("trimtab", "uvicorn", "starlette"))


if __name__ == "__main__":
    main()
