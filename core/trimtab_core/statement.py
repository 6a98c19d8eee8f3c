"""Reads a statement token by token for its shape; see `trimtab_core.shapes` for the rules."""

import re
from typing import Final

from trimtab_core.keywords import (
    AFTER_TEXT,
    BEFORE_A_VALUE,
    BEFORE_TEXT,
    COMPARES,
    KINDS,
    NAMED,
    PLANNED,
    VERBS,
)

__all__ = ["StatementReader"]

#: tokens that are read: a shape of this many is too long anyway, except for rows that are not plain
_MOST_TOKENS: Final = 1500
_POSTGRESQL: Final = "postgresql"
#: backslashes in these never escape; in PostgreSQL they do in E'' alone
_NO_ESCAPES: Final = frozenset({"sqlite", "oracle.db", "microsoft.sql_server"})
_STANDARD_QUOTES: Final = _NO_ESCAPES | {_POSTGRESQL}
_MAYBE_STRINGS: Final = frozenset({"sqlite", "microsoft.sql_server"})
_BACKTICKS: Final = frozenset({"mysql", "mariadb", "sqlite"})
#: brackets in these hold no names
_ARRAYS: Final = frozenset({_POSTGRESQL, "mysql", "mariadb", "oracle.db"})
#: in these three quotes are a quote within a string, elsewhere they may begin one
_TWO_QUOTES: Final = _STANDARD_QUOTES | {"mysql", "mariadb"}

_TOKEN: Final = re.compile(
    r"""
    \s*+(?:
    (?P<word>[^\W\d][\w$]*+(?!&?'))
  | (?P<comment>--[^\n]*+|/\*.*?\*/)
  | (?P<odd>[nN]?[qQ]')
  | (?P<escaped>[eE]'(?:[^'\\]|\\.|'')*+')
  | (?P<string>(?:[bBxXnN]|[uU]&)?(?:'[^']*+')++)
  | (?P<dollar>\$(?P<tag>(?:[^\W\d]\w*+)?)\$.*?\$(?P=tag)\$)
  | (?P<double>(?:"[^"]*+")++)
  | (?P<back>(?:`[^`]*+`)++)
  | (?P<cast>::)
  | (?P<holder>\?|%s\b|%[bt]\b|%\(\w*+\)[sbt]|\$\d++|:\w++|(?<!@)@@?(?:[^\W\d][\w.$]*+|`[^`]*+`))
  | (?P<number>\.?\d[\w.]*+(?:(?<=[eE])[+-]\d++)?)
  | (?P<open>[(\[])
  | (?P<close>[)\]])
  | (?P<comma>,)
  | (?P<operator>[-+*<>=~!@\#%^&|.;:]|/(?![*/]))
  | (?P<introduction>[^\W\d][\w$]*+)
  | (?P<end>\Z)
    )""",
    re.VERBOSE | re.DOTALL,
)
_QUOTED: Final = frozenset({"back", "dollar", "double", "escaped", "odd", "string"})
_ESCAPED_QUOTE: Final = re.compile(r"""(?<!\\)(?:\\\\)*+\\['"]""")
#: a name in brackets, behind the first one; of a system that is not known
_BRACKETED: Final = re.compile(r"(?:[^\]]|\]\])*+\]")
_PLAINLY_BRACKETED: Final = re.compile(r"""[^\]'"`/*$-]*+\](?!\])""")
_BRACKETED_NAME: Final = re.compile(r"[\w .#-]{1,64}\]")
_WORD_IN_QUOTES: Final = re.compile(r'"\w{1,64}"')
_NAME_IN_QUOTES: Final = re.compile(r"""["`][^"`'\\\n]{1,64}["`]""")
#: behind eight digits, the first of which may be a letter
_UUID: Final = re.compile(r"(?:-[\da-fA-F]{4}){3}-[\da-fA-F]{12}")
_ASSIGNED: Final = re.compile(r"\s*=")
_NEXT_WORD: Final = re.compile(r"\s++([A-Za-z]++)(?![\w$.])")
_CALLED: Final = re.compile(
    r"\s++([^\W\d]\w{0,63}+(?:\.[^\W\d]\w{0,63}+){0,2})(?=\s*(?:[(;@:?]|\Z))"
)
#: what stands beside a quote as a rule, and what may not
_APART: Final = " .,()=\n"
_TOUCHES: Final = re.compile(r"""[\w'"`\\$]""")

