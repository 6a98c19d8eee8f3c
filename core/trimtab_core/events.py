"""What an event may hold: one form for app, agent and collector.

An event is a map of short texts, numbers and lists of these, with `kind` and `at_us`. What the
agent takes from an app, the collector takes from the agent, stores as JSON and answers.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgpack

from trimtab_core.fields import MALFORMED, count_of, mapping, name_of
from trimtab_core.names import clean_name

__all__ = ["MAX_CONTAINERS", "MAX_EVENT", "containers_of", "event_of", "fitting"]

#: Bytes of an event, packed.
MAX_EVENT: Final = 32_768
#: Lists and maps in an event, itself included; as objects they take 70 times their bytes.
MAX_CONTAINERS: Final = 500
_MAX_DEPTH: Final = 4
_PLAIN: Final = frozenset({str, int, bool, type(None)})
_NUMBERS: Final = frozenset({int, float})
_TEXTS: Final = frozenset({str, type(None)})
_MOST: Final = 2**63 - 1
_SPAN: Final = [str, int, int, str]
#: Fields that readers calculate with, and fields that they show as texts.
_KNOWN: Final = dict.fromkeys((
    "status", "duration_us", "queue_us", "db_us", "db_calls", "external_us", "external_calls",
    "cache_us", "cache_hits", "cache_misses", "spans_left_out", "count",
), _NUMBERS) | dict.fromkeys((
    "route", "method", "trace", "span", "reason", "error", "error_site", "version", "query",
    "system", "site", "caller",
), _TEXTS)  # fmt: skip


def event_of(value: Any) -> Mapping[str, Any]:
    """Return an event, its texts and those of its lists and maps cleaned as names are.

    Checks everything but its size in bytes: keys, types, numbers, depth, and fields that are known.
    Raises an error of MALFORMED for a value that is not an event.
    """
    containers_of(value)
    names = "".join(value)
    if not (names.isascii() and names.isprintable()):
        value = {clean_name(name): part for name, part in value.items()}
    return {
        name: clean_name(part) if (kind := type(part)) is str
        else _clean_spans(part) if name == "spans"
        else _clean(part) if kind is list or kind is dict
        else part
        for name, part in value.items()
    }  # fmt: skip


def containers_of(value: Any) -> int:
    """Return how many lists and maps an event has, like `event_of`."""
    event = mapping(value)
    name_of(event["kind"])
    count_of(event["at_us"])
    room = MAX_CONTAINERS - 1
    for name, part in event.items():
        kind = type(part)
        if type(name) is not str:
            raise TypeError(f"expected texts as keys of an event, got {name!r:.40}")
        known = _KNOWN.get(name)
        if known is not None and kind not in known:
            raise TypeError(f"expected another type of {name}, got {kind.__name__}")
        if kind is int or kind is float:
            if known is _NUMBERS and not 0 <= part <= _MOST:
                raise ValueError(f"expected {name} as a number from 0, got {part!r:.40}")
            if kind is float and part - part != 0:
                raise ValueError(f"expected finite numbers in an event, got {part!r}")
        elif name == "spans":
            room -= _spans(part)
        elif kind not in _PLAIN:
            room -= _count(part, _MAX_DEPTH, room)
    if room < 0:
        raise ValueError(f"expected at most {MAX_CONTAINERS} lists and maps in an event")
    return MAX_CONTAINERS - room


def fitting(value: Any) -> Mapping[str, Any] | None:
    """Return an event as `event_of` does; None if it is none, or is over MAX_EVENT bytes.

    It is measured cleaned, since that is what goes on: a character of one byte may become three.
    """
    try:
        event = event_of(value)
        return event if len(msgpack.packb(event)) <= MAX_EVENT else None
    except (*MALFORMED, OverflowError):
        return None


def _count(value: Any, depth: int, room: int) -> int:
    """Return how many lists and maps a value is made of; room is how many it may be."""
    if not depth or room < 1:
        raise ValueError(f"expected at most {MAX_CONTAINERS} lists and maps, {_MAX_DEPTH} deep")
    if type(value) is dict:
        if any(type(name) is not str for name in value):
            raise TypeError("expected texts as keys of an event")
        value = value.values()
    elif type(value) is not list:
        raise TypeError(f"expected texts, numbers and lists, got {type(value).__name__}")
    count = 1
    # Most lists hold plain values, which are looked at at the speed of C.
    if not _PLAIN.issuperset(map(type, value)):
        for part in value:
            if type(part) is float:
                if part - part != 0:
                    raise ValueError(f"expected finite numbers in an event, got {part!r}")
            elif type(part) not in _PLAIN:
                count += _count(part, depth - 1, room - count)
    return count


def _clean(value: Any) -> Any:
    """Return a value with clean texts; its types are those that `containers_of` lets through."""
    kind = type(value)
    if kind is str:
        return clean_name(value)
    if kind is list:
        return [_clean(part) for part in value]
    if kind is dict:
        return {clean_name(name): _clean(part) for name, part in value.items()}
    return value


def _clean_spans(spans: list[list[Any]]) -> list[list[Any]]:
    # All texts at once: a request may have hundreds of spans, and as a rule all are clean.
    together = "".join([kind + text for kind, _, _, text in spans])
    return spans if together.isascii() and together.isprintable() else list(map(_clean, spans))


def _spans(spans: Any) -> int:
    """Return how many lists the spans of a request are."""
    if type(spans) is not list or len(spans) >= MAX_CONTAINERS:
        raise TypeError(f"expected spans as a list of up to {MAX_CONTAINERS} lists")
    for span in spans:
        if type(span) is not list or list(map(type, span)) != _SPAN:
            raise TypeError(f"expected a span as [text, start, duration, text], got {span!r:.40}")
        if span[1] < 0 or span[2] < 0:
            raise ValueError(f"expected times of a span from 0, got {span!r:.40}")
    return 1 + len(spans)
