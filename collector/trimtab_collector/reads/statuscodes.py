"""Requests by exact status code: how many of each, where, and when."""

from collections.abc import Collection, Mapping

import msgspec

from trimtab_collector.contract.parameters import FIELDS, STEP, Parameters
from trimtab_collector.contract.statuscodes import (
    CODE,
    GROUP_BY,
    GROUPS,
    CodeGroup,
    CodeStep,
    StatusCodes,
)
from trimtab_collector.reads.codes import codes_of
from trimtab_collector.reads.ranges import TimeRange
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.steps import MOST, bound_groups
from trimtab_collector.storage.store import Rows

__all__ = ["status_codes"]

_Counts = dict[str, int]
_Name = tuple[str, ...]


def status_codes(reader: StoreReader, parameters: Parameters) -> StatusCodes:
    """Return requests by status code, in the range or in its steps, by group.

    Raises TooMuchError for too many groups and steps.
    """
    stepped = STEP.name in parameters.given
    ranges = reader.ranges
    time_range = ranges.stepped(parameters, MOST) if stepped else ranges.latest(parameters)
    by, limit = parameters[GROUP_BY], parameters[GROUPS]
    fields = tuple(FIELDS[name] for name in by)
    rows = reader.rows(time_range.whole(), fields)
    counts = _counts(rows, parameters[CODE])
    order = sorted(counts, key=lambda name: (-sum(counts[name].values()), name))
    shown = order[:limit]
    resolution_s, series = rows.resolution_s, None
    if stepped:
        bound_groups(len(time_range.selection.edges_s) - 1, len(rows.groups), len(shown))
        by_step = reader.rows(time_range, fields)
        resolution_s, series = by_step.resolution_s, _series(by_step, time_range)
    whole = _together(counts)
    return StatusCodes(
        **time_range.resolved(resolution_s),
        step=time_range.step or None,
        group_by=list(by),
        requests=sum(whole.values()),
        status_codes=whole,
        groups=[
            CodeGroup(
                group=dict(zip(by, name, strict=True)),
                requests=sum(counts[name].values()),
                status_codes=counts[name],
                series=msgspec.UNSET if series is None else series[name],
            )
            for name in shown
        ],
        groups_left_out=len(order) - len(shown),
    )


def _counts(rows: Rows, wanted: Collection[str]) -> dict[_Name, _Counts]:
    """Return the requests of each group by code, of groups that have any; rows are one step."""
    found = {}
    for place, codes in zip(rows.group.tolist(), codes_of(rows.columns), strict=True):
        if chosen := _chosen(codes, wanted):
            found[rows.groups[place]] = chosen
    return found


def _series(rows: Rows, time_range: TimeRange) -> dict[_Name, list[CodeStep]]:
    """Return the steps of each group that have requests with the codes asked for."""
    parameters = time_range.parameters
    found: dict[_Name, list[CodeStep]] = {}
    for place, t, codes in zip(
        rows.group.tolist(), rows.t.tolist(), codes_of(rows.columns), strict=True
    ):
        if chosen := _chosen(codes, parameters[CODE]):
            step = CodeStep(
                t=parameters.shown(t), requests=sum(chosen.values()), status_codes=chosen
            )
            found.setdefault(rows.groups[place], []).append(step)
    return found


def _chosen(codes: _Counts, wanted: Collection[str]) -> _Counts:
    return {code: n for code, n in codes.items() if code in wanted} if wanted else codes


def _together(counts: Mapping[_Name, _Counts]) -> _Counts:
    whole: _Counts = {}
    for codes in counts.values():
        for code, count in codes.items():
            whole[code] = whole.get(code, 0) + count
    # Numbers sort before words.
    return dict(sorted(whole.items()))
