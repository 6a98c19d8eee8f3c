"""Everything about who may ask, put together over one data directory."""

import asyncio
import logging
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from trimtab_collector.auth.access import Access
from trimtab_collector.auth.administration import Administration
from trimtab_collector.auth.keys import KeyFile
from trimtab_collector.auth.limits import LoginLimits
from trimtab_collector.auth.links import SigninLinks
from trimtab_collector.auth.logins import Logins
from trimtab_collector.auth.passwords import LoginThreads
from trimtab_collector.auth.people import People
from trimtab_collector.auth.places import KnownPlaces
from trimtab_collector.auth.register import Register
from trimtab_collector.auth.sessions import Sessions
from trimtab_collector.auth.setup import SetupLink, first_admin
from trimtab_collector.auth.signing import SigningKeys
from trimtab_collector.auth.tokens import FirstToken, ServiceTokens
from trimtab_collector.contract.callers import ITSELF, Caller, Role
from trimtab_collector.contract.health import AccountsHealth, HealthPart
from trimtab_collector.statefile import StateFile

__all__ = ["Accounts"]

logger = logging.getLogger("trimtab.accounts")

_KEEP_S: Final = 60.0


class Accounts:
    """Users, sessions, tokens, and the access that they give; loop only.

    Raises StartupError when a file of the directory cannot be used, and SettingsError for an admin
    of the settings who cannot be added.
    """

    def __init__(
        self,
        state: StateFile,
        directory: Path,
        token: str = "",
        admin_name: str = "admin",
        admin_password: str = "",
        base_url: str = "",
    ) -> None:
        people = People(state)
        self._tokens = ServiceTokens(state)
        #: the token of the file or the settings
        self.token: FirstToken = self._tokens.first(directory, token)
        first_admin(people, admin_name, admin_password)
        #: the one-time link of this start
        self.setup = SetupLink(people)
        keys = SigningKeys(directory)
        self._sessions = Sessions(state, people, keys)
        self._register = Register(state, keys)
        self.access = Access(self._register)
        self._threads = LoginThreads()
        places = KnownPlaces(state)
        limits = LoginLimits(known=places.all())
        self._people, self._links = people, SigninLinks(state, people)
        self._logins = Logins(
            *(people, self._sessions, self.setup, self._links, self._threads, limits, places),
            *(base_url, str(directory.resolve())),
        )
        #: the keys of agents, as the API changes them
        self.agent_keys = KeyFile(directory, waits=True)
        self._administration = Administration(
            state, people, self._tokens, self.agent_keys, self._threads
        )
        #: why last uses and what has expired are not kept up, empty when they are
        self.trouble = ""
        self.failures = 0

    def admin_link(self) -> str:
        """Return the token of a link for the admin who was added first, "" where there is none."""
        admins = [
            each
            for each in self._people.list()
            if each.role is Role.ADMIN and each.disabled_s is None
        ]
        if not admins:
            return ""
        return self._links.make(ITSELF, min(admins, key=lambda each: each.created_s))

    def health(self, caller: Caller) -> HealthPart:
        """Return what `/health` shows; only those who may read are told why."""
        trouble = self.trouble
        if trouble and caller.role is Role.ANYONE:
            trouble = "sessions cannot be tidied up: the log says why"
        body = AccountsHealth(trouble=trouble or None, failures=self.failures)
        return HealthPart(body, bool(trouble))

    def parts(self) -> Sequence[Any]:
        """Return what endpoints ask."""
        return self._logins, self._administration

    async def keep_up(self) -> None:
        """Store last uses and forget what has expired, each minute until cancelled."""
        while True:
            await asyncio.sleep(_KEEP_S)
            try:
                await self._threads.run(self._tidy, self._register.take_uses())
                self.trouble = ""
            except Exception as error:  # noqa: BLE001 - a failure must not end the loop
                self.failures += 1
                self.trouble = f"sessions cannot be tidied up: {error}"
                logger.warning("sessions cannot be tidied up error=%r", error)

    def close(self) -> None:
        """Store what is to be kept and let go of the files."""
        self._threads.close()
        try:
            self._tidy(self._register.take_uses())
        except sqlite3.Error as error:
            logger.warning("last uses of tokens are not kept error=%s", error)
        self._register.close()

    def _tidy(self, uses: dict[str, float]) -> None:
        self._tokens.used(uses)
        self._sessions.tidy()
