"""Draws a frame of `trimtab top`: lines of rich text of exactly the terminal's width; no I/O.

Names are put into text as they are, never as markup, and pass `shown` first.
"""

from collections.abc import Sequence
from datetime import datetime
from textwrap import wrap
from typing import Final, NamedTuple

from rich.text import Text

from trimtab_collector.contract.quantities import QUANTITIES
from trimtab_collector.top.columns import VIEWS
from trimtab_collector.top.glyphs import ASCII, GLYPHS, Glyphs
from trimtab_collector.top.names import shown
from trimtab_collector.top.rows import TopAlert, TopHost, TopOverall
from trimtab_collector.top.state import TopState
from trimtab_collector.top.tables import fitted, heading_of, layout_of, row_line

__all__ = ["SMALLEST", "Surroundings", "frame", "page"]

#: columns and lines below which only a sentence is shown
SMALLEST: Final = (50, 12)
_KEYS: Final = (
    ("q, Ctrl-C", "quit"),
    ("1 2 3, tab", "services, routes, hosts"),
    ("up down, j k", "select a row; also page up, page down, home, end"),
    ("enter", "the routes of the selected service"),
    ("escape", "back: first the filter, then the service"),
    ("/", "filter: words that a row must have; enter keeps it, escape drops it"),
    ("s S, right left", "sort by the next column, by the one before"),
    ("r", "the other way round"),
    ("p, space", "pause: nothing is asked meanwhile"),
    ("Ctrl-L", "draw everything again"),
)
#: seconds, and at least three refreshes, after which a silent collector is mentioned
_SILENT_S: Final = 3.0
_SEVERE: Final = {"critical": "bold red", "warning": "yellow"}


class Surroundings(NamedTuple):
    """What a frame shows besides the state."""

    address: str
    #: local time
    clock: str
    #: seconds since the last answer
    age_s: float
    #: seconds between two refreshes
    interval_s: float
    #: whether only ASCII can be shown
    ascii: bool = False


def frame(state: TopState, width: int, height: int, around: Surroundings) -> list[Text]:
    """Return height lines of width cells each."""
    if width < SMALLEST[0] or height < SMALLEST[1]:
        needs = f"trimtab top needs {SMALLEST[0]} x {SMALLEST[1]}, here are {width} x {height}"
        lines = [Text(needs)]
    else:
        lines = _lines(state, width, height, around)
    lines = [*lines, *[Text()] * (height - len(lines))][:height]
    return [fitted(line, width, ascii_only=around.ascii) for line in lines]


