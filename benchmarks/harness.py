"""What every benchmark here shares: rows, the table, the JSON file, and interleaved rounds.

A benchmark is a script: `python benchmarks/NAME.py [--json FILE] [--quick] [--rounds N]`. It
measures, builds rows and hands them to `report`. Things that are compared are measured in turns
(`interleave`), so that a change of the machine's speed hits all of them, and are given as medians
with their quartiles. CPU, memory, pinning and environments of child processes are in `processes`.
"""

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median, quantiles
from typing import Any, NamedTuple, TypeVar

__all__ = [
    "Row",
    "Spread",
    "arguments",
    "differences",
    "interleave",
    "machine",
    "packages",
    "progress",
    "ratios",
    "report",
    "spread",
]

_T = TypeVar("_T")


class Spread(NamedTuple):
    """The middle of some measurements: median and quartiles."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{_number(self.median)} [{_number(self.low)} .. {_number(self.high)}]"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a benchmark, with its goal and the same figure of its rivals.

    `value` is None when it could not be measured, and `note` says why; `met` is None for a figure
    without a goal. `spread` holds the quartiles; notes stand below the table.
    """

    what: str
    value: float | None
    unit: str
    goal: str = ""
    met: bool | None = None
    rivals: Mapping[str, float] = field(default_factory=dict)
    spread: Spread | None = None
    note: str = ""

    def fields(self) -> dict[str, Any]:
        """Return the row as it stands in the JSON file."""
        fields: dict[str, Any] = {
            "what": self.what,
            "value": self.value,
            "unit": self.unit,
            "goal": self.goal,
            "met": self.met,
            "rivals": dict(self.rivals),
        }
        if self.spread is not None:
            fields["spread"] = [self.spread.low, self.spread.high]
        if self.note:
            fields["note"] = self.note
        return fields


def arguments(
    description: str | None,
    more: Callable[[argparse.ArgumentParser], object] | None = None,
) -> argparse.Namespace:
    """Return the parsed command line: `json` (path or None), `quick`, `rounds` (None: its own).

    more adds a benchmark's own flags. The first line of description is shown by --help.
    """
    parser = argparse.ArgumentParser(description=(description or "").partition("\n")[0])
    parser.add_argument("--json", metavar="FILE", help="also write the rows to this file")
    parser.add_argument(
        "--quick", action="store_true", help="tiny counts: does it run, not how fast is it"
    )
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of what is compared")
    if more is not None:
        more(parser)
    return parser.parse_args()


def machine() -> dict[str, str | int]:
    """Return what the figures depend on: processor, cores, Python, kernel; no names or paths."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "kernel": f"{platform.system()} {platform.release()}",
    }


def packages(*names: str) -> dict[str, str]:
    """Return the versions of installed packages; one that is missing is left out."""
    versions = {}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def progress(text: str) -> None:
    """Say on standard error what is being done, so that nobody wonders whether it hangs."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def interleave(
    variants: Mapping[str, Callable[[], _T]],
    rounds: int,
    *,
    seed: int | None = None,
    said: str = "",
) -> dict[str, list[_T]]:
    """Run every variant once a round, each round in a new random order.

    Returns per variant its results by round, so that results of one index belong together and
    `differences` and `ratios` may pair them. A text in `said` is shown with each round.
    """
    order = random.Random(seed)
    names = list(variants)
    results: dict[str, list[_T]] = {name: [] for name in names}
    for index in range(rounds):
        if said:
            progress(f"{said}: round {index + 1} of {rounds}")
        order.shuffle(names)
        for name in names:
            results[name].append(variants[name]())
    return {name: results[name] for name in variants}


def spread(values: Sequence[float]) -> Spread:
    """Return median and quartiles; raises ValueError when there are no values."""
    if not values:
        raise ValueError("expected at least one measurement, got none")
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Spread(median(values), low, high)


def differences(values: Sequence[float], base: Sequence[float]) -> Spread:
    """Return the spread of value minus base, paired by round."""
    return spread([value - bare for value, bare in zip(values, base, strict=True)])


def ratios(values: Sequence[float], base: Sequence[float]) -> Spread:
    """Return the spread of value over base, paired by round."""
    return spread([value / bare for value, bare in zip(values, base, strict=True)])


def report(
    name: str,
    rows: Sequence[Row],
    json_path: str | None = None,
    versions: Mapping[str, str] | None = None,
) -> None:
    """Print the rows as a table and, given a path, write them as JSON.

    Raises OSError when the file cannot be written; the table is printed before that.
    """
    facts = machine()
    versions = dict(versions or {})
    print(f"\n{name}: {facts['cpu']}, {facts['cores']} cores, {facts['python']}, {facts['kernel']}")
    if versions:
        print("versions: " + ", ".join(f"{key} {value}" for key, value in versions.items()))
    print()
    lines = [("what", "value", "unit", "goal", "met", "rivals")]
    lines += [_line(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    lines.insert(1, tuple("-" * width for width in widths))  # type: ignore[arg-type]
    for line in lines:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        )
    notes = [f"- {row.what}: {row.note}" for row in rows if row.note]
    if notes:
        print("\n" + "\n".join(notes))
    if json_path is not None:
        document = {
            "benchmark": name,
            "machine": facts,
            "versions": versions,
            "rows": [row.fields() for row in rows],
        }
        text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
        Path(json_path).write_text(text + "\n", encoding="utf-8")


def _line(row: Row) -> tuple[str, str, str, str, str, str]:
    value = "-" if row.value is None else _number(row.value)
    if row.spread is not None and row.value is not None:
        value += f" [{_number(row.spread.low)} .. {_number(row.spread.high)}]"
    met = {True: "yes", False: "NO", None: "-" if row.goal else ""}[row.met]
    rivals = ", ".join(f"{name} {_number(figure)}" for name, figure in row.rivals.items())
    return row.what, value, row.unit, row.goal, met, rivals


def _number(value: float) -> str:
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g} M"
    if size >= 1e4:
        return f"{value / 1e3:.3g} k"
    if size >= 100 or value == int(value):
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 0.1 else f"{value:.2g}"


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in ("model name", "Model"):
            return value.strip()
    return platform.machine()