#: behind these a name in double quotes stands
_BEFORE_A_NAME: Final = frozenset({"AS", "FROM", "INTO", "JOIN", "UPDATE"})
#: words that begin a list of names or rows, or end it
_LEADS: Final = frozenset(
    {"DEFAULT", "FROM", "INTO", "RETURNING", "SELECT", "SET", "VALUES", "WHERE"}
)

#: plain values in a list, each with its comma, and plain rows, each behind one: for speed alone
_PLAIN: Final = r"\s*+(?:-?\d[\w.]*+|\?|%s|%\(\w++\)s|\$\d++|:\w++|'[^'\\]*+'(?!'))(?:::\w++)?+\s*+"
_VALUES: Final = re.compile(rf"(?:{_PLAIN},)++")
_ROWS: Final = re.compile(rf"(?:\s*+,\s*+\((?:{_PLAIN},)*+{_PLAIN}\))++")


class StatementReader:
    """Reads one text into `out`; `stopped` tells that its rest was not understood."""

    def __init__(self, system: str) -> None:
        self.system = system
        self.out: list[str] = []
        self.stopped = False
        #: first word of the statement, empty before it; whether no more of the text is wanted
        self._verb = ""
        self._done = False
        #: place in `out` of the first quoted text, -1 before it
        self._doubt = -1
        #: the last token, upper case; whether a value or name ended there; whether a space follows
        self._last = ""
        self._ended = False
        self._spaced = False
        #: whether the sign that was put out last is the next number's
        self._sign = False
        self._depth = 0
        #: depths of what SET assigns and of the columns of INSERT; whether INTO waits for these
        self._set_at = self._columns_at = -1
        self._into = False
        #: depth of the rows of VALUES, how many began, and whether a comma waits for another
        self._rows_at = -1
        self._rows = 0
        self._comma = False
        self._lists: list[bool] = []

    def read(self, sql: str) -> None:
        position = 0
        for _ in range(_MOST_TOKENS):
            match = _TOKEN.match(sql, position)
            kind = match.lastgroup if match else None
            if match is None or kind is None:
                break
            start, end = match.span(kind)
            self._spaced = self._spaced or start != position
            if not self._take(kind, match[kind], sql, start, end):
                if self._done:
                    return
                break
            if start == len(sql):
                return
            position = self._pass_over(kind, match[kind], sql, end)
        else:
            self.stopped = True
            return
        self.stopped = True
        if self._doubt >= 0:
            del self.out[self._doubt :]

    def _stands_alone(self, sql: str, start: int, end: int) -> bool:
        """Tell whether neither side of a quoted text touches a word or a quote."""
        before, after = sql[start - 1 : start], sql[end : end + 1]
        if after not in _APART and _TOUCHES.match(after):
            return False
        if before in _APART or not _TOUCHES.match(before):
            return True
        is_introduced = self._last.startswith("_") and self.system in ("mysql", "mariadb")
        return is_introduced or self._last in BEFORE_TEXT

    def _pass_over(self, kind: str, text: str, sql: str, position: int) -> int:
        """Return where to read on: behind plain values or rows of which one was taken."""
        if kind == "open":
            if text == "[" and self._last == "]":  # a name in brackets, as it was taken
                return bracket.end() if (bracket := _BRACKETED.match(sql, position)) else len(sql)
            if self._lists[-1]:
                values = _VALUES.match(sql, position)
                if values is not None:
                    self._doubt = len(self.out) if self._doubt < 0 else self._doubt
                    self._value()
                    self._put_comma()
                    return values.end()
        elif kind == "close" and self._depth == self._rows_at:
            rows = _ROWS.match(sql, position)
            if rows is not None:
                self._doubt = len(self.out) if self._doubt < 0 else self._doubt
                return rows.end()
        return position

    def _take(self, kind: str, text: str, sql: str, start: int, end: int) -> bool:
        """Take a token; tell whether it was understood."""
        if kind == "word":
            return self._word(text, sql, end)
        if kind == "operator" and self._verb:
            return self._operator(text)
        if kind == "comment":
            self._spaced = True
            return self._is_plain_comment(text)
        if not self._verb and kind not in ("open", "end") and text != ";":
            # No statement that is known begins so.
            return False
        if kind == "holder":
            self._value()
        elif kind == "number":
            if _UUID.match(sql, end):
                return False
            self._value()
        elif kind in _QUOTED:
            return self._quoted(kind, text, sql, start, end)
        elif kind == "open":
            return self._open(text, sql, end)
        elif kind == "close":
            return self._close(text)
        elif kind == "comma":
            self._put_comma()
        elif kind == "introduction":
            return self._word(text, sql, end)
        elif kind != "end":
            return self._operator(text)
        return True

    def _quoted(self, kind: str, text: str, sql: str, start: int, end: int) -> bool:
        """Take a string or a name in quotes; tell whether it was understood."""
        if self._doubt < 0:
            self._doubt = len(self.out)
        if not self._stands_alone(sql, start, end):
            return False
        if kind == "double":
            return self._double(text, sql, end)
        if kind == "back":
            # Elsewhere it quotes nothing, so that a string may begin behind it.
            if self.system not in _BACKTICKS and not _NAME_IN_QUOTES.fullmatch(text):
                return False
            self._name(text if _NAME_IN_QUOTES.fullmatch(text) else "?")
            return True
        if kind == "string":
            if not self._ends_here(text):
                return False
        elif kind == "escaped":
            if self.system != _POSTGRESQL and _ESCAPED_QUOTE.search(text):
                return False
        elif kind == "odd" or self.system != _POSTGRESQL:
            # A string of Oracle's that ends with a bracket of its choice; dollars of another one.
            return False
        self._value("'")
        return True

    def _is_plain_comment(self, text: str) -> bool:
        if text.startswith("/*"):
            # Systems differ on where nested ones end, and MySQL executes the /*! ones.
            return "/*" not in text[2:] and not text.startswith(("/*!", "/*M!"))
        # To MySQL, `--` is no comment unless a space follows.
        return self.system in _STANDARD_QUOTES or text[2:3].isspace() or len(text) == 2

    def _ends_here(self, text: str) -> bool:
        """Tell whether a string ends where it seems to, whether or not backslashes escape."""
        if text[:3] in ("'''", '"""') and self.system not in _TWO_QUOTES:
            return False
        if self.system in _NO_ESCAPES or "\\" not in text or not _ESCAPED_QUOTE.search(text):
            return True
        return self.system == _POSTGRESQL and self._last == "ESCAPE" and text == "'\\'"

    def _double(self, text: str, sql: str, end: int) -> bool:
        if self.system not in _STANDARD_QUOTES:
            if _ESCAPED_QUOTE.search(text) or not self._ends_here(text):
                return False
            self._value("'")
        elif self.system not in _MAYBE_STRINGS:
            is_value = self._stands_for_a_value(sql, end)
            self._name(text if _NAME_IN_QUOTES.fullmatch(text) and not is_value else "?")
        elif _WORD_IN_QUOTES.fullmatch(text) and self._stands_for_a_name(sql, end):
            self._name(text)
        else:
            self._value()
        return True

    def _stands_for_a_value(self, sql: str, end: int) -> bool:
        """Tell whether a value is likelier than a name, which can stand nearly anywhere."""
        if self._last == "." or sql[end : end + 1] == ".":
            return False
        if self._last in COMPARES or (self._lists and self._lists[-1]):
            return True
        return len(self._last) == 1 and self._last in "=<>!|+-*/%~&"

    def _stands_for_a_name(self, sql: str, end: int) -> bool:
        """Tell whether nothing but a name can stand here."""
        if self._last == "." or sql[end : end + 1] == "." or self._last in _BEFORE_A_NAME:
            return True
        if self._depth == self._columns_at:
            return True
        is_target = self._depth == self._set_at and self._last in ("SET", ",")
        return is_target and _ASSIGNED.match(sql, end) is not None

    def _word(self, text: str, sql: str, end: int) -> bool:
        """Put a word out; behind some a secret follows that looks like a name."""
        upper = text.upper()
        if not self._verb:
            return self._begin(text, upper, sql, end)
        if self._last == "'" and upper not in AFTER_TEXT:
            return False
        if upper == "IDENTIFIED" or (upper == "FORMAT" and self.system not in _TWO_QUOTES):
            return False
        if len(text) == 8 and _UUID.match(sql, end):
            return False
        self._put(text, upper, ended=upper not in BEFORE_A_VALUE)
        if upper in _LEADS:
            self._lead(upper)
        return True

    def _lead(self, upper: str) -> None:
        """Note what a word says of the names and rows that follow it."""
        if upper == "VALUES":
            self._rows_at, self._rows, self._comma = self._depth, 0, False
        if upper == "SET":
            self._set_at = self._depth
        elif upper == "INTO":
            self._into = self._verb in ("INSERT", "REPLACE")
        else:
            self._set_at, self._into = -1, False

    def _begin(self, text: str, upper: str, sql: str, end: int) -> bool:
        """Take the first word of a statement, and all that is kept of one without values."""
        self._verb = upper
        if upper in PLANNED:
            self._put(text, upper, ended=upper not in BEFORE_A_VALUE)
            if upper in _LEADS:
                self._lead(upper)
            return True
        if upper not in VERBS and upper not in NAMED:
            return False
        self._done = True
        self._put(upper, upper, ended=True)
        if upper in NAMED:
            called = _CALLED.match(sql, end)
            self.out += [" ", called[1]] if called else []
            return False
        while (word := _NEXT_WORD.match(sql, end)) and word[1].upper() in KINDS:
            self.out += [" ", word[1].upper()]
            end = word.end()
        return False

    def _value(self, last: str = "?") -> None:
        if self._sign and self.out:
            self.out.pop()
            self._sign = False
        self._put("?", last, ended=True)

    def _name(self, text: str) -> None:
        self._put(text, text, ended=True)

    def _operator(self, text: str) -> bool:
        if text == "#" and self.system not in (_POSTGRESQL, "microsoft.sql_server"):
            # It begins a comment in MySQL.
            return False
        sign = text in "+-" and not self._ended
        self._put(text, text, ended=False)
        self._sign = sign and not self._is_muted
        if text == ";":
            self._verb, self._set_at, self._columns_at, self._into = "", -1, -1, False
        return True

    def _open(self, text: str, sql: str, end: int) -> bool:
        if text == "[" and self.system not in _ARRAYS:
            return self._bracket(sql, end)
        if self._depth == self._rows_at:
            self._rows += 1
            self._comma = False
        in_list = self._last in ("IN", "VALUES", "ARRAY") or self._depth == self._rows_at
        self._lists.append(in_list or (self._last in "(," and any(self._lists[-1:])))
        # Muted from the second row on, its opening included.
        self._depth += 1
        if self._into:
            self._columns_at, self._into = self._depth, False
        self._put(text, text, ended=False)
        return True

    def _bracket(self, sql: str, end: int) -> bool:
        """Take a name in brackets; what it may be is told by its first bracket alone."""
        is_known = self.system in _MAYBE_STRINGS
        found = (_BRACKETED if is_known else _PLAINLY_BRACKETED).match(sql, end)
        if found is None or (self.system == "sqlite" and "]]" in found[0]):
            return False
        self._put("[" + found[0] if _BRACKETED_NAME.fullmatch(found[0]) else "?", "]", ended=True)
        return True

    def _close(self, text: str) -> bool:
        if not self._depth:
            return False
        self._put(text, text, ended=True)
        if self._depth == self._columns_at:
            self._columns_at = -1
        self._depth -= 1
        self._lists.pop()
        if self._depth < self._rows_at:
            self._rows_at = -1
        return True

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
