"""Why requests take longer than before: the difference of two sides divided by cause and group.

What is explained is the mean response time with the queue wait in front of it, since means can be
divided exactly; percentiles cannot, and stand beside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from math import nan, sqrt
from typing import Any, Final

import numpy as np

from trimtab_collector.contract.comparison import LEAST
from trimtab_collector.contract.explanation import (
    CAUSES,
    PARTS,
    CallsPerRequest,
    Cause,
    ExplainedCalls,
    ExplainedInstance,
    ExplainedRoute,
    ExplainedVersion,
    Explanation,
)
from trimtab_collector.contract.languages import language_of
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.reads.comparison import side_of
from trimtab_collector.reads.evidence import (
    OWN,
    gauges_of,
    hosts_called,
    owned,
    pause_shares,
    statements_run,
)
from trimtab_collector.reads.figures import group_of
from trimtab_collector.reads.reader import StoreReader
from trimtab_collector.reads.reasons import notes_of
from trimtab_collector.reads.routes import ROUTE_FIELDS
from trimtab_collector.reads.shares import ShareOfChange, Spent, added, parts_of, spent_of
from trimtab_collector.reads.sides import Sides, check_groups, earlier, sides_of
from trimtab_collector.storage.columns import MIDDLES_US, quantiles_us
from trimtab_collector.storage.store import Rows

__all__ = ["LargestShare", "explain", "largest_share"]

_INSTANCE: Final = OWN
_VERSION: Final = ("environment", "service", "version")
#: with fewer requests on a side a mean says little to those who get a message
_FEWEST: Final = 50
#: a smaller share of the mean is no change worth a sentence
_WORTH: Final = 0.05


@dataclass(frozen=True, slots=True)
class LargestShare:
    """What accounts for most of what requests became slower by."""

    #: one of CAUSES, and its share of the rise
    cause: str
    cause_share: float
    #: the route that accounts for most of the rise, and its share
    environment: str
    service: str
    route: str
    method: str
    route_share: float


def largest_share(
    reader: StoreReader, where: Mapping[str, str], from_s: float, to_s: float, now_s: float
) -> LargestShare | None:
    """Return what accounts for most of the rise against the range of equal length before.

    where has fields of series. None where requests did not become slower by a twentieth or more, or
    are too few to say so. Two reads of points by route, for reading threads; raises TooMuchError.
    """
    b = reader.ranges.stored(Parameters(where, from_s, to_s, now_s, UTC, {}, {}))
    spent = [
        spent_of(reader.rows(side, ROUTE_FIELDS), ROUTE_FIELDS, {})
        for side in (earlier(reader.ranges, b), b)
    ]
    all_a, all_b = map(added, spent)
    rise = all_b.mean - all_a.mean
    if min(all_a.requests, all_b.requests) < _FEWEST or rise < _WORTH * all_a.mean or not rise:
        return None
    cause = max(CAUSES, key=lambda name: all_b.of(name) - all_a.of(name))
    part = parts_of(*spent)[0]
    environment, service, route, method = part.name
    return LargestShare(
        cause=cause,
        cause_share=(all_b.of(cause) - all_a.of(cause)) / rise,
        environment=environment,
        service=service,
        route=route,
        method=method,
        route_share=part.difference / rise,
    )


def explain(reader: StoreReader, parameters: Parameters) -> Explanation:
    """Return why requests became slower or faster: by cause, route, instance and version."""
    sides = sides_of(reader.ranges, parameters)
    limit, least = parameters[PARTS], parameters[LEAST]
    whole = [reader.rows(side) for side in (sides.a, sides.b)]
    requests = [int(rows.columns.value("requests").sum()) for rows in whole]
    a, b = (
        side_of(side, where, {"requests": count}, rows.resolution_s)
        for side, where, count, rows in zip(
            (sides.a, sides.b), (sides.a_where, sides.b_where), requests, whole, strict=True
        )
    )
    pauses = _pauses(reader, sides)
    spent_a, spent_b, routes = _parts(reader, sides, ROUTE_FIELDS, pauses)
    *_, instances = _parts(reader, sides, _INSTANCE, pauses)
    *_, versions = _parts(reader, sides, _VERSION, pauses)
    both = bool(spent_a.requests and spent_b.requests)
    difference = spent_b.mean - spent_a.mean if both else nan
    causes = _causes(spent_a, spent_b, difference) if both else []
    noise = _noise(whole) if both else None
    statements, hosts = _called(reader, sides) if both else ([], [])
    return Explanation(
        a=a,
        b=b,
        mean_a=spent_a.mean if spent_a.requests else None,
        mean_b=spent_b.mean if spent_b.requests else None,
        difference=difference if both else None,
        noise=noise,
        p95_a=_p95(whole[0]),
        p95_b=_p95(whole[1]),
        enough=min(requests) >= least,
        causes=causes,
        routes=_shown(ExplainedRoute, ROUTE_FIELDS, routes[:limit], difference),
        routes_left_out=max(0, len(routes) - limit),
        instances=_shown(ExplainedInstance, _INSTANCE, instances[:limit], difference),
        instances_left_out=max(0, len(instances) - limit),
        versions=_shown(ExplainedVersion, _VERSION, versions[:limit], difference),
        versions_left_out=max(0, len(versions) - limit),
        statements=statements[:limit],
        statements_left_out=max(0, len(statements) - limit),
        hosts=hosts[:limit],
        hosts_left_out=max(0, len(hosts) - limit),
        gauges=gauges_of(reader, (sides.a, sides.b), _instances(sides, instances)),
        notes=notes_of(
            sides, (spent_a, spent_b), causes, routes, noise, least, language_of(parameters)
        ),
    )


def _pauses(reader: StoreReader, sides: Sides) -> list[dict[tuple[str, str], float]]:
    """Return the shares of pauses on each side; of what one side lacks there is no difference."""
    found = [pause_shares(reader, side) for side in (sides.a, sides.b)]
    both = found[0].keys() & found[1].keys()
    return [{service: side[service] for service in both} for side in found]


def _called(reader: StoreReader, sides: Sides) -> tuple[list[ExplainedCalls], list[ExplainedCalls]]:
    """Return statements and hosts; nothing where measures do not know what tells sides apart."""
    if sides.field not in (None, *OWN):
        return [], []
    known = [owned(side) for side in (sides.a, sides.b)]
    served = [int(reader.rows(side).columns.value("requests").sum()) for side in known]
    return statements_run(reader, known, served), hosts_called(reader, known, served)


def _parts(
    reader: StoreReader,
    sides: Sides,
    fields: Sequence[str],
    pauses: Sequence[Mapping[tuple[str, str], float]],
) -> tuple[Spent, Spent, list[ShareOfChange]]:
    """Return what all groups spent on each side, and their parts in the difference."""
    found = [reader.rows(side, fields) for side in (sides.a, sides.b)]
    check_groups(*(len(rows.groups) for rows in found))
    a, b = (spent_of(rows, fields, share) for rows, share in zip(found, pauses, strict=True))
    # Of groups by what tells the sides apart each would be on one side only.
    parts = [] if sides.field in fields else parts_of(a, b)
    return added(a), added(b), parts


def _instances(sides: Sides, parts: Sequence[ShareOfChange]) -> tuple[set[str], set[str]]:
    """Return the instances of each side."""
    if sides.field == "instance":
        return {sides.a_where["instance"]}, {sides.b_where["instance"]}
    return (
        {part.name[2] for part in parts if part.a.requests},
        {part.name[2] for part in parts if part.b.requests},
    )


def _causes(a: Spent, b: Spent, difference: float) -> list[Cause]:
    """Return causes, those with the largest share of the difference first."""
    found = [
        Cause(
            cause=cause,
            a=a.of(cause),
            b=b.of(cause),
            difference=b.of(cause) - a.of(cause),
            share=_share(b.of(cause) - a.of(cause), difference),
            calls=_calls(a, b, cause),
        )
        for cause in CAUSES
        if cause in a.ms or cause in b.ms
    ]
    sign = 1 if difference >= 0 else -1
    return sorted(found, key=lambda each: -sign * each.difference)


def _calls(a: Spent, b: Spent, cause: str) -> CallsPerRequest | None:
    counts = [side.calls.get(cause, 0) / side.requests for side in (a, b)]
    if not any(counts):
        return None
    # Without calls on a side one would take as long as on the other: all is by their count.
    means = [side.of(cause) / count if count else None
             for side, count in zip((a, b), counts, strict=True)]  # fmt: skip
    one, other = (means[0] if means[0] is not None else means[1] or 0.0,
                  means[1] if means[1] is not None else means[0] or 0.0)  # fmt: skip
    return CallsPerRequest(
        a=counts[0],
        b=counts[1],
        mean_a=means[0],
        mean_b=means[1],
        by_count=(counts[1] - counts[0]) * (one + other) / 2,
        by_duration=(other - one) * (counts[0] + counts[1]) / 2,
    )


def _shown(
    row: type[Any], fields: Sequence[str], parts: Sequence[ShareOfChange], difference: float
) -> list[Any]:
    return [
        row(
            **group_of(fields, part.name),
            requests_a=part.a.requests,
            requests_b=part.b.requests,
            mean_a=part.a.mean if part.a.requests else None,
            mean_b=part.b.mean if part.b.requests else None,
            difference=part.difference,
            share=_share(part.difference, difference),
            slower=part.slower,
            shift=part.shift,
            causes=dict(part.causes),
        )
        for part in parts
    ]


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _p95(rows: Rows) -> float | None:
    if not rows.columns.value("requests").sum():
        return None
    return float(quantiles_us(rows.columns, (0.95,))[0, 0]) / 1000


def _noise(whole: Sequence[Rows]) -> float:
    """Return two standard errors of the difference of the means, ms.

    Variances are those of the sketches; requests count as independent of each other.
    """
    error = 0.0
    for rows in whole:
        counts = rows.columns.counts.astype(np.float64)
        values = MIDDLES_US[rows.columns.indexes] / 1000
        count = counts.sum()
        mean = (counts * values).sum() / count
        error += float((counts * (values - mean) ** 2).sum() / count**2)
    return 2 * sqrt(error)
