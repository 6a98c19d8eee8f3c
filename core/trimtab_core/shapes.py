"""The shape of a statement: its text without values, by which statements are told apart.

One pass over the text with one regular expression. Values become `?`: numbers with their sign,
strings of every kind, placeholders of every style. Lists after IN and the rows of VALUES become
one, comments and surplus spaces go, names stay as they were written. A shape may be read again: it
is as a rule its own shape.

This is the redaction, too: whatever text of a statement is kept or sent, by an app or by a probe,
is a shape. So what is not understood ends the shape with `...`:

- A statement that neither reads nor changes data (`SET`, `ALTER ROLE`, `PRAGMA`, `COPY`) keeps its
  verb and its kind alone: behind them values are written like names, and PostgreSQL's own
  statistics hold them as they were typed. Of a procedure that is called the name stays.
- An unknown verb, a string, comment or quoted name without end, a nested comment, a string that
  ends in another place when backslashes escape, a character that no SQL has.
- A quote that touches a word, and a word behind a string that none can follow: the string may have
  ended too soon, at a quote in a value.

Behind a quote that was misread any word may be a value, so that the shape then ends in front of the
first quoted text of the statement.

What double quotes hold depends on the system:

- PostgreSQL and Oracle: a name, as in the standard; unqualified on the right of an operator or
  LIKE, or in a list of IN or VALUES, a value.
- SQLite and SQL Server may take it for a string. It is a name here when it is one word and stands
  where only names stand: qualified, behind AS, FROM, JOIN, INTO and UPDATE, among the columns of
  INSERT, and where SET assigns.
- MySQL, MariaDB and systems that are not known: a value, always.
"""

import re
from typing import Final

from trimtab_core.statement import StatementReader

__all__ = ["MAX_SHAPE", "SHAPES", "shape"]

#: version of the rules; what was stored by an earlier one is read again
SHAPES: Final = 1
#: longest shape, in characters
MAX_SHAPE: Final = 1000
#: characters of a text that are read; what follows is `...`
_MOST_READ: Final = 8192
_END: Final = "..."

_VALUE: Final = r"(?:\?|NULL|TRUE|FALSE|DEFAULT)(?:::[\w\" ]+(?:\(\?(?:, \?)*\))?(?:\[\])?)?"
_ROW: Final = rf"(?:{_VALUE}|\({_VALUE}(?:, {_VALUE})*+\))"
_LIST: Final = re.compile(
    rf"\b(IN|VALUES|ARRAY) ?([(\[]){_ROW}(?:, {_ROW})*+([)\]]|(?=\Z| \.\.\.\Z))", re.IGNORECASE
)


def shape(sql: str, system: str = "") -> str:
    """Return the shape of a statement, at most MAX_SHAPE characters.

    system is an OpenTelemetry name (`postgresql`, `sqlite`, `mysql`); another one is read in the
    way that lets the least through. It raises nothing for any text; 10 us for a short one.
    """
    text, is_whole = _read(sql[:_MOST_READ].rstrip("; \n"), system)
    is_whole = is_whole and len(sql) <= _MOST_READ
    most = cut = MAX_SHAPE - len(_END) - 1
    while len(text) > (MAX_SHAPE if is_whole else most):
        # What is cut is read again, because the cut may be within a name in quotes.
        text, is_whole = _read(text[:cut], system)[0], False
        cut -= 100
    if is_whole:
        return text
    return f"{text.rstrip('., ')} {_END}".lstrip()


def _read(sql: str, system: str) -> tuple[str, bool]:
    """Return the shape of a text, and whether all of it was understood."""
    whole = not sql.endswith(_END)
    reader = StatementReader(system)
    reader.read(sql if whole else sql.rstrip(". "))
    text = "".join(reader.out).rstrip("; ")
    if not (whole := whole and not reader.stopped):
        text = text.rstrip("., ")
    return _LIST.sub(_one_value, text if whole else f"{text} {_END}").removesuffix(_END), whole


def _one_value(match: re.Match[str]) -> str:
    keyword, opening, closing = match.groups()
    between = "" if opening == "[" else " "
    return f"{keyword}{between}{opening}?{closing}"
