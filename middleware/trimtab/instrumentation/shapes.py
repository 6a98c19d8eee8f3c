"""The shape of a statement: its text without values, by which statements are told apart.

One pass over the text with one regular expression. Values become `?`: numbers with their sign,
strings of every kind, placeholders of every style. Lists after IN and the rows of VALUES become
one, comments and surplus spaces go, names stay as they were written.

This is the redaction, too: what leaves the app is a shape, never the text. So whatever is not
understood ends the shape with `...` there: a string, comment or quoted name without end, a nested
comment, a string that ends in another place when backslashes escape, a character that no SQL has,
and what follows IDENTIFIED or PRAGMA key. A value that is written as a name, without quotes, passes
for a name.

What double quotes hold depends on the system:

- PostgreSQL, Oracle and SQL Server: a name, as in the standard.
- SQLite takes it for a string where there is no such name. It is a name here when it is one word
  and stands where names stand; unqualified on the right of an operator or LIKE, or in a list of
  IN or VALUES, it is a value. A one-word string as an argument of a function passes for a name.
- MySQL, MariaDB and systems that are not known: a value, always.

Names of savepoints, cursors and prepared statements are made up by libraries, a new one each time:
they become `?` where a statement makes, uses or drops one.
"""

import re
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["MAX_SHAPE", "ShapeCache", "shape"]

_T = TypeVar("_T")
#: longest shape, in characters
MAX_SHAPE: Final = 1000
#: characters of a text that are read; what follows is `...`
_MOST_READ: Final = 8192
#: tokens that are read: a shape of this many is too long anyway, except for rows that are not plain
_MOST_TOKENS: Final = 1500
#: longest text for which something is kept, and what is kept at most, in texts and characters
_MOST_KEPT: Final = 16_384
_MOST_TEXTS: Final = 1024
_MOST_CHARS: Final = 1 << 20
_END: Final = "..."

#: backslashes in these never escape; in PostgreSQL they do in E'' alone
_NO_ESCAPES: Final = frozenset({"sqlite", "oracle.db", "microsoft.sql_server"})
_NAMES_IN_DOUBLE_QUOTES: Final = _NO_ESCAPES | {"postgresql"}
_BACKTICKS: Final = frozenset({"mysql", "mariadb", "sqlite"})
#: brackets in these hold no names
_ARRAYS: Final = frozenset({"postgresql", "mysql", "mariadb", "oracle.db"})

