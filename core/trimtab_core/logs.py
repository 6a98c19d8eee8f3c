"""Logging of agent and collector: lines that nobody can forge, one per cause and minute.

What is logged may hold names that come from outside: paths, agents, errors of servers. So every
text passes `plain`, which leaves nothing in it that a terminal or a reader of lines obeys, and
`veiled`, which leaves out what looks like a key or a password.
"""

import logging
import re
import time
from collections.abc import Callable
from typing import Any, Final

from trimtab_core.names import OBEYED

__all__ = [
    "MAX_CAUSES",
    "AppLogger",
    "PlainFormatter",
    "RateLimited",
    "Seldom",
    "app_logger",
    "configure",
    "plain",
    "veiled",
]

#: Causes that a `RateLimited` remembers.
MAX_CAUSES = 256
_FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
_SHORT: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
#: keys and tokens of trimtab, JSON web tokens, bearer headers, passwords in addresses
_SECRET: Final = re.compile(
    r"(?P<kind>tt[a-z]_)(?:[0-9a-f]{6,}_?)+"
    r"|(?P<jwt>eyJ)[\w-]{4,}\.[\w-]+\.[\w-]*"
    r"|(?P<bearer>(?i:bearer) +)[\w.~+/-]{8,}=*"
    r"|(?P<user>://[^\s/:@]{0,80}:)[^\s/@]{1,200}(?=@)"
)


def plain(text: str) -> str:
    """Return a text of one line, in which nothing is obeyed by a terminal or a reader of lines.

    Controls, separators of lines and marks of direction become `\\n`, `\\x1b` or `\\u202e`.
    """
    return text if text.isascii() and text.isprintable() else OBEYED.sub(_escaped, text)


def veiled(text: str) -> str:
    """Return a text without what looks like a key, a token or a password."""
    return _SECRET.sub(lambda found: f"{found[found.lastgroup or 0]}...", text)


def _escaped(found: re.Match[str]) -> str:
    character = found[0]
    code = ord(character)
    if character in _SHORT:
        return _SHORT[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


class PlainFormatter(logging.Formatter):
    """Formats a record as one plain line; the lines of a traceback below it are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and the traceback below it."""
        record.message = plain(veiled(record.getMessage()))
        record.asctime = self.formatTime(record)
        line = self.formatMessage(record)
        return "\n".join([line, *(f"    {each}" for each in self.trace(record))])

    def trace(self, record: logging.LogRecord) -> list[str]:
        """Return the traceback of a record, as plain lines; none where it has none."""
        texts = []
        if record.exc_info and not isinstance(record.exc_info, bool):
            texts.append(self.formatException(record.exc_info))
        if record.stack_info:
            texts.append(self.formatStack(record.stack_info))
        return [plain(veiled(line)) for text in texts for line in text.split("\n")]


class Seldom(logging.Filter):
    """Lets a message through once a minute, by its text before anything is filled in."""

    def __init__(self, period_s: float = 60, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._period_s = period_s
        self._clock = clock
        self._next: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is logged."""
        now_s, text = self._clock(), str(record.msg)
        if now_s < self._next.get(text, 0):
            return False
        if len(self._next) >= MAX_CAUSES:
            self._next.pop(next(iter(self._next)))
        self._next[text] = now_s + self._period_s
        return True


class _PlainRecords(logging.Filter):
    """Makes one plain line that begins with `trimtab:` of each message, its traceback below."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record and let it through."""
        text = plain(veiled(record.getMessage()))
        record.msg = text if text.startswith("trimtab: ") else f"trimtab: {text}"
        record.args = None
        if record.exc_info and not record.exc_text:
            trace = PlainFormatter().trace(record)
            record.exc_text = "\n".join(f"    {line}" for line in trace)
        return True


class AppLogger(logging.LoggerAdapter[logging.Logger]):
    """Logs in a user's process, and never raises: the filters and handlers there are the user's.

    One that asks for what only a request has raises in our threads, and an exception in logging
    would end them, or the request that was to be measured.
    """

    def __init__(self, logger: logging.Logger) -> None:
        super().__init__(logger, {})

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        """Log a message, or nothing where that raises."""
        try:
            if self.logger.isEnabledFor(level):
                # The frame of this method is not where the message comes from.
                kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
                self.logger.log(level, msg, *args, **kwargs)
        except Exception:  # noqa: BLE001, S110 - whom could one tell?
            pass


def app_logger(name: str) -> AppLogger:
    """Return the logger of a module that runs in a user's process, whose handlers are the user's.

    Nothing that a name, an address or an error of a peer holds makes a line of its own there, and
    nothing that a filter or handler raises gets out.
    """
    logger = logging.getLogger(name)
    if not any(isinstance(each, _PlainRecords) for each in logger.filters):
        logger.addFilter(_PlainRecords())
    return AppLogger(logger)


def configure(level: str = "info") -> None:
    """Send log lines of this process to standard error; never called in a user's process.

    Called again, it changes the level; handlers of others stay.
    """
    root = logging.getLogger()
    root.setLevel(level.upper())
    if not any(isinstance(each.formatter, PlainFormatter) for each in root.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(PlainFormatter(_FORMAT))
        root.addHandler(handler)
    for chatty in ("httpx", "httpcore"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


class RateLimited:
    """Logs a cause at most once a minute, and how often it came up in between.

    Remembers up to 256 causes; over that it forgets the one that was logged least recently. Not
    thread-safe.
    """

    def __init__(
        self,
        logger: logging.Logger | AppLogger,
        period_s: float = 60,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._logger = logger
        self._period_s = period_s
        self._clock = clock or time.monotonic
        #: cause -> when it may be logged again; the cause logged least recently comes first
        self._next: dict[str, float] = {}
        self._held: dict[str, int] = {}

    def warning(self, cause: str, message: str, *args: object) -> None:
        """Log a message for a cause, or count it when the cause was logged within the period."""
        now = self._clock()
        if now < self._next.get(cause, 0):
            self._held[cause] = self._held.get(cause, 0) + 1
            return
        self._next.pop(cause, None)
        if len(self._next) >= MAX_CAUSES:
            oldest = next(iter(self._next))
            del self._next[oldest]
            self._held.pop(oldest, None)
        self._next[cause] = now + self._period_s
        held = self._held.pop(cause, 0)
        if held:
            message += f" (and {held} times before)"
        self._logger.warning(message, *args)
