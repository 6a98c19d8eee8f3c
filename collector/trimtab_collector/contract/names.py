"""Names that there are, for forms, and what a search finds."""

from typing import Final

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.kinds import Choice, Text, Whole
from trimtab_collector.contract.pagelink import PageLink

__all__ = [
    "FOUND",
    "KIND_FOUND",
    "LISTED",
    "MATCH",
    "SEARCHED",
    "GaugeName",
    "JudgedName",
    "KnownNames",
    "MeasureName",
    "SearchHit",
    "SearchHits",
]

#: kinds of what a search finds, in the order of the answer
FOUND: Final = ("service", "route", "statement", "metric", "host", "rule")
MATCH: Final = Text("q", "Only names that have this text, in any case.")
LISTED: Final = Whole("limit", "Most names of each list.", 1, 2000, 200)
SEARCHED: Final = Whole("limit", "Most of each kind.", 1, 20, 10)
KIND_FOUND: Final = Choice("kind", "Only what is of this kind.", ("any", *FOUND), "any")


class JudgedName(Body, kw_only=True):
    """A metric that rules can judge by a name of its own."""

    name: str
    #: requests, gauge, measure, ratio (of two measures) or signal
    kind: str
    #: ms, s, ratio, 1/s, bytes; empty for plain numbers
    unit: str
    #: filters and groups that a rule may have
    fields: list[str]
    group_by: list[str]
    #: how it may be read, the default first; empty where the name says it
    figures: list[str]


class GaugeName(Body, kw_only=True):
    """A gauge that is sent now."""

    name: str
    #: UCUM code; null for one that is not in the catalogue
    unit: str | None


class MeasureName(Body, kw_only=True):
    """A measure that is kept."""

    name: str
    #: counter, gauge or histogram
    kind: str
    unit: str
    #: keys of its attributes
    attributes: list[str]
    #: whether an app defined it, and not trimtab
    own: bool


class KnownNames(Body, kw_only=True):
    """Names that there are, each list in the order of the alphabet."""

    metrics: list[JudgedName]
    gauges: list[GaugeName]
    measures: list[MeasureName]
    environments: list[str]
    services: list[str]
    versions: list[str]
    instances: list[str]
    routes: list[str]
    hosts: list[str]
    #: list -> names that it has not, for those that leave out some
    left_out: dict[str, int]


class SearchHit(Body, kw_only=True):
    """Something with the text that was searched for."""

    #: service, route, statement, metric, host or rule
    kind: str
    text: str
    #: whose it is, in words: environment and service
    detail: str
    #: empty where it is of several
    environment: str
    service: str
    #: where it is shown
    link: PageLink


class SearchHits(Body, kw_only=True):
    """What was found, by kind: what begins with the text comes first."""

    q: str
    results: list[SearchHit]
    #: kind -> what was found beyond the limit
    left_out: dict[str, int]