_TOKEN: Final = re.compile(
    r"""
    \s*+(?:
    (?P<comment>--[^\n]*+|/\*.*?\*/)
  | (?P<odd>[nN]?[qQ]')
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*+')
  | (?P<string>(?:[bBxXnN]|[uU]&)?(?:'[^']*+')++)
  | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*+)?)\$.*?\$(?P=tag)\$)
  | (?P<double>(?:"[^"]*+")++)
  | (?P<back>(?:`[^`]*+`)++)
  | (?P<cast>::)
  | (?P<holder>\?|%s\b|%[bt]\b|%\(\w*+\)[sbt]|\$\d++|:\w++|(?<!@)@[^\W\d]\w*+)
  | (?P<number>\.?\d[\w.]*+(?:(?<=[eE])[+-]\d++)?)
  | (?P<word>[^\W\d][\w$]*+)
  | (?P<open>[(\[])
  | (?P<close>[)\]])
  | (?P<comma>,)
  | (?P<operator>[-+*<>=~!@\#%^&|.;:{}]|/(?!\*))
  | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPED_QUOTE: Final = re.compile(r"""(?<!\\)(?:\\\\)*+\\['"]""")
_BRACKETED: Final = re.compile(r"""[^\]'"`/*$-]*+\]""")
_WORD_IN_QUOTES: Final = re.compile(r'"\w{1,64}"')
_NAME_IN_QUOTES: Final = re.compile(r"""["`][^"`'\\\n]{1,64}["`]""")

_COMPARES: Final = frozenset(
    {"ELSE", "ESCAPE", "GLOB", "ILIKE", "IS", "LIKE", "MATCH", "NOT", "REGEXP", "THEN"}
)
#: after these a sign belongs to the number
_BEFORE_A_VALUE: Final = (
    _COMPARES
    | {"AND", "BETWEEN", "BY", "CASE", "HAVING", "IN", "LIMIT", "OFFSET", "ON", "OR", "RETURN"}
    | {"RETURNING", "SELECT", "SET", "TOP", "VALUES", "WHEN", "WHERE"}
)

#: first word of a statement -> words behind which it names what somebody made up
_MADE_UP: Final = {
    "SAVEPOINT": frozenset({"SAVEPOINT"}),
    "RELEASE": frozenset({"RELEASE", "SAVEPOINT"}),
    "ROLLBACK": frozenset({"SAVEPOINT", "TO", "TRAN", "TRANSACTION"}),
    "SAVE": frozenset({"TRAN", "TRANSACTION"}),
    "DECLARE": frozenset({"DECLARE"}),
    "FETCH": frozenset({"FROM", "IN"}),
    "MOVE": frozenset({"FROM", "IN"}),
    "CLOSE": frozenset({"CLOSE"}),
    "PREPARE": frozenset({"PREPARE"}),
    "DEALLOCATE": frozenset({"DEALLOCATE", "PREPARE"}),
}
#: words that may stand there and are no names
_NO_NAMES: Final = frozenset({"ALL", "PREPARE", "SAVEPOINT", "TO", "TRAN", "TRANSACTION", "WORK"})

_VALUE: Final = r"(?:\?|NULL|TRUE|FALSE|DEFAULT)(?:::[\w\" ]+(?:\(\?(?:, \?)*\))?(?:\[\])?)?"
#: plain values in a list, each with its comma, and plain rows, each behind one: for speed alone
_PLAIN: Final = r"\s*+(?:-?\d[\w.]*+|\?|%s|%\(\w++\)s|\$\d++|:\w++|'[^'\\]*+'(?!'))(?:::\w++)?+\s*+"
_VALUES: Final = re.compile(rf"(?:{_PLAIN},)++")
_ROWS: Final = re.compile(rf"(?:\s*+,\s*+\((?:{_PLAIN},)*+{_PLAIN}\))++")
_ROW: Final = rf"(?:{_VALUE}|\({_VALUE}(?:, {_VALUE})*+\))"
_LIST: Final = re.compile(
    rf"\b(IN|VALUES|ARRAY) ?([(\[]){_ROW}(?:, {_ROW})*+([)\]]|(?=\Z| \.\.\.\Z))", re.IGNORECASE
)


def shape(sql: str, system: str = "") -> str:
    """Return the shape of a statement, at most MAX_SHAPE characters.

    system is an OpenTelemetry name (`postgresql`, `sqlite`, `mysql`); another one is read in the
    way that lets the least through. It raises nothing for any text; 10 us for a short one.
    """
    reader = _Reader(system)
    reader.read(sql[:_MOST_READ])
    text = "".join(reader.out).rstrip("; ")
    if reader.stopped or len(sql) > _MOST_READ:
        text = f"{text.rstrip(', ')} {_END}".lstrip()
    text = _LIST.sub(_one_value, text)
    return text if len(text) <= MAX_SHAPE else text[: MAX_SHAPE - len(_END)] + _END


def _one_value(match: re.Match[str]) -> str:
    keyword, opening, closing = match.groups()
    between = "" if opening == "[" else " "
    return f"{keyword}{between}{opening}?{closing}"


class _Reader:
    """Reads one text; `stopped` tells that its rest was not understood."""

    def __init__(self, system: str) -> None:
        self.system = system
        self.out: list[str] = []
        self.stopped = False
        #: the last token, upper case; whether a value or name ended there; whether a space follows
        self._last = ""
        self._ended = False
        self._spaced = False
        #: words behind which the statement names what somebody made up; None before its first word
        self._made_up: frozenset[str] | None = None
        #: whether the sign that was put out last is the next number's
        self._sign = False
        self._depth = 0
        #: depth of the rows of VALUES, how many began, and whether a comma waits for another
        self._rows_at = -1
        self._rows = 0
        self._comma = False
        self._lists: list[bool] = []

    def read(self, sql: str) -> None:
        position = 0
        for _ in range(_MOST_TOKENS):
            match = _TOKEN.match(sql, position)
            if match is None:
                break
            kind = match.lastgroup or ""
            start, end = match.span(kind)
            self._spaced = self._spaced or start != position
            if not self._take(kind, match[kind], sql, end):
                break
            if start == len(sql):
                return
            position = self._pass_over(kind, sql, end)
        self.stopped = True

    def _pass_over(self, kind: str, sql: str, position: int) -> int:
        """Return where to read on: behind plain values or rows of which one was taken."""
        if kind == "open" and self._lists[-1]:
            values = _VALUES.match(sql, position)
            if values is not None:
                self._value()
                self._put_comma()
                return values.end()
        elif kind == "close" and self._depth == self._rows_at:
            rows = _ROWS.match(sql, position)
            if rows is not None:
                return rows.end()
        return position

    def _take(self, kind: str, text: str, sql: str, end: int) -> bool:
        """Take a token; tell whether it was understood."""
        if kind == "comment":
            self._spaced = True
            return self._is_plain_comment(text)
        if kind == "odd":
            # A string of Oracle's that ends with a bracket of its choice.
            return False
        if kind == "word":
            return self._word(text)
        if kind in ("holder", "number", "dollar"):
            self._value()
        elif kind == "string":
            if not self._ends_here(text):
                return False
            self._value()
        elif kind == "escaped":
            if self.system != "postgresql" and _ESCAPED_QUOTE.search(text):
                return False
            self._value()
        elif kind == "double":
            return self._double(text, sql, end)
        elif kind == "back":
            # Elsewhere it quotes nothing, so that a string may begin behind it.
            if self.system not in _BACKTICKS and not _NAME_IN_QUOTES.fullmatch(text):
                return False
            self._name(text if _NAME_IN_QUOTES.fullmatch(text) else "?")
        elif kind == "open":
            if text == "[" and self.system not in _ARRAYS and not _BRACKETED.match(sql, end):
                return False
            self._open(text)
        elif kind == "close":
            self._close(text)
        elif kind == "comma":
            self._put_comma()
        elif kind != "end":
            # `#` begins a comment in MySQL.
            if text == "#" and self.system not in ("postgresql", "microsoft.sql_server"):
                return False
            self._operator(text)
        return True

    def _is_plain_comment(self, text: str) -> bool:
        if text.startswith("/*"):
            # Systems differ on where nested ones end, and MySQL executes the /*! ones.
            return "/*" not in text[2:] and not text.startswith("/*!")
        # To MySQL, `--` is no comment unless a space follows.
        return self.system in _NAMES_IN_DOUBLE_QUOTES or text[2:3].isspace() or len(text) == 2

    def _ends_here(self, text: str) -> bool:
        """Tell whether a string ends where it seems to, whether or not backslashes escape."""
        if self.system in _NO_ESCAPES or "\\" not in text or not _ESCAPED_QUOTE.search(text):
            return True
        return self.system == "postgresql" and self._last == "ESCAPE" and text == "'\\'"

    def _double(self, text: str, sql: str, end: int) -> bool:
        if self.system not in _NAMES_IN_DOUBLE_QUOTES:
            if _ESCAPED_QUOTE.search(text):
                return False
            self._value()
        elif self.system != "sqlite":
            self._name(text if _NAME_IN_QUOTES.fullmatch(text) else "?")
        elif not _WORD_IN_QUOTES.fullmatch(text) or self._stands_for_a_value(sql, end):
            self._value()
        else:
            self._name(text)
        return True

    def _stands_for_a_value(self, sql: str, end: int) -> bool:
        if self._last == "." or sql[end : end + 1] == ".":
            return False
        if self._last in _COMPARES or (self._lists and self._lists[-1]):
            return True
        return len(self._last) == 1 and self._last in "=<>!|+-*/%~&"

    def _word(self, text: str) -> bool:
        """Put a word out; behind some a secret follows that looks like a name."""
        upper = text.upper()
        if upper == "IDENTIFIED" or (self._last == "PRAGMA" and upper.endswith("KEY")):
            return False
        if self._made_up is None:
            self._made_up = _MADE_UP.get(upper, frozenset())
        elif self._last in self._made_up and upper not in _NO_NAMES:
            self._value()
            return True
        self._put(text, upper, ended=upper not in _BEFORE_A_VALUE)
        if upper == "VALUES":
            self._rows_at, self._rows, self._comma = self._depth, 0, False
        return True

    def _value(self) -> None:
        if self._sign and self.out:
            self.out.pop()
            self._sign = False
        self._put("?", "?", ended=True)

    def _name(self, text: str) -> None:
        if self._made_up and self._last in self._made_up:
            text = "?"
        self._put(text, text, ended=True)

    def _operator(self, text: str) -> None:
        if text == ";":
            self._made_up = None
        sign = text in "+-" and not self._ended
        self._put(text, text, ended=False)
        self._sign = sign and not self._is_muted

    def _open(self, text: str) -> None:
        if self._depth == self._rows_at:
            self._rows += 1
            self._comma = False
        in_list = self._last in ("IN", "VALUES", "ARRAY") or self._depth == self._rows_at
        self._lists.append(in_list or (self._last in "(," and any(self._lists[-1:])))
        # Muted from the second row on, its opening included.
        self._depth += 1
        self._put(text, text, ended=False)

    def _close(self, text: str) -> None:
        self._put(text, text, ended=True)
        self._depth -= 1
        if self._lists:
            self._lists.pop()
        if self._depth < self._rows_at:
            self._rows_at = -1

    def _put_comma(self) -> None:
        if self._depth == self._rows_at and self._rows:
            self._comma = True
            self._last, self._ended, self._spaced = ",", False, False
            return
        self._put(",", ",", ended=False)

    @property
    def _is_muted(self) -> bool:
        return self._rows > 1 and self._depth > self._rows_at >= 0

    def _put(self, text: str, last: str, ended: bool) -> None:
        if self._depth == self._rows_at and last != "VALUES" and self._rows:
            # Something else than a row follows the rows.
            self._rows_at = -1
            if self._comma:
                self.out.append(",")
                self._comma = False
        if not self._is_muted:
            spaced = self._spaced or self._last == ","
            spaced = spaced and text not in ",);]" and self._last not in ("(", "[")
            # After a sign that went, there is a space already.
            if spaced and self.out and self.out[-1] != " ":
                self.out.append(" ")
            self.out.append(text)
        self._last, self._ended, self._spaced, self._sign = last, ended, False, False


class ShapeCache(Generic[_T]):
    """What was made of texts, those that were asked for lately; any thread.

    Two generations stand in for a list by last use: what is found in the old one moves to the young
    one, and a full young one becomes the old one. A hit in the young one is one look-up, 0.05 us;
    threads that write at once may forget an entry, no more. make must be a pure function.
    """

    def __init__(self, make: Callable[[str], _T]) -> None:
        self._make = make
        self._young: dict[str, _T] = {}
        self._old: dict[str, _T] = {}
        self._chars = 0

    def of(self, text: str) -> _T:
        """Return what is made of a text; of a huge one it is made each time."""
        found = self._young.get(text)
        return self._other(text) if found is None else found

    def _other(self, text: str) -> _T:
        found = self._old.get(text)
        if found is None:
            found = self._make(text)
            if len(text) > _MOST_KEPT:
                return found
        if len(self._young) >= _MOST_TEXTS // 2 or self._chars > _MOST_CHARS // 2:
            self._old, self._young, self._chars = self._young, {}, 0
        self._young[text] = found
        self._chars += len(text)
        return found

    def __len__(self) -> int:
        return len(self._young) + len(self._old)
