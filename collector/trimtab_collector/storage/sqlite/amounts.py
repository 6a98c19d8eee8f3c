"""Measures and what was added to them within a window, as rows of `measure` and `amount`."""

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trimtab_collector.storage.grouping import WhoseMeasure
from trimtab_collector.storage.sqlite.checksums import UnreadableError, checksum
from trimtab_core.measures import MAX_SUM, OTHER, Attributes, Delta, MeasureKey

__all__ = [
    "AMOUNT_COLUMNS",
    "INSERT_AMOUNT",
    "amount_row",
    "attributes_text",
    "delta_of_row",
    "measure_key",
    "other_measure",
    "other_of_service",
]

AMOUNT_COLUMNS: Final = "measure, t, step_s, count, sum, min, max, last, buckets, crc"
INSERT_AMOUNT: Final = (
    f"INSERT INTO amount ({AMOUNT_COLUMNS})"  # noqa: S608
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(list[int]).decode


def amount_row(measure: int, t: int, step_s: int, delta: Delta) -> tuple[object, ...]:
    """Return the columns of a row.

    The number of the measure is added to the checksum of the rest, so that SQL can give the row
    to another measure.
    """
    # As it travels: counts and sums are within what a column holds.
    row: list[Any] = delta.row()
    count, *numbers, flat = row
    # SQLite keeps no sign of a zero.
    values = (t, step_s, count, *(each + 0.0 for each in numbers), _pack(flat))
    return measure, *values, checksum(*values) + measure


def delta_of_row(row: Sequence[Any]) -> Delta:
    """Return what a row holds; raises UnreadableError if it is not as it was written."""
    measure, *values, crc = row
    try:
        if crc is not None and crc != checksum(*values) + measure:
            raise UnreadableError("expected a row as it was written, its checksum differs")
        count, total, least, most, last, packed = values[2:]
        # A collector of an earlier version may have added up sums to more than a number holds.
        total = max(-MAX_SUM, min(MAX_SUM, total))
        flat = _unpack(packed)
        return Delta(count, total, least, most, last, dict(zip(flat[::2], flat[1::2], strict=True)))
    except (msgspec.MsgspecError, TypeError, ValueError) as error:
        raise UnreadableError(f"expected a row of amounts, got: {error!s:.100}") from error


def measure_key(row: Sequence[Any]) -> MeasureKey:
    """Return a measure of its name, kind, unit and attributes; raises ValueError, TypeError."""
    name, kind, unit, attributes = row
    pairs = tuple((str(name), str(value)) for name, value in json.loads(attributes))
    return MeasureKey(name, kind, unit, pairs)


def attributes_text(attributes: Attributes) -> str:
    """Return attributes as `measure_key` reads them."""
    return json.dumps(attributes, ensure_ascii=False, separators=(",", ":"))


def other_measure(whose: WhoseMeasure) -> WhoseMeasure:
    """Return the measure that collects this one and all others like it beyond the limit."""
    key = whose[3]
    others = tuple((name, OTHER) for name, _ in key.attributes)
    return (*whose[:2], "", key._replace(attributes=others))


def other_of_service(whose: WhoseMeasure) -> WhoseMeasure:
    """Return the measure that collects measures of any name of a service."""
    kind = whose[3].kind
    return (*whose[:2], "", MeasureKey(OTHER, kind))
