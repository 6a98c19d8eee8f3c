"""Requests by exact status code."""

import re
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.errors import bad_parameter
from trimtab_collector.contract.kinds import Fields, Moment, Parameter, Whole
from trimtab_collector.contract.parameters import FIELDS

__all__ = [
    "CODE",
    "GROUPS",
    "GROUP_BY",
    "OTHER_CODE",
    "UNKNOWN_CODE",
    "CodeGroup",
    "CodeStep",
    "StatusCodes",
]

#: all codes outside 100 to 599 together, and requests whose code an older agent did not tell
OTHER_CODE: Final = "other"
UNKNOWN_CODE: Final = "unknown"
_CODE: Final = rf"[1-5]\d\d|{OTHER_CODE}|{UNKNOWN_CODE}"
_MOST: Final = 50


@dataclass(frozen=True, slots=True)
class _Codes(Parameter[frozenset[str]]):
    """Status codes with commas between; empty for all."""

    def read(self, text: str, moment: Moment) -> frozenset[str]:
        """Return the codes."""
        codes = frozenset(text.split(","))
        if len(codes) > _MOST or not all(re.fullmatch(_CODE, code, re.ASCII) for code in codes):
            expected = (
                f"up to {_MOST} status codes from 100 to 599, {OTHER_CODE} or {UNKNOWN_CODE}, "
                "with commas between"
            )
            raise bad_parameter(self.name, expected, text)
        return codes

    @property
    def absent(self) -> frozenset[str]:
        """None of them."""
        return frozenset()

    def schema(self) -> dict[str, Any]:
        """Return the schema of the list."""
        items = {"type": "string", "pattern": f"^({_CODE})$"}
        return {"type": "array", "items": items, "minItems": 1, "maxItems": _MOST}


CODE: Final = _Codes("code", "Only requests with one of these status codes.")
GROUP_BY: Final = Fields("groupBy", "A row for each of these, together.", FIELDS, ())
GROUPS: Final = Whole("limit", "Most rows; the others are counted as left out.", 1, 1000, 50)


class CodeStep(Body, kw_only=True):
    """Requests of one step by status code."""

    t: str
    requests: int
    status_codes: dict[str, int]


class CodeGroup(Body, kw_only=True):
    """Requests of one group by status code; `series` where step was given."""

    #: filter -> text; empty without groupBy
    group: dict[str, str]
    requests: int
    status_codes: dict[str, int]
    series: list[CodeStep] | msgspec.UnsetType = msgspec.UNSET


class StatusCodes(ResolvedBody, kw_only=True):
    """Requests by status code, all together and by group; those with the most come first.

    Only the codes that were asked for are counted, so codes always add up to requests. `unknown`
    are requests of agents that do not tell codes.
    """

    step: int | str | None
    group_by: list[str]
    requests: int
    status_codes: dict[str, int]
    groups: list[CodeGroup]
    groups_left_out: int
