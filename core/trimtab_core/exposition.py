"""Prometheus text format, version 0.0.4 (prometheus.io, "Exposition formats")."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

__all__ = ["CONTENT_TYPE", "MetricFamily", "lines", "render"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class MetricFamily(NamedTuple):
    """One metric: its Prometheus name, kind (counter, gauge, histogram), help and samples.

    A sample is (suffix to the name, labels, value).
    """

    name: str
    kind: str
    help: str
    samples: Iterable[tuple[str, Mapping[str, str], float]]


def render(families: Iterable[MetricFamily]) -> str:
    """Return the text of the families, each under its HELP and TYPE lines."""
    return "\n".join(lines(families)) + "\n"


def lines(families: Iterable[MetricFamily]) -> Iterator[str]:
    """Yield the lines of the text one by one, so that a caller can do other work in between."""
    for family in families:
        yield f"# HELP {family.name} {_escape_help(family.help)}"
        yield f"# TYPE {family.name} {family.kind}"
        for suffix, labels, value in family.samples:
            shown = ",".join(f'{name}="{_escape(text)}"' for name, text in labels.items())
            braces = f"{{{shown}}}" if shown else ""
            yield f"{family.name}{suffix}{braces} {_number(value)}"


def _number(value: float) -> str:
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(value)


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _escape_help(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")
