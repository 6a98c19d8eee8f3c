"""The tiles of an overview: a figure, what is usual for it, and how it went."""

from typing import Final

from trimtab_collector.contract.overview import Tile, UsualFigure
from trimtab_collector.overview.situation import Situation
from trimtab_collector.overview.usual import (
    APDEX_KIND,
    CACHE_KIND,
    CPU_KIND,
    ERRORS_KIND,
    ORDINARY,
    P95_KIND,
    RATE_KIND,
    FigureKind,
)
from trimtab_collector.overview.wording import OverviewWords

__all__ = ["tiles"]

#: in the order in which they are shown
_SHOWN: Final = (RATE_KIND, P95_KIND, ERRORS_KIND, APDEX_KIND, CPU_KIND, CACHE_KIND)


def tiles(situation: Situation, words: OverviewWords) -> list[Tile]:
    """Return the tiles; raises TooMuchError."""
    return [_tile(situation, words, kind) for kind in _SHOWN]


def _tile(situation: Situation, words: OverviewWords, kind: FigureKind) -> Tile:
    observed = situation.observed
    value, judged = situation.tiles[kind]
    series = observed.spans.series
    edges_s = series.selection.edges_s
    from_s, to_s = situation.span_of(kind)
    shown = observed.parameters.shown
    return Tile(
        from_=shown(from_s),
        to=shown(to_s),
        name=kind.name,
        unit=kind.unit,
        value=value,
        why=None if value is not None else _why(situation, words, kind),
        usual=None if judged is None else UsualFigure(value=judged.usual, against=judged.against),
        change=None if judged is None else _change(kind, value, judged.usual),
        change_unit=kind.change_unit,
        judgement=ORDINARY if judged is None else judged.judgement,
        cores=observed.machines.cores if kind is CPU_KIND else None,
        series=_series(situation, kind),
        series_from=shown(edges_s[0]),
        series_step=edges_s[1] - edges_s[0],
    )


def _series(situation: Situation, kind: FigureKind) -> list[float | None]:
    if kind is CPU_KIND:
        return situation.observed.machines.cpu_series()
    if kind is CACHE_KIND:
        return situation.observed.machines.hit_series()
    return situation.observed.series_of(kind)


def _why(situation: Situation, words: OverviewWords, kind: FigureKind) -> str:
    if kind is CPU_KIND:
        silent = situation.observed.machines.silent_hosts
        return words.part("tile.silent" if silent else "tile.no_hosts")
    if kind is not CACHE_KIND and not situation.observed.is_rate_known:
        return words.part("tile.silent")
    if kind is CACHE_KIND:
        return words.part("tile.no_reads")
    lately = situation.observed.spans.is_now and situation.observed.has_requests
    return words.part("tile.no_requests" if lately else "tile.no_requests_range")


def _change(kind: FigureKind, value: float | None, usual: float) -> float | None:
    if value is None:
        return None
    if kind.change_unit == "ratio":
        return (value - usual) / usual if usual else None
    return value - usual
