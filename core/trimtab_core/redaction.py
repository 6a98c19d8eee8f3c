"""Reads again what came from elsewhere as the shape of a statement or the name of a command.

Apps and probes send shapes alone. An app or agent of an earlier version, a spool and a store may
hold texts that earlier rules let through: each hop reads them by its own rules, and so do spool and
store, once, when these rules have become stricter (`trimtab_core.shapes.SHAPES`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from trimtab_core.batches import Batch, decode, encode
from trimtab_core.measures import OTHER, Attributes, MeasureKey
from trimtab_core.rediscommands import command_name
from trimtab_core.rows import MAX_ROWS, EventRow, MeasureRow, pack_rows, unpack_rows
from trimtab_core.shapecache import ShapeCache
from trimtab_core.shapes import shape

__all__ = ["redacted_batch", "redacted_event", "redacted_key", "redacted_payload"]

_QUERY: Final = "db.query.text"
_SYSTEM: Final = "db.system.name"
_OPERATION: Final = "db.operation.name"
_READ: Final = frozenset({_QUERY, _OPERATION})
#: what is neither a statement nor a command and stands in their place
_NO_STATEMENTS: Final = frozenset({"", OTHER})
_NO_COMMANDS: Final = frozenset({"MULTI", "PIPELINE", "_OTHER", OTHER})
#: an app cuts the texts of its events and spans here
_CUT_AT: Final = 200
#: how spans tell the wait for a connection
_WAIT: Final = "connection of "


def _no_longer(system: str, text: str) -> str:
    # Rows that fitted into a batch fit into it again.
    return shape(text, system)[: max(len(text), 3)]


_SYSTEMS: Final = ("", "mariadb", "microsoft.sql_server", "mysql", "oracle.db", "postgresql")
_CACHES: Final = {
    system: ShapeCache(partial(_no_longer, system)) for system in (*_SYSTEMS, "sqlite")
}


#: statement or command -> attributes with it that were read lately and found to be fine
_fine: Final[dict[str | None, Attributes]] = {}
_MOST_FINE: Final = 4096


def redacted_key(key: MeasureKey) -> MeasureKey:
    """Return a measure whose statement is a shape; the same object if it was one. 0.3 us."""
    attributes = key.attributes
    for name, text in attributes:
        if name in _READ:
            return key if _fine.get(text) == attributes else _read_again(key)
    return key


def redacted_event(event: Mapping[str, Any], *, spans: bool = False) -> Mapping[str, Any]:
    """Return an event whose statements are shapes; the same object if they were.

    With spans, those of a request are read, too. They do not say which system they are of, so names
    in double quotes may be taken for values.
    """
    text, timeline = event.get("query"), event.get("spans") if spans else None
    if isinstance(text, str) and text:
        found = _of_cut(text, str(event.get("system", "")))
        if found != text:
            event = {**event, "query": found}
    if isinstance(timeline, list) and timeline:
        again = [_span(each) for each in timeline]
        if again != timeline:
            event = {**event, "spans": again}
    return event


def redacted_batch(
    batch: Batch, malformed: list[str] | None = None, *, spans: bool = False
) -> tuple[Batch, list[MeasureRow], list[EventRow]]:
    """Return a batch with shapes for statements, the same object if it has no others; and its rows.

    Rows that are malformed are left out, as by `unpack_rows`, whose errors it raises.
    """
    measures, events = unpack_rows(batch.rows, malformed)
    found = _redacted_rows(measures, events, spans=spans)
    if found is None:
        return batch, measures, events
    (rows,) = pack_rows(*found, most=2 * MAX_ROWS)
    return replace(batch, rows=rows), *found


def redacted_payload(payload: bytes) -> bytes | None:
    """Return a packed batch with shapes for statements; None if it has no others.

    Raises BatchError for a payload that cannot be read.
    """
    batch = decode(payload)
    again, _, _ = redacted_batch(batch, spans=True)
    return None if again is batch else encode(again)


def _redacted_rows(
    measures: Sequence[MeasureRow], events: Sequence[EventRow], *, spans: bool = False
) -> tuple[list[MeasureRow], list[EventRow]] | None:
    """Return rows with shapes for statements; None if they have no others."""
    for row in measures:
        if redacted_key(row.key) is not row.key:
            break
    else:
        if all(redacted_event(each.event, spans=spans) is each.event for each in events):
            return None
    return (
        [row._replace(key=redacted_key(row.key)) for row in measures],
        [row._replace(event=redacted_event(row.event, spans=spans)) for row in events],
    )


def _read_again(key: MeasureKey) -> MeasureKey:
    texts = dict(key.attributes)
    query = texts.get(_QUERY)
    if query is not None and query not in _NO_STATEMENTS:
        cache = _CACHES.get(texts.get(_SYSTEM, ""), _CACHES[""])
        texts[_QUERY] = cache.of(query)
    operation = texts.get(_OPERATION)
    if operation is not None and operation not in _NO_COMMANDS:
        is_redis = texts.get(_SYSTEM) == "redis" or key.name.startswith("redis.")
        if is_redis and command_name(operation) != operation:
            texts[_OPERATION] = "_OTHER"
    if all(texts[name] == text for name, text in key.attributes):
        if len(_fine) >= _MOST_FINE:
            _fine.clear()
        _fine[operation if query is None else query] = key.attributes
        return key
    return key._replace(attributes=tuple((name, texts[name]) for name, _ in key.attributes))


def _of_cut(text: str, system: str) -> str:
    """Return the shape of a text; the text itself if it is one that was cut."""
    found = _CACHES.get(system, _CACHES[""]).of(text)
    if len(text) >= _CUT_AT and text.rstrip("; ") == found:
        return text
    is_cut = len(text) >= _CUT_AT and found.endswith("...")
    return text if is_cut and text.startswith(found.removesuffix("...").rstrip()) else found


def _span(span: Any) -> Any:
    if not isinstance(span, list) or len(span) != 4 or not isinstance(span[3], str):
        return span
    what, text = span[0], span[3]
    if what == "db" and not text.startswith(_WAIT):
        return [*span[:3], _of_cut(text, "sqlite")]
    if what == "cache" and text not in _NO_COMMANDS and command_name(text) != text:
        return [*span[:3], "_OTHER"]
    return span
