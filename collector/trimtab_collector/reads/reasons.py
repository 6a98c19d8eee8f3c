"""What an explanation comes to, in sentences."""

from collections.abc import Sequence
from typing import Final

from trimtab_collector.contract.explanation import Cause
from trimtab_collector.reads.evidence import OWN
from trimtab_collector.reads.shares import ShareOfChange, Spent
from trimtab_collector.reads.sides import Sides

__all__ = ["notes_of"]

_WORDS: Final = {
    "database": "time in queries",
    "external": "time in calls to other services",
    "cache": "time in reads of caches",
    "queue": "waiting before the app",
    "gc": "garbage collection",
    "app": "time in the app itself",
}


def notes_of(
    sides: Sides,
    spent: tuple[Spent, Spent],
    causes: Sequence[Cause],
    routes: Sequence[ShareOfChange],
    noise: float | None,
    least: int,
) -> list[str]:
    """Return what was found and what limits it; noise is None where a side has no requests."""
    a, b = spent
    sizes = [
        f"{name} has {side_spent.requests:,} requests in {side.seconds:,g} s"
        for name, side_spent, side in (("a", a, sides.a), ("b", b, sides.b))
    ]
    notes = [", ".join(sizes)]
    if noise is None:
        return [*notes, "a side has no requests: nothing is explained"]
    difference = b.mean - a.mean
    notes.append(
        f"a request takes {b.mean:.1f} ms on side b, {a.mean:.1f} ms on side a: "
        f"{abs(difference):.1f} ms {'more' if difference >= 0 else 'less'}"
    )
    if min(a.requests, b.requests) < least:
        notes.append(f"a side has fewer than {least} requests: its mean says little")
    if abs(difference) <= noise:
        return [*notes, f"a difference of up to {noise:.1f} ms is to be expected by chance"]
    notes.append(_cause(causes[0]))
    notes += [_route(part, difference) for part in routes[:1]]
    if min(a.of("app"), b.of("app")) < 0:
        notes.append(
            "calls of one request ran at the same time: together they take longer than the request"
        )
    if sides.field not in (None, *OWN):
        notes.append(f"statements and hosts are not known by {sides.field}")
    elif set(sides.b.selection.where) - set(OWN):
        notes.append("statements and hosts are those of all routes, versions, methods and statuses")
    return notes


def _cause(cause: Cause) -> str:
    """Return which cause accounts for most, and whether calls grew in number or in length."""
    text = f"{cause.share or 0:.0%} of the difference is {_WORDS[cause.cause]}"
    calls = cause.calls
    if calls is None:
        return text
    if abs(calls.by_count) > abs(calls.by_duration):
        return f"{text}, mostly because a request makes {calls.b:.1f} calls, not {calls.a:.1f}"
    if calls.mean_a is None or calls.mean_b is None:
        return text
    return f"{text}, mostly because a call takes {calls.mean_b:.1f} ms, not {calls.mean_a:.1f} ms"


def _route(part: ShareOfChange, difference: float) -> str:
    """Return how much of the difference one route is, and in which way."""
    _, service, route, method = part.name
    why = "because its share of the requests changed" if abs(part.shift) > abs(part.slower) else ""
    text = f"{part.difference / difference:.0%} of it is {method} {route} of {service}"
    return f"{text}, mostly {why}" if why else text
