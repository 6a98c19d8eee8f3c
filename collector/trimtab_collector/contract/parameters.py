"""The parameters that reads share, and the checked parameters of one request."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from typing import Any, Final, TypeVar

from trimtab_collector.contract.callers import NOBODY, Caller
from trimtab_collector.contract.errors import bad_parameter, instant
from trimtab_collector.contract.kinds import (
    Choice,
    Filter,
    Instant,
    Moment,
    Parameter,
    StepWidth,
    Whole,
    Zone,
)

__all__ = [
    "APDEX",
    "BACK_S",
    "FIELDS",
    "FROM",
    "LIMIT",
    "OWNERS",
    "RANGE",
    "REQUESTS",
    "ROUTE",
    "STEP",
    "TO",
    "TZ",
    "BackBy",
    "Parameters",
    "check_range",
    "parse",
]

_T = TypeVar("_T")

_CLASSES: Final = ("1xx", "2xx", "3xx", "4xx", "5xx", "other")
_MAX_RANGE_S: Final = 400 * 86_400
#: the range where `from` is not given, in seconds
BACK_S: Final = 900

#: filters that name who sends; gauges of processes and hosts have these alone
OWNERS: Final = (
    Filter("environment", "Only this environment."),
    Filter("service", "Only this service."),
    Filter("instance", "Only this instance: a worker of a host or pod."),
)
ROUTE: Final = Filter("route", "Only this route template.")
#: every filter of requests, in the order of the fields of a series
REQUESTS: Final = (
    *OWNERS[:2],
    Filter("version", "Only this version of a service."),
    OWNERS[2],
    ROUTE,
    Filter("method", "Only this method."),
    Filter("statusClass", "Only this class of status.", "status_class", _CLASSES),
)
#: parameter -> field of a series, for all that may be filtered and grouped by
FIELDS: Final[Mapping[str, str]] = {each.name: each.field for each in REQUESTS}

FROM: Final = Instant("from", "Start of the range.")
#: examples are later than those of `from`, one by one
TO: Final = Instant(
    "to", "End of the range; without it, now.",
    ("now", "-30m", "1764464400", "2025-11-30T01:00:00Z"),
)  # fmt: skip
TZ: Final = Zone("tz", "Zone of times in the answer, of times without a zone, and of steps.")
RANGE: Final = (FROM, TO, TZ)

LIMIT: Final = Whole("limit", "Most rows; the others are counted as left out.", 1, 1000, 50)
APDEX: Final = Whole("apdex", "The threshold T of Apdex, in milliseconds.", 1, 3_600_000, 500)
STEP: Final = StepWidth("step", "Width of steps: seconds, or of the calendar of `tz`.")


@dataclass(frozen=True, slots=True)
class BackBy:
    """A range without `from` that depends on another parameter of the request."""

    parameter: Choice
    #: value of the parameter -> seconds
    seconds: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Parameters:
    """One checked request; from_s is before to_s, epoch seconds."""

    #: field of a series or gauge -> the text it must have
    where: Mapping[str, str]
    from_s: float
    to_s: float
    now_s: float
    tz: tzinfo
    #: name -> value, of every parameter that the endpoint has
    values: Mapping[str, Any]
    #: name -> text, of those that were given
    given: Mapping[str, str]
    #: what was sent, of the type that the endpoint takes
    body: Any = None
    caller: Caller = NOBODY
    #: address of the client
    address: str = ""
    #: whether the request came over TLS
    secure: bool = False
    #: lower-case name -> text
    headers: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, parameter: Parameter[_T]) -> _T:
        """Return the value of a parameter that the endpoint has, its default if not given."""
        value: _T = self.values[parameter.name]
        return value

    def shown(self, epoch_s: float) -> str:
        """Return a time as ISO 8601 in the zone asked for."""
        return instant(epoch_s, self.tz)

    def chooses(self, **fields: str) -> bool:
        """Return whether something with these fields is among what was asked for."""
        return all(self.where.get(name, text) == text for name, text in fields.items())

    def days_before(self, epoch_s: float, days: int) -> float:
        """Return the same time of day in the zone asked for, some days earlier."""
        moment = datetime.fromtimestamp(epoch_s, self.tz) - timedelta(days=days)
        return moment.timestamp()


def parse(
    declared: Sequence[Parameter[Any]],
    pairs: Iterable[tuple[str, str]],
    now_s: float,
    back: int | BackBy = BACK_S,
) -> Parameters:
    """Return the checked parameters of a request to an endpoint that has those declared.

    RANGE is among them; pairs are names and texts in the order of the query; back is the range
    without `from`. Raises ApiError 422 for names and values that are not understood.
    """
    known = {parameter.name: parameter for parameter in declared}
    query = _texts(known, pairs)
    # The zone comes first: other times are read in it.
    tz = TZ.read(query.get(TZ.name, "UTC"), Moment(now_s, TZ.absent))
    moment = Moment(now_s, tz)
    values = {
        name: parameter.read(query[name], moment) if name in query else parameter.absent
        for name, parameter in known.items()
    }
    to_s = now_s if values[TO.name] is None else values[TO.name]
    from_s = values[FROM.name]
    if from_s is None:
        back_s = back if isinstance(back, int) else back.seconds[values[back.parameter.name]]
        from_s = to_s - back_s
    check_range(from_s, to_s, tz, query)
    where = {each.field: query[each.name] for each in declared
             if isinstance(each, Filter) and each.name in query}  # fmt: skip
    return Parameters(where, from_s, to_s, now_s, tz, values, query)


def _texts(
    known: Mapping[str, Parameter[Any]], pairs: Iterable[tuple[str, str]]
) -> Mapping[str, str]:
    """Return the text of each parameter that was given; a repeated list is one list.

    Raises ApiError 422 for names that are not known and for others that are repeated.
    """
    every: dict[str, list[str]] = {}
    for name, text in pairs:
        if name not in known:
            raise bad_parameter(name, f"a parameter among {', '.join(sorted(known))}", text)
        every.setdefault(name, []).append(text)
    for name, texts in every.items():
        if len(texts) > 1 and not known[name].is_list:
            raise bad_parameter(name, "one value", " and ".join(texts))
    return {name: known[name].between.join(texts) for name, texts in every.items()}


def check_range(
    from_s: float,
    to_s: float,
    tz: tzinfo,
    given: Mapping[str, str],
    begin: str = "from",
    end: str = "to",
) -> None:
    """Raise ApiError 422 for a range that ends before it begins, or is too long.

    begin and end are the parameters that it came from, given their texts, read in a zone: both are
    said, since a time that clocks leave out is read as a later one.
    """

    def said(name: str, epoch_s: float) -> str:
        read = instant(epoch_s, tz)
        return f"{given[name]:.40} is {read}" if name in given else read

    if from_s >= to_s:
        raise bad_parameter(begin, f"a time before {end} ({said(end, to_s)})", said(begin, from_s))
    if to_s - from_s > _MAX_RANGE_S:
        days = f"{(to_s - from_s) / 86_400:.0f} days"
        raise bad_parameter(begin, "a range of at most 400 days", days)
