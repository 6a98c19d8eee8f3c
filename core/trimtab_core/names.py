"""Names from outside, cleaned; and names and units of metrics, as Prometheus shows them.

Names of services, routes, methods, labels and whatever else an app or an agent sets pass
`clean_name` where they are decoded, in the agent and again in the collector: nothing that a
terminal, a page or a reader of lines obeys is ever stored.

A name is what OpenTelemetry allows for instruments and Prometheus can show: letters, digits,
underscores and dots, beginning with a letter. A unit is a UCUM code (`s`, `By`, `1`, `%`), the
counted thing in braces (`{order}`), or one per another (`By/s`).
"""

import re
from collections.abc import Sequence
from typing import Final

__all__ = [
    "MAX_METRIC_NAME",
    "OBEYED",
    "RESERVED_PREFIXES",
    "STOPPING",
    "check_labels",
    "check_name",
    "check_unit",
    "clean_name",
    "exposed_label",
    "exposed_name",
    "exposed_samples",
    "suggest_name",
]

#: What somebody obeys: C0 and C1 controls, DEL, marks and overrides of direction, separators of
#: lines, lone surrogates, characters without width, byte order marks, tags. Joiners (U+200C and
#: U+200D) are none of them: Persian, Hindi and emoji need them.
OBEYED: Final = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff"
    "\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
#: those of them that stand for white space
_SPACES: Final = frozenset("\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\u2028\u2029")
_UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
#: Gauge of an agent that stops in order, in its last batch.
STOPPING: Final = "trimtab.agent.stopping"
#: Longest name of a metric, in characters; with a suffix (`.duration`) it still fits the wire.
MAX_METRIC_NAME: Final = 100
#: Metrics whose names begin with these are trimtab's own; an app's own metrics must not.
RESERVED_PREFIXES: Final = (
    "container.", "cpython.", "db.", "http.", "messaging.", "postgresql.", "process.", "redis.",
    "system.", "trimtab.",
)  # fmt: skip
#: Labels that would collide with arguments of calls that take labels, or with Prometheus's own.
RESERVED_LABELS: Final = frozenset({"self", "amount", "value", "q", "le", "quantile"})
MAX_LABELS: Final = 16

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*", re.ASCII)
_THING: Final = re.compile(r"\{[A-Za-z0-9_.-]+\}", re.ASCII)
_UNITS: Final = frozenset({
    "1", "%", "s", "ms", "us", "ns", "min", "h", "d", "wk", "a", "bit", "By", "kBy", "MBy", "GBy",
    "KiBy", "MiBy", "GiBy", "TiBy", "Hz", "W", "J", "V", "A", "m", "km", "g", "kg", "K", "Cel", "L",
    "Pa",
})  # fmt: skip
#: units as people write them, and their codes
_MEANT: Final = {
    "": "1", "sec": "s", "secs": "s", "second": "s", "seconds": "s", "millis": "ms",
    "millisecond": "ms", "milliseconds": "ms", "msec": "ms", "microseconds": "us", "µs": "us",
    "nanoseconds": "ns", "minute": "min", "minutes": "min", "hour": "h", "hours": "h", "day": "d",
    "days": "d", "byte": "By", "bytes": "By", "b": "By", "kb": "kBy", "mb": "MBy", "gb": "GBy",
    "kib": "KiBy", "mib": "MiBy", "gib": "GiBy", "bits": "bit", "percent": "%", "ratio": "1",
    "none": "1", "count": "1", "celsius": "Cel", "hertz": "Hz", "watts": "W", "joules": "J",
}  # fmt: skip
#: unit -> what Prometheus appends to the name
_SUFFIXES: Final = {
    "s": "_seconds", "ms": "_milliseconds", "us": "_microseconds", "ns": "_nanoseconds",
    "min": "_minutes", "h": "_hours", "d": "_days", "By": "_bytes", "KiBy": "_kibibytes",
    "MiBy": "_mebibytes", "GiBy": "_gibibytes", "bit": "_bits", "%": "_percent",
    "Hz": "_hertz", "Cel": "_celsius",
}  # fmt: skip


def clean_name(text: str) -> str:
    """Return a name in which nothing is obeyed: one space or U+FFFD for each such character.

    It has as many characters as the text; of a text that is clean it is the text itself.
    """
    if text.isascii() and text.isprintable():
        return text
    return OBEYED.sub(lambda found: " " if found[0] in _SPACES else _UNKNOWN, text)


