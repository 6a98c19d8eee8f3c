"""The live table: lines of text from the API's answers, redrawn in place on a terminal."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Screen", "table"]

Row = Mapping[str, Any]
_HEAD = ("service", "route", "req/s", "p50 ms", "p95 ms", "p99 ms", "errors", "in flight")
_WIDTHS = (9, 0, 8, 8, 8, 8, 7, 9)
#: least and most of the column that takes what is left
_ROUTE = (14, 40)


def table(
    services: Sequence[Row], routes: Sequence[Row], most: int, columns: int = 100
) -> list[str]:
    """Return the lines of the table, at most `most`: a line a service, then its busiest routes.

    services and routes are rows of the API's answers; errors is the share of requests. Of all
    columns the routes have what the others leave.
    """
    left = columns - 1 - sum(width + 1 for width in _WIDTHS)
    widths = [width or min(max(left, _ROUTE[0]), _ROUTE[1]) for width in _WIDTHS]
    lines = [_line(_HEAD, widths)]
    named = sorted((row for row in services if row["requests"]), key=lambda row: row["service"])
    if not named:
        return [*lines, "  (the first numbers are on their way)"]
    per_service = max((most - 1) // len(named) - 1, 1)
    for service in named:
        name = service["service"]
        figures = _figures(service)
        lines.append(_line((name, "", *figures, service["inFlight"] or 0), widths))
        own = sorted(
            (row for row in routes if row["service"] == name),
            key=lambda row: (-row["requests"], row["route"]),
        )
        lines += [
            _line(("", f"{row['method']} {row['route']}", *_figures(row), ""), widths)
            for row in own[:per_service]
        ]
    return lines[:most]


def _figures(row: Row) -> tuple[str, ...]:
    times = (_number(row[name]) for name in ("p50", "p95", "p99"))
    share = row["errors"] / row["requests"] if row["requests"] else 0
    return (_number(row["requestsPerSecond"]), *times, f"{share:.1%}" if share else "")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _line(cells: Sequence[object], widths: Sequence[int]) -> str:
    words = []
    for place, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        text = str(cell)
        if len(text) > width:
            text = text[: width - 1] + "~"
        words.append(f"{text:<{width}}" if place < 2 else f"{text:>{width}}")
    return " ".join(words).rstrip()


class Screen:
    """Prints blocks of lines; on a terminal each block takes the place of the one before it."""

    def __init__(self) -> None:
        self.live = sys.stdout.isatty()
        self._drawn = 0

    @property
    def height(self) -> int:
        """Lines that a block may have."""
        return max(shutil.get_terminal_size((100, 40)).lines - 3, 6) if self.live else 30

    @property
    def columns(self) -> int:
        """Width of a line."""
        return shutil.get_terminal_size((100, 40)).columns

    def draw(self, lines: Sequence[str]) -> None:
        """Show a block."""
        if self.live:
            columns = self.columns
            up = f"\x1b[{self._drawn}A\r" if self._drawn else ""
            text = "".join(f"{line[: columns - 1]}\x1b[K\n" for line in lines)
            sys.stdout.write(f"{up}{text}\x1b[J")
            self._drawn = len(lines)
        else:
            sys.stdout.write("\n".join([*lines, "", ""]))
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Print a line that stays; the next block begins below it."""
        self._drawn = 0
        print(f"demo: {text}", flush=True)
