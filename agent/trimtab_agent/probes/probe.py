"""What a probe is: it reads one target at intervals, and a failure is a result, too.

Addresses hold secrets. A probe shows only the name of its target and sentences that went through
`TargetAddress.redacted`. The address itself is never shown, not even if it cannot be understood.
"""

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeVar
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from trimtab_core.errors import SettingsError
from trimtab_core.measures import Delta, MeasureKey

__all__ = ["LIMIT_S", "Probe", "Probed", "TargetAddress", "in_thread", "split_url"]

#: seconds a reading may take
LIMIT_S: Final = 5.0
_MOST_TEXT: Final = 200
#: Shortest parameter of a URL that is taken for a secret; `db=0` is not one.
_SECRET: Final = 4
_T = TypeVar("_T")


class Probed(NamedTuple):
    """What was read of a target at one time: gauges by name, deltas of measures, and a fault."""

    gauges: Mapping[str, float]
    measures: Sequence[tuple[MeasureKey, Delta]] = ()
    #: a sentence if the target answered but is not well
    fault: str = ""


class Probe(Protocol):
    """Reads one target, for one task: `read` never runs twice at the same time."""

    @property
    def target(self) -> str:
        """Name of what is read, without secrets: `redis:127.0.0.1:6379/0`."""

    async def read(self) -> Probed:
        """Return what was read, in LIMIT_S or a few seconds more, without blocking the loop.

        Raises whatever its driver raises; that is shown through `redacted` only.
        """

    def redacted(self, error: BaseException) -> str:
        """Return what an error of `read` says, without secrets."""

    def close(self) -> None:
        """Close the connection; not called during `read`."""


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """An address that may hold secrets; neither its repr nor `redacted` shows any."""

    text: str = field(repr=False)
    #: texts that no sentence may contain
    secrets: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, text: str, secrets: Iterable[str] = ()) -> "TargetAddress":
        """Return an address; secret are the given texts, the address itself and its passwords."""
        found = {text, *secrets}
        try:
            parts = urlsplit(text)
            password = parts.password or ""
            found |= {password, unquote(password)}
            found |= {
                value
                for name, value in parse_qsl(parts.query)
                if len(value) >= _SECRET or "pass" in name
            }
        except ValueError:
            pass
        return cls(text, frozenset(found - {""}))

    def redacted(self, error: BaseException) -> str:
        """Return type and text of an error, up to 200 characters, with secrets replaced."""
        words = " ".join(str(error).split())
        for secret in sorted(self.secrets, key=len, reverse=True):
            words = words.replace(secret, "***")
        return f"{type(error).__name__}: {words[:_MOST_TEXT]}".rstrip(": ")


def split_url(text: str, setting: str, form: str, schemes: Sequence[str]) -> SplitResult:
    """Return the parts of a URL; raises SettingsError with setting and form, never the URL."""
    try:
        parts = urlsplit(text)
        # A port out of range raises only when it is read.
        sound = parts.scheme in schemes and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or not (parts.hostname or parts.scheme == "unix"):
        raise SettingsError(f"{setting}: expected {form}, got something else (it is not shown)")
    return parts


async def in_thread(work: Callable[[], _T]) -> _T:
    """Run work in a thread of its own and return its result; cancelling leaves it running.

    There is no pool, so that a target that hangs keeps no other waiting. The threads are daemons,
    so that it does not keep the agent from ending.
    """
    box: Future[_T] = Future()
    box.set_running_or_notify_cancel()

    def run() -> None:
        try:
            box.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            box.set_exception(error)

    threading.Thread(target=run, name="trimtab-probe", daemon=True).start()
    return await asyncio.wrap_future(box)
