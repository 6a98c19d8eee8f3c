"""Settings that change while the collector runs: read again on SIGHUP and handed to the parts.

A file with a mistake changes nothing. A part that cannot use the new settings keeps what it has,
and the others go on. Both are logged, and `/health` says so until the next reading goes well.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final, NamedTuple

from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.health import HealthPart, ReloadHealth
from trimtab_collector.settings import CollectorSettings
from trimtab_core.errors import TrimtabError

__all__ = ["Reload", "Reloaded"]

logger = logging.getLogger("trimtab.reload")

#: settings whose change takes effect at the next start only
_FIXED: Final = tuple(
    each.name for each in fields(CollectorSettings) if each.metadata.get("restart", True)
)


class Reloaded(NamedTuple):
    """How the last reading went; at_s is None before the first one."""

    at_s: float | None = None
    #: what could not be used, a sentence each
    errors: tuple[str, ...] = ()
    #: names of settings that wait for the next start
    waiting: tuple[str, ...] = ()


class Reload:
    """Reads the settings again and hands them to whoever registered; any thread."""

    def __init__(
        self,
        settings: CollectorSettings,
        load: Callable[[], CollectorSettings] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Take what was read at the start, and what reads it again; None reads nothing."""
        self._started = settings
        self._settings = settings
        self._load = load
        self._clock = clock
        self._parts: dict[str, Callable[[CollectorSettings], None]] = {}
        self._turn = threading.Lock()
        #: how the last reading went
        self.last = Reloaded()

    def register(self, name: str, apply: Callable[[CollectorSettings], None]) -> None:
        """Have apply called with the settings at every reading, in the thread that reads.

        apply looks at files of its own, too, even where no setting changed. It raises what says why
        it cannot use them, and then keeps what it had.
        """
        self._parts[name] = apply

    def run(self) -> Reloaded:
        """Read everything again and return how it went; one call at a time, raises nothing."""
        with self._turn:
            self.last = self._read()
            return self.last

    def health(self, caller: Caller) -> HealthPart:
        """Return how the last reading went; only those who may read are told sentences."""
        at_s, errors, waiting = self.last
        told = list(errors)
        if caller.role is Role.ANYONE:
            told = [f"{error.partition(':')[0]}: the log says why" for error in errors]
        body = ReloadHealth(
            at=None if at_s is None else instant(at_s), errors=told, waiting=list(waiting)
        )
        return HealthPart(body, degraded=bool(errors))

    def _read(self) -> Reloaded:
        errors: list[str] = []
        settings = self._settings
        try:
            if self._load is not None:
                settings = self._load()
        except (TrimtabError, OSError) as error:
            errors.append(f"settings: {error}")
            logger.error("settings were not read again, the old ones hold: %s", error)
            return Reloaded(self._clock(), tuple(errors), self.last.waiting)
        waiting = tuple(name for name in _FIXED if _differs(name, settings, self._started))
        for name in waiting:
            logger.warning("changing %s takes a restart of the collector", name)
        changed = [
            each.name
            for each in fields(CollectorSettings)
            if each.name not in _FIXED and _differs(each.name, settings, self._settings)
        ]
        for part, apply in self._parts.items():
            try:
                apply(settings)
            except (TrimtabError, OSError) as error:
                errors.append(f"{part}: {error}")
                logger.error("%s were not taken over, the old ones hold: %s", part, error)
            except Exception as error:
                errors.append(f"{part}: {error!r:.200}")
                logger.exception("%s were not taken over, the old ones hold", part)
        self._settings = settings
        logger.info("settings read again changed=%s", ",".join(changed) or "none")
        return Reloaded(self._clock(), tuple(errors), waiting)


def _differs(name: str, one: Any, other: Any) -> bool:
    return bool(getattr(one, name) != getattr(other, name))
