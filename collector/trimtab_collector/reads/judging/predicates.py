"""What an index for a statement would need: table, columns and conditions, read from its text.

Only plain statements on one table are understood, with conditions joined by AND; of all others
nothing is said, because a wrong index costs more than none. Values have been taken out of the
texts by whoever measured them: `?`, `$1` or `%s` stand for them.
"""

import functools
import re
from typing import Final, NamedTuple

__all__ = ["TableAccess", "access_of", "same_table"]

#: columns of an index that is suggested
_MOST_COLUMNS: Final = 3
_NAME: Final = r'(?:"[^"]+"|[A-Za-z_]\w*)'
_TABLE: Final = rf"{_NAME}(?:\.{_NAME})?"
_STATEMENT: Final = re.compile(
    rf"(?:SELECT\b.*?\bFROM|DELETE\s+FROM|UPDATE)\s+(?P<table>{_TABLE})"
    rf"(?:\s+(?:AS\s+)?(?!SET\b|WHERE\b){_NAME})?"
    r"(?:\s+SET\b.*?)?\s+WHERE\s+(?P<where>.*?)"
    r"(?:\s+(?:ORDER\s+BY|GROUP\s+BY|LIMIT|OFFSET|FETCH|FOR|RETURNING)\b.*)?;?\s*\Z",
    re.IGNORECASE | re.DOTALL,
)
#: what makes a statement more than this reads
_TOO_MUCH: Final = re.compile(
    r"\b(?:JOIN|UNION|INTERSECT|EXCEPT|HAVING|EXISTS|OR|WITH|USING|LIKE|ILIKE|SELECT)\b",
    re.IGNORECASE,
)
_COLUMN: Final = rf"(?:{_NAME}\.)?(?P<column>{_NAME})"
_EQUAL: Final = re.compile(rf"{_COLUMN}\s*(?:=|IN\b)(?P<to>.*)", re.IGNORECASE | re.DOTALL)
_RANGE: Final = re.compile(rf"{_COLUMN}\s*(?:<=|>=|<|>|BETWEEN\b).*", re.IGNORECASE | re.DOTALL)
_IS: Final = re.compile(rf"{_COLUMN}\s+(?P<is>IS\s+(?:NOT\s+)?(?:NULL|TRUE|FALSE))", re.IGNORECASE)
_FLAG: Final = re.compile(rf"(?P<not>NOT\s+)?{_COLUMN}(?:\s*=\s*(?P<to>true|false))?",
                          re.IGNORECASE)  # fmt: skip
_BETWEEN: Final = re.compile(r"\bBETWEEN\s+(\S+)\s+AND\s+(\S+)", re.IGNORECASE)


class TableAccess(NamedTuple):
    """How a statement finds its rows: by these columns, among those of these conditions."""

    table: str
    columns: tuple[str, ...]
    conditions: tuple[str, ...]


@functools.lru_cache(4096)
def access_of(statement: str) -> TableAccess | None:
    """Return what an index for a statement would need; None for what is not understood."""
    found = _STATEMENT.fullmatch(statement.strip())
    if found is None or _TOO_MUCH.search(statement, found.start("table")):
        return None
    equal: list[str] = []
    ranges: list[str] = []
    conditions: list[str] = []
    text = _BETWEEN.sub(r"BETWEEN \1 \2", found["where"])
    for part in re.split(r"\bAND\b", text, flags=re.IGNORECASE):
        part = part.strip()
        if flag := _FLAG.fullmatch(part):
            negated = bool(flag["not"]) != ((flag["to"] or "").lower() == "false")
            conditions.append(f"NOT {flag['column']}" if negated else flag["column"])
        elif match := _IS.fullmatch(part):
            conditions.append(f"{match['column']} {' '.join(match['is'].upper().split())}")
        elif match := _EQUAL.fullmatch(part):
            if not re.match(r"\s*(?:\?|\$\d+|%s|%\(|:\w|\(|ANY\b|-?\d|')", match["to"],
                            re.IGNORECASE):  # fmt: skip
                return None  # compared with another column
            equal.append(match["column"])
        elif match := _RANGE.fullmatch(part):
            ranges.append(match["column"])
        else:
            return None
    # Equality first: only what stands before the first range narrows the search.
    columns = tuple(dict.fromkeys([*equal, *ranges[:1]]))[:_MOST_COLUMNS]
    return TableAccess(found["table"], columns, tuple(dict.fromkeys(conditions)))


def same_table(one: str, other: str) -> bool:
    """Tell whether two names may be of one table: `orders` is `public.orders`."""
    a, b = (name.replace('"', "").lower().split(".") for name in (one, other))
    return a[-1] == b[-1] and (len(a) == 1 or len(b) == 1 or a == b)
