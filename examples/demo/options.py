"""The command line of the demo."""

import argparse
from collections.abc import Sequence
from typing import Final

from examples.demo.fault import FAULTS
from examples.demo.findings import NAMES

__all__ = ["options_of"]

#: requests per second: always, or at the busiest moment of a day
_RATE: Final = 150
_DAY_RATE: Final = 60
_MOST_RATE: Final = 5_000


def options_of(words: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line; ends the program for a wrong one."""
    parser = argparse.ArgumentParser(
        prog="./dev demo",
        description="Start a collector, an agent and services under trimtab run, drive traffic at "
        "them, and show the live table and the address of the dashboard. Without --seconds, "
        "--check and --fault it tells a story: days of six minutes, a deploy of the shop that "
        "makes /reports/daily slow, its rollback and its repair. Ctrl-C stops all.",
    )
    parser.add_argument("--seconds", type=float, metavar="N", help="stop after N seconds")
    parser.add_argument(
        "--check",
        action="store_true",
        help="then wait until all is flushed and compare requests sent with requests counted, "
        "service by service: exit 1 when they differ (20 seconds unless --seconds is given)",
    )
    parser.add_argument(
        "--story",
        action="store_true",
        help="tell the story also with --seconds; with --check: deploy at once, and exit 1 when "
        "the API does not name the line, the route and the version that are to blame",
    )
    parser.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help=f"requests per second, at most ({_RATE}; of a story, at its busiest: {_DAY_RATE})",
    )
    parser.add_argument(
        "--expect",
        metavar="NAMES",
        default="",
        help="with --check: exit 1 also when one of these is not seen through the API: "
        + ", ".join(NAMES),
    )
    parser.add_argument("--json", metavar="FILE", help="write the result of --check to FILE")
    parser.add_argument(
        "--fault",
        choices=FAULTS,
        help="let something go wrong, and show who is told: latency makes the shop's disk slow, "
        "slower, and well again (two minutes); with --check: exit 1 when a warning, a critical and "
        "a resolution did not arrive once each, in order, by live stream, mail and webhook",
    )
    parser.add_argument(
        "--report", metavar="FILE", help="with --fault: where the report of today is written"
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="do not open the dashboard in a browser"
    )
    options = parser.parse_args(words)
    _complete(parser, options)
    return options


def _complete(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    if options.story and (options.fault or options.expect or options.json):
        parser.error("--story tells of its own: expected no --fault, --expect or --json beside it")
    options.story |= not (options.seconds or options.check or options.fault)
    if options.check and options.seconds is None:
        options.seconds = 20.0
    if options.seconds is not None and not options.seconds > 0:
        parser.error(f"expected --seconds over 0, got {options.seconds:g}")
    if options.rate is None:
        options.rate = _DAY_RATE if options.story else _RATE
    if not 0 < options.rate <= _MOST_RATE:
        parser.error(f"expected a --rate over 0, up to {_MOST_RATE}, got {options.rate:g}")
    if options.json and not options.check:
        parser.error("--json writes the result of --check: give both")
    options.expect = [name for name in options.expect.split(",") if name]
    unknown = sorted(set(options.expect) - set(NAMES))
    if unknown:
        parser.error(f"expected names among {', '.join(NAMES)}, got {', '.join(unknown)}")
    if options.expect and not options.check:
        parser.error("--expect belongs to --check: give both")
