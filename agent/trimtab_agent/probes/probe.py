"""What a probe is: one target, read now and then, whose failure is a reading too.

Addresses hold secrets. What leaves a probe is its target's name and sentences that went through
`TargetAddress.told`; an address itself is never shown, also where it cannot be understood.
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
#: Shortest parameter of a URL that is taken for a secret: `db=0` is none.
_SECRET: Final = 4
_T = TypeVar("_T")


class Probed(NamedTuple):
    """What one reading gave: gauges by name, what was added to measures, and what is wrong."""

    gauges: Mapping[str, float]
    measures: Sequence[tuple[MeasureKey, Delta]] = ()
    #: a sentence when the target answered, and is not well
    fault: str = ""


class Probe(Protocol):
    """Reads one target; for one task, so `read` never runs twice at once."""

    @property
    def target(self) -> str:
        """Name of what is read, without secrets: `redis:127.0.0.1:6379/0`."""

    async def read(self) -> Probed:
        """Return a reading within LIMIT_S or some seconds more; raises whatever its driver does.

        Does not hold the loop. What it raises is shown through `told` only.
        """

    def told(self, error: BaseException) -> str:
        """Return what an error of `read` says, without secrets."""

    def close(self) -> None:
        """Close the connection; not while it reads."""


@dataclass(frozen=True, slots=True)
class TargetAddress:
    """An address that may hold secrets; neither its repr nor `told` shows any."""

    text: str = field(repr=False)
    #: pieces that no sentence may hold
    secrets: frozenset[str] = field(repr=False)

    @classmethod
    def of(cls, text: str, secrets: Iterable[str] = ()) -> "TargetAddress":
        """Return the address in a text, whose secrets are these, itself, and a URL's password."""
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

    def told(self, error: BaseException) -> str:
        """Return kind and first line of an error, at most 200 characters, with no secret in it."""
        words = " ".join(str(error).split())
        for secret in sorted(self.secrets, key=len, reverse=True):
            words = words.replace(secret, "***")
        return f"{type(error).__name__}: {words[:_MOST_TEXT]}".rstrip(": ")


def split_url(text: str, setting: str, form: str, schemes: Sequence[str]) -> SplitResult:
    """Return the parts of a URL; raises SettingsError that names setting and form, not the URL."""
    try:
        parts = urlsplit(text)
        # A port out of range shows only when it is asked for.
        sound = parts.scheme in schemes and (parts.port or 1) > 0
    except ValueError:
        sound = False
    if not sound or not (parts.hostname or parts.scheme == "unix"):
        raise SettingsError(f"{setting}: expected {form}, got something else (it is not shown)")
    return parts


async def in_thread(work: Callable[[], _T]) -> _T:
    """Return what work returns, run in a thread of its own; a cancelled wait leaves it running.

    No pool: a target that hangs must neither keep others waiting nor hold up the end of the agent,
    which does not wait for threads of this kind.
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