def check_name(name: str) -> None:
    """Raise ValueError, which says what to write instead, unless this can be a metric's name."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > MAX_METRIC_NAME:
        raise ValueError(
            f"expected a metric name of letters, digits, underscores and dots, a letter first, "
            f"at most {MAX_METRIC_NAME} characters, got {name!r:.120}: "
            f"write {suggest_name(str(name))!r}"
        )
    if name.startswith(RESERVED_PREFIXES):
        raise ValueError(
            f"expected a metric name that does not begin with one of trimtab's own prefixes "
            f"({', '.join(RESERVED_PREFIXES)}), got {name!r}: "
            f"write {suggest_name(name)!r}"
        )


def suggest_name(text: str) -> str:
    """Return a name that `check_name` accepts, as close to the text as possible."""
    words = re.sub(r"[^A-Za-z0-9_.]+", "_", text.strip(), flags=re.ASCII)
    words = re.sub(r"\.[_.]*\.", ".", re.sub(r"__+", "_", words))
    words = re.sub(r"^[^A-Za-z]+", "", words).rstrip("._") or "metric"
    if words.startswith(RESERVED_PREFIXES):
        words = f"app.{words}"
    return words[:MAX_METRIC_NAME].rstrip(".")


def check_labels(labels: Sequence[str]) -> None:
    """Raise ValueError unless these can be the label names of one metric."""
    shown: set[str] = set()
    if isinstance(labels, str):
        raise ValueError(f"expected names of labels, got the text {labels!r}: write [{labels!r}]")
    if len(labels) > MAX_LABELS:
        raise ValueError(f"expected at most {MAX_LABELS} labels, got {len(labels)}: leave some out")
    for label in labels:
        good = isinstance(label, str) and _NAME.fullmatch(label) and len(label) <= MAX_METRIC_NAME
        if not good:
            raise ValueError(
                f"expected a label name of letters, digits, underscores and dots, a letter "
                f"first, got {label!r:.120}: write {suggest_name(str(label))!r}"
            )
        if label in RESERVED_LABELS:
            raise ValueError(
                f"expected a label that is not one of {', '.join(sorted(RESERVED_LABELS))}, "
                f"got {label!r}: write '{label}_name'"
            )
        if exposed_label(label) in shown:
            raise ValueError(
                f"expected labels that differ, got {label!r} twice: rename one of them"
            )
        shown.add(exposed_label(label))


def check_unit(unit: str) -> None:
    """Raise ValueError, which says what to write instead, unless this is the code of a unit."""
    if isinstance(unit, str) and len(unit) <= MAX_METRIC_NAME:
        parts = unit.split("/")
        if len(parts) <= 2 and all(part in _UNITS or _THING.fullmatch(part) for part in parts):
            return
    raise ValueError(
        f"expected a unit such as 's', 'By', '1', '%' or '{{order}}', got {unit!r:.120}: "
        f"write {_suggest_unit(str(unit))!r}"
    )


def _suggest_unit(unit: str) -> str:
    numerator, slash, divisor = unit.strip().partition("/")
    if slash and divisor.strip() and "/" not in divisor:
        return f"{_suggest_unit(numerator)}/{_suggest_unit(divisor)}"
    text = unit.strip()
    if text in _UNITS or _THING.fullmatch(text):
        return text
    meant = _MEANT.get(text.lower())
    if meant is not None:
        return meant
    thing = re.sub(r"[^A-Za-z0-9_.-]+", "_", text, flags=re.ASCII).strip("_") or "thing"
    return f"{{{thing[:40]}}}"


def exposed_name(name: str, kind: str, unit: str) -> str:
    """Return the name in Prometheus: with its unit and, for a counter, `_total` at the end.

    A name that ends in its unit already does not get it twice; the unit `1` and things in braces
    add nothing.
    """
    counts = kind == "counter"
    shown = name.replace(".", "_")
    if counts:
        shown = shown.removesuffix("_total")
    suffix = _SUFFIXES.get(unit, "")
    if not shown.endswith(suffix):
        shown += suffix
    return shown + "_total" if counts else shown


def exposed_label(label: str) -> str:
    """Return the name of a label in Prometheus."""
    return label.replace(".", "_")


def exposed_samples(name: str, kind: str, unit: str) -> frozenset[str]:
    """Return every name that a metric's samples may have in Prometheus; no other metric may."""
    shown = exposed_name(name, kind, unit)
    if kind in ("counter", "gauge"):
        return frozenset({shown})
    return frozenset({shown, f"{shown}_count", f"{shown}_sum", f"{shown}_bucket"})