def _lines(state: TopState, width: int, height: int, around: Surroundings) -> list[Text]:
    glyphs = ASCII if around.ascii else GLYPHS
    top = [
        _title(state, width, around),
        _requests(state, width, glyphs),
        _hosts(state.read.hosts if state.read else []),
        _tabs(state),
    ]
    alerts = _alerts(state, max(1, min(8, (height - 12) // 4)))
    reason = wrap(shown(state.trouble), width - 2)[:3]
    foot = [*alerts, *(Text(f" {line}", "bold red") for line in reason), _foot(state)]
    body = height - len(top) - len(foot)
    middle = _help(body) if state.keys_shown else _table(state, width, body, glyphs)
    return [*top, *middle, *[Text()] * (body - len(middle)), *foot]


def page(state: TopState, around: Surroundings) -> list[Text]:
    """Return what there is as one table, as wide and as long as it needs to be."""
    glyphs = ASCII if around.ascii else GLYPHS
    rows = state.rows
    layout = layout_of(state, rows)
    found = [
        _title(state, 0, around),
        _requests(state, 0, glyphs),
        _hosts(state.read.hosts if state.read else []),
        Text(),
        heading_of(state, layout, glyphs),
    ]
    alerts = state.read.alerts if state.read else []
    found += [row_line(state, row, layout, glyphs, alerts) for row in rows]
    if not rows:
        found.append(Text(_nothing(state)))
    if state.left_out:
        found.append(Text(f"and {state.left_out:,} more"))
    for line in [Text(), *_alerts(state, len(alerts))]:
        found.append(line)
    for line in found:
        line.rstrip()
    return found


def _title(state: TopState, width: int, around: Surroundings) -> Text:
    if state.trouble:
        age = QUANTITIES["en"].duration(around.age_s)
        return Text(
            f" NO ANSWER for {age} from {shown(around.address)}, trying again", "bold reverse"
        )
    seconds = f"last {state.read.seconds} s" if state.read else "asking"
    right = f"{seconds}   {around.clock} "
    if state.paused:
        right = f"PAUSED   {right}"
    elif around.age_s > max(_SILENT_S, 3 * around.interval_s):
        right = f"no answer for {QUANTITIES['en'].duration(around.age_s)}   {right}"
    scope = " ".join(shown(each) for each in (state.environment, state.service) if each)
    left = Text.assemble((" trimtab top", "bold"), f"   {shown(around.address)}   {scope}".rstrip())
    left = fitted(left, width - len(right)) if width else left.append("   ")
    return left.append(right.rstrip() if not width else right)


def _requests(state: TopState, width: int, glyphs: Glyphs) -> Text:
    overall = state.read.overall if state.read else TopOverall()
    write = QUANTITIES["en"].quantity
    errors = overall.error_rate
    line = Text.assemble(
        " requests  ",
        (write(overall.requests_per_second, "1/s"), "bold"),
        "   errors ",
        (QUANTITIES["en"].percent(errors), "bold yellow" if errors else "bold"),
    )
    for name in ("p50", "p95", "p99"):
        line.append(f"   {name} ").append(write(getattr(overall, name), "ms"), "bold")
    if not width or width >= 100:
        line.append("   Apdex ").append(write(overall.apdex, ""), "bold")
    if width:
        room = min(30, width - line.cell_len - 4)
        trend = glyphs.trend(state.trends.of(state.whole), max(0, room))
        line.append("   ").append(trend, "cyan")
    return line


def _hosts(hosts: Sequence[TopHost]) -> Text:
    """Return the fullest host of each kind."""
    line = Text(f" hosts {len(hosts):<4}")
    for title, name in (("CPU", "cpu"), ("memory", "memory"), ("disk", "disk")):
        known = [host for host in hosts if getattr(host, name) is not None]
        if known:
            most = max(known, key=lambda host, name=name: getattr(host, name))  # type: ignore[misc]
            line.append(f"  {title} ").append(f"{100 * getattr(most, name):.0f}%", "bold")
            if len(hosts) > 1:
                line.append(f" {shown(most.host)[:20]}")
    traffic = [
        (sum(getattr(host, name) or 0 for host in hosts), title)
        for title, name in (("in", "network_in"), ("out", "network_out"))
        if any(getattr(host, name) is not None for host in hosts)
    ]
    if traffic:
        line.append("  network")
    for value, title in traffic:
        line.append(f" {title} ").append(QUANTITIES["en"].quantity(value, "bytes/s"), "bold")
    return line


def _tabs(state: TopState) -> Text:
    line = Text(" ")
    for number, view in enumerate(VIEWS, 1):
        line.append(f" {number} {view} ", "reverse bold" if view == state.view else "")
    if state.focus and state.view == "routes":
        environment, service = state.focus
        line.append("  of ").append(shown(service), "bold").append(f" in {shown(environment)}")
    if state.typing:
        line.append("   filter: ").append(shown(state.filter), "bold").append("_", "bold")
    elif state.filter:
        line.append("   filter: ").append(shown(state.filter), "bold")
    return line


def _table(state: TopState, width: int, height: int, glyphs: Glyphs) -> list[Text]:
    rows = state.rows
    layout = layout_of(state, rows, width)
    head = heading_of(state, layout, glyphs)
    if not rows:
        return [head, Text(f"  {_nothing(state)}", "dim")]
    room = height - 1 - (1 if state.left_out else 0)
    place = state.place_in(rows)
    start = max(0, place - room + 1)
    alerts = state.read.alerts if state.read else []
    lines = [head]
    for index, row in enumerate(rows[start : start + room], start):
        line = row_line(state, row, layout, glyphs, alerts)
        if index == place:
            line.stylize("reverse")
        elif state.trouble:
            line.stylize("dim")
        lines.append(line)
    if state.left_out:
        hint = "" if state.filter else "; / filters all of them"
        lines.append(Text(f"  and {state.left_out:,} more{hint}", "dim"))
    return lines


def _nothing(state: TopState) -> str:
    """Return why there are no rows."""
    if state.trouble and not state.answered:
        return "nothing was read yet"
    if not state.answered:
        return "asking the collector ..."
    if state.filter:
        return f"no {state.view} with {shown(state.filter)!r}"
    if state.view == "hosts":
        return "no host has sent gauges in the last 30 s"
    return "no requests yet: trimtab run -- COMMAND starts an app that sends them"


def _alerts(state: TopState, room: int) -> list[Text]:
    """Return a heading and up to room alerts."""
    alerts = state.read.alerts if state.read else []
    more = state.read.alerts_left_out if state.read else 0
    if not alerts:
        return [Text(" no open alerts" if state.read else "", "dim")]
    shown_here = alerts[:room]
    more += len(alerts) - len(shown_here)
    head = Text(" alerts", "bold")
    if more:
        head.append(f"  {len(shown_here)} of {len(shown_here) + more:,}", "dim")
    return [head, *map(_alert, shown_here)]


def _alert(alert: TopAlert) -> Text:
    words = {"pending": "pending", "keeping": "recovering"}
    # What fires and is not told of is silenced.
    severity = shown(alert.severity) if alert.told else "silenced"
    style = _SEVERE.get(alert.severity, "") if alert.told else "dim"
    line = Text(" ! " if alert.told else "   ", style)
    line.append(f"{words.get(alert.state, severity):<10} ", style)
    line.append(f"{_local(alert.since):<6} ", "dim").append(shown(alert.title))
    if alert.acknowledged:
        line.append("  (acknowledged)", "dim")
    return line


def _local(text: str) -> str:
    """Return a time of the API as local hours and minutes."""
    try:
        return datetime.fromisoformat(text).astimezone().strftime("%H:%M")
    except ValueError:
        return ""


def _foot(state: TopState) -> Text:
    if state.typing:
        return Text(" enter keeps the filter   escape drops it", "dim")
    enter = "enter routes   " if state.view == "services" else ""
    back = "escape back   " if state.filter or state.focus else ""
    return Text(f" q quit   s sort   / filter   tab view   {enter}{back}p pause   ? keys", "dim")


def _help(height: int) -> list[Text]:
    lines = [Text(" keys", "bold")]
    lines += [Text.assemble((f"  {keys:<16}", "bold"), does) for keys, does in _KEYS]
    return lines[:height]
