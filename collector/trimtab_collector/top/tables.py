"""Draws the rows of a view: which columns fit, headings, cells; no I/O."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from rich.text import Text

from trimtab_collector.contract.quantities import DASH
from trimtab_collector.top.columns import COLUMNS, TopColumn
from trimtab_collector.top.glyphs import Glyphs
from trimtab_collector.top.names import shown
from trimtab_collector.top.rows import TopAlert, TopHost, TopRoute, TopRow
from trimtab_collector.top.state import TREND_POINTS, TopState

__all__ = ["fitted", "heading_of", "layout_of", "row_line"]

#: cells of the mark of an alert
_MARK: Final = 2
_LEAST_TREND: Final = 10
_ALERT: Final = {"critical": "bold red", "warning": "bold yellow"}


class _TableLayout(NamedTuple):
    """Columns with their widths in cells."""

    columns: tuple[TopColumn, ...]
    name: int
    #: 0 for none
    trend: int
    #: whether names say which service or environment they are of
    services: bool
    environments: bool


def layout_of(state: TopState, rows: Sequence[TopRow], width: int = 0) -> _TableLayout:
    """Return how rows are laid out in a width; without one nothing is cut, and nothing trends."""
    owners = [row for row in rows if not isinstance(row, TopHost)]
    services = state.view == "routes" and len({row.service for row in owners}) > 1
    environments = len({row.environment for row in owners}) > 1
    columns = tuple(
        column
        for column in COLUMNS[state.view]
        if not width or column.from_width <= width or column.key == state.sorts[state.view]
    )
    if not width:
        plan = _TableLayout(columns, 0, 0, services, environments)
        longest = max((_name(row, plan).cell_len for row in rows), default=0)
        return plan._replace(name=max(longest, 8))
    room = width - _MARK - sum(column.width + 1 for column in columns if column.width)
    trend = max(_LEAST_TREND, min(TREND_POINTS, (room - 30) // 2))
    if room - trend - 1 < 16:
        trend = 0
    return _TableLayout(columns, room - trend - (2 if trend else 0), trend, services, environments)


def heading_of(state: TopState, layout: _TableLayout, glyphs: Glyphs) -> Text:
    """Return the heading; the column that sorts has an arrow."""
    line = Text(" " * _MARK)
    for column in layout.columns:
        title = column.title
        if column.key == state.sorts[state.view]:
            falls = column.ascending == (state.view in state.reversed_views)
            title += glyphs.down if falls else glyphs.up
        style = "bold" if column.key == state.sorts[state.view] else "dim"
        cell = Text(title, style)
        if column.width:
            line.append(" ").append_text(_right(cell, column.width))
        else:
            line.append_text(fitted(cell, layout.name))
    if layout.trend:
        line.append("  ").append_text(fitted(Text("trend", "dim"), layout.trend))
    return line


def row_line(
    state: TopState,
    row: TopRow,
    layout: _TableLayout,
    glyphs: Glyphs,
    alerts: Sequence[TopAlert],
) -> Text:
    """Return the line of one row."""
    line = Text()
    severity = _worst(row, alerts)
    line.append("! " if severity else "  ", _ALERT.get(severity, ""))
    for column in layout.columns:
        if column.width:
            value = getattr(row, column.field)
            style = "yellow" if column.key == "errors" and value else ""
            figure = column.text(value)
            if len(figure) > column.width:
                figure = figure.replace(" ", "").replace(",", "")
            text = Text(figure, style if value is not None else "dim")
            line.append(" ").append_text(_right(text, column.width))
        else:
            line.append_text(fitted(_name(row, layout), layout.name))
    if layout.trend:
        most = 1.0 if isinstance(row, TopHost) else None
        trend = glyphs.trend(state.trends.of(row.identity), layout.trend, most)
        line.append("  ").append(trend, "cyan")
    return line


def fitted(text: Text, width: int, *, ascii_only: bool = False) -> Text:
    """Return a copy of a text with exactly width cells: cut, or with blanks at its end."""
    found = text.copy()
    found.truncate(max(width, 0), overflow="crop" if ascii_only else "ellipsis", pad=True)
    return found


def _right(text: Text, width: int) -> Text:
    """Return a text at the right of width cells."""
    if text.cell_len >= width:
        return fitted(text, width)
    return Text(" " * (width - text.cell_len)).append_text(text)


def _name(row: TopRow, layout: _TableLayout) -> Text:
    """Return what a row is called, with its owner where there are several."""
    if isinstance(row, TopHost):
        name = Text(shown(row.host))
    elif isinstance(row, TopRoute):
        name = Text(f"{shown(row.method):<4} {shown(row.route)}")
        if layout.services:
            name.append(f"  {shown(row.service)}", "dim")
    else:
        name = Text(shown(row.service) or DASH)
    if layout.environments and not isinstance(row, TopHost):
        name.append(f"  {shown(row.environment)}", "dim")
    return name


def _worst(row: TopRow, alerts: Sequence[TopAlert]) -> str:
    """Return the worst severity that fires for a row, "" without any."""
    found = {alert.severity for alert in alerts if alert.concerns(row)}
    return "critical" if "critical" in found else min(found, default="")
