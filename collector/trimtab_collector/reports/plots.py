"""Plots of a report as SVG: colours come from the page's own style, so that themes apply."""

from collections.abc import Callable, Iterator, Sequence
from math import floor, log10
from typing import Final, NamedTuple

from trimtab_collector.contract.history import HistoryRow
from trimtab_collector.contract.quantities import number
from trimtab_collector.reports.markup import Markup, el, joined

__all__ = ["Frame", "Label", "Series", "Span", "bar", "latency_plot", "requests_plot", "strip"]

_WIDTH: Final = 860.0
_LEFT: Final = 48.0
_RIGHT: Final = 6.0
_TOP: Final = 16.0
_BOTTOM: Final = 22.0
#: labels of marks that stand closer than this are left out, their lines are not
_LABEL_GAP: Final = 70.0
_LABEL_TEXT: Final = 22
_Point = tuple[float, float]


class Span(NamedTuple):
    """A time that is shaded, with what the reader is told of it."""

    from_s: float
    to_s: float
    kind: str
    title: str


class Label(NamedTuple):
    """A moment: a line across the plot, and its text."""

    at_s: float
    text: str
    title: str


class Frame(NamedTuple):
    """What the plots of a page share: the range, its ticks, shaded times and moments."""

    from_s: float
    to_s: float
    #: epoch seconds and text
    ticks: Sequence[tuple[float, str]]
    spans: Sequence[Span]
    labels: Sequence[Label]
    #: width of a step, seconds
    step_s: float


class Series(NamedTuple):
    """Rows and the middles of their steps."""

    rows: Sequence[HistoryRow]
    at_s: Sequence[float]


