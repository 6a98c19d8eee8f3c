"""What an explanation comes to, in sentences of a language."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from trimtab_collector.contract.explanation import Cause
from trimtab_collector.contract.languages import Phrases
from trimtab_collector.reads.evidence import OWN
from trimtab_collector.reads.shares import ShareOfChange, Spent
from trimtab_collector.reads.sides import Sides

__all__ = ["PHRASES", "notes_of"]

PHRASES: Final = Phrases.of(Path(__file__).parent / "texts")


def notes_of(
    sides: Sides,
    spent: tuple[Spent, Spent],
    causes: Sequence[Cause],
    routes: Sequence[ShareOfChange],
    noise: float | None,
    least: int,
    language: str,
) -> list[str]:
    """Return what was found and what limits it; noise is None where a side has no requests."""
    a, b = spent

    def say(key: str, **fields: Any) -> str:
        return PHRASES.say(language, key, **fields)

    field = sides.field
    names = {
        name: where.get(field, "") if field is not None else say(f"side.{name}")
        for name, where in (("a", sides.a_where), ("b", sides.b_where))
    }
    sizes = {
        "requests_a": a.requests,
        "requests_b": b.requests,
        "seconds_a": sides.a.seconds,
        "seconds_b": sides.b.seconds,
    }
    notes = [say("note.sizes", **names, **sizes)]
    if noise is None:
        return [*notes, say("note.empty")]
    change = b.mean - a.mean
    means = {"mean_a": a.mean, "mean_b": b.mean, "difference": abs(change)}
    notes.append(say("note.more" if change >= 0 else "note.less", **names, **means))
    if min(a.requests, b.requests) < least:
        notes.append(say("note.few", least=least))
    if abs(change) <= noise:
        return [*notes, say("note.chance", noise=noise)]
    notes.append(_cause(causes[0], language))
    notes += [_route(part, change, language) for part in routes[:1]]
    if min(a.of("app"), b.of("app")) < 0:
        notes.append(say("note.beside"))
    if field not in (None, *OWN):
        notes.append(say("note.unknown", field=field))
    elif set(sides.b.selection.where) - set(OWN):
        notes.append(say("note.whole"))
    return notes


def _cause(cause: Cause, language: str) -> str:
    """Return which cause accounts for most, and whether calls grew in number or in length."""
    fields: dict[str, Any] = {
        # More than all of it, where another cause shrank.
        "share": min(1.0, cause.share or 0),
        "cause": PHRASES.say(language, f"cause.{cause.cause}"),
    }
    calls = cause.calls
    if calls is None:
        return PHRASES.say(language, "note.cause", **fields)
    if abs(calls.by_count) > abs(calls.by_duration):
        return PHRASES.say(language, "note.cause_count", a=calls.a, b=calls.b, **fields)
    if calls.mean_a is None or calls.mean_b is None:
        return PHRASES.say(language, "note.cause", **fields)
    return PHRASES.say(language, "note.cause_length", a=calls.mean_a, b=calls.mean_b, **fields)


def _route(part: ShareOfChange, difference: float, language: str) -> str:
    """Return how much of the difference one route is, and in which way."""
    _, service, route, method = part.name
    share = min(1.0, part.difference / difference)
    key = "note.route_shift" if abs(part.shift) > abs(part.slower) else "note.route"
    return PHRASES.say(language, key, share=share, route=f"{method} {route}", service=service)