class _Area:
    """Pixels of times and values."""

    def __init__(self, frame: Frame, height: float, most: float) -> None:
        self.frame = frame
        self.height = height
        self.ticks = _ticks(most)
        self.most = self.ticks[-1] if most <= self.ticks[-1] else most
        self.bottom = height - _BOTTOM

    def x(self, at_s: float) -> float:
        share = (at_s - self.frame.from_s) / (self.frame.to_s - self.frame.from_s)
        return _LEFT + min(1.0, max(0.0, share)) * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return self.bottom - value / self.most * (self.bottom - _TOP)

    def backdrop(self) -> Iterator[Markup]:
        """Yield what lies behind the lines: the grid, ticks and shaded times."""
        for value in self.ticks:
            y = self.y(value)
            yield el("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, class_="grid")
            yield el("text", number(value), x=_LEFT - 8, y=y + 4, text_anchor="end")
        for at_s, text in self.frame.ticks:
            yield el("text", text, x=self.x(at_s), y=self.height - 5, text_anchor="middle")
        for span in self.frame.spans:
            begin, end = self.x(span.from_s), self.x(span.to_s)
            yield el(
                "g",
                el("title", span.title),
                el("rect", x=begin, y=_TOP, width=max(1.5, end - begin),
                   height=self.bottom - _TOP, class_=span.kind),
            )  # fmt: skip

    def moments(self) -> Iterator[Markup]:
        """Yield the lines of marks, in front of everything."""
        last = -_LABEL_GAP
        for label in self.frame.labels:
            x = self.x(label.at_s)
            parts = [
                el("title", label.title),
                el("line", x1=x, x2=x, y1=_TOP, y2=self.bottom, class_="mark"),
            ]
            if x - last >= _LABEL_GAP:
                near_end = x > _WIDTH - 2 * _LABEL_GAP
                text = label.text
                text = text if len(text) <= _LABEL_TEXT else text[: _LABEL_TEXT - 1] + "…"
                parts.append(
                    el("text", text, x=x + (-4 if near_end else 4), y=_TOP - 5,
                       text_anchor="end" if near_end else "start", class_="label")
                )  # fmt: skip
                last = x
            yield el("g", *parts)


def latency_plot(frame: Frame, now: Series, before: Series, title: str) -> Markup:
    """Return p50, the band up to p95, p99, and p95 of the period before; ms."""
    p95 = [row.p95 for row in (*now.rows, *before.rows) if row.p95 is not None]
    p99 = [row.p99 for row in now.rows if row.p99 is not None]
    high = max(p95, default=1.0)
    # A few lone requests must not press everything else to the ground.
    area = _Area(frame, 270, max(high, min(max(p99, default=1.0), 3 * high)))
    parts = [*area.backdrop()]
    for run in _runs(now, lambda row: row.p95):
        places = {x: (row.p50 or 0.0) for x, row in zip(now.at_s, now.rows, strict=True)}
        down = [(x, places[x]) for x, _ in reversed(run)]
        parts.append(el("path", d=_path(area, [*run, *down]) + "Z", class_="band"))
    for series, kind, pick in (
        (before, "was", lambda row: row.p95),
        (now, "p99", lambda row: row.p99),
        (now, "p95", lambda row: row.p95),
        (now, "p50", lambda row: row.p50),
    ):
        parts += [el("path", d=_path(area, run), class_=kind) for run in _runs(series, pick)]
    return _svg(area, title, [el("g", *parts, clip_path="url(#plot)"), *area.moments()])


def requests_plot(frame: Frame, now: Series, before: Series, title: str) -> Markup:
    """Return requests per second as bars, errors at their foot, and the period before as a line."""

    def rate(row: HistoryRow) -> float | None:
        return row.requests_per_second

    most = max((rate(row) or 0.0 for row in (*now.rows, *before.rows)), default=0.0)
    area = _Area(frame, 150, most or 1.0)
    steps = (frame.to_s - frame.from_s) / frame.step_s
    width = (_WIDTH - _LEFT - _RIGHT) / steps * 0.8
    parts = [*area.backdrop()]
    for at_s, row in zip(now.at_s, now.rows, strict=True):
        if not row.requests:
            continue
        x, all_of = area.x(at_s) - width / 2, rate(row) or 0.0
        failed = all_of * (row.errors or 0) / row.requests
        for value, kind in ((all_of, "bar"), (failed, "bad")):
            if value:
                top = area.y(value)
                parts.append(
                    el("rect", x=x, y=top, width=width, height=area.bottom - top, class_=kind)
                )
    parts += [el("path", d=_path(area, run), class_="was") for run in _runs(before, rate)]
    return _svg(area, title, [*parts, *area.moments()])


def bar(share: float, kind: str, title: str) -> Markup:
    """Return a short bar that is filled to a share."""
    filled = 96 * min(1.0, max(0.0, share))
    return el(
        "svg",
        el("title", title),
        el("rect", x=0, y=0, width=96, height=8, rx=4, class_="track"),
        el("rect", x=0, y=0, width=filled, height=8, rx=4, class_=kind) if filled else "",
        viewBox="0 0 96 8",
        width=96,
        height=8,
        class_="meter",
        role="img",
    )


def strip(frame: Frame, spans: Sequence[Span], title: str) -> Markup:
    """Return a strip of time: up where no span lies."""
    whole = frame.to_s - frame.from_s
    parts = [
        el("title", title),
        el("rect", x=0, y=0, width=240, height=10, rx=2, class_="ok"),
    ]
    for span in spans:
        begin = 240 * (max(span.from_s, frame.from_s) - frame.from_s) / whole
        end = 240 * (min(span.to_s, frame.to_s) - frame.from_s) / whole
        parts.append(
            el("g", el("title", span.title),
               el("rect", x=begin, y=0, width=max(1.5, end - begin), height=10, class_=span.kind))
        )  # fmt: skip
    return el("svg", *parts, viewBox="0 0 240 10", width=240, height=10, class_="meter", role="img")


def _svg(area: _Area, title: str, parts: Sequence[Markup]) -> Markup:
    clip = el("clipPath", el("rect", x=0, y=_TOP - 14, width=_WIDTH, height=area.height), id="plot")
    return el(
        "svg",
        el("title", title),
        el("defs", clip),
        joined(*parts),
        viewBox=f"0 0 {_WIDTH:g} {area.height:g}",
        role="img",
    )


def _runs(series: Series, pick: Callable[[HistoryRow], float | None]) -> Iterator[list[_Point]]:
    """Yield runs of steps that have a value: a line is broken where there is none."""
    run: list[_Point] = []
    for at_s, row in zip(series.at_s, series.rows, strict=True):
        value = pick(row)
        if value is None:
            if run:
                yield _wide(run)
            run = []
        else:
            run.append((at_s, value))
    if run:
        yield _wide(run)


def _wide(run: list[_Point]) -> list[_Point]:
    """Return a run; a lone point becomes a dash that can be seen."""
    return run if len(run) > 1 else [run[0], run[0]]


def _path(area: _Area, points: Sequence[_Point]) -> str:
    # A path of one point twice is drawn by its round ends.
    return "M" + "L".join(f"{area.x(at_s):.1f} {area.y(value):.1f}" for at_s, value in points)


def _ticks(most: float) -> list[float]:
    """Return about four round values from 0 up to at least the largest."""
    rough = most / 4
    size = 10.0 ** floor(log10(rough)) if rough > 0 else 1.0
    step = next(size * nice for nice in (1, 2, 2.5, 5, 10) if size * nice >= rough)
    count = 1
    while step * count < most:
        count += 1
    return [step * place for place in range(count + 1)]
