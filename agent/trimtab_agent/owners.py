"""Whose a service is: which user may write as it, where the settings say so."""

import os
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from trimtab_agent.app import App
from trimtab_core.errors import StartupError

__all__ = ["TCP", "ServiceOwners"]

#: who connects over TCP: whoever has the token, if there is one
TCP: Final = "tcp"


class ServiceOwners:
    """Services by user, from settings of the form UID=SERVICE or tcp=SERVICE.

    SERVICE is a name, or a pattern with `*` and `?`. Who is named writes as those services alone,
    and nobody else does. Root and the agent's own user may become whoever they want: they write as
    any. Raises StartupError for texts of another form.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._given: dict[str, list[str]] = {}
        for text in texts:
            who, _, service = (part.strip() for part in text.partition("="))
            if not service or not (who == TCP or (who.isascii() and who.isdigit())):
                raise StartupError(
                    f"service_uids: expected UID=SERVICE or {TCP}=SERVICE, got {text!r:.80}"
                )
            self._given.setdefault(who if who == TCP else str(int(who)), []).append(service)
        self._free = {"0", str(os.getuid())}

    @property
    def uids(self) -> frozenset[int]:
        """The users who have services: they may connect."""
        return frozenset(int(who) for who in self._given if who != TCP)

    def refusal(self, who: str, service: str, before: App | None) -> tuple[str, str] | None:
        """Return why an app may not begin, as a reason to count and a sentence; None if it may.

        before is what was known of the process: while it is connected, nobody else is it.
        """
        if not self.may(who, service):
            sentence = f"user {who} may not write as service {service!r:.80}"
            return "service", f"{sentence}: see TRIMTAB_AGENT_SERVICE_UIDS"
        if before is not None and before.connected and before.who != who:
            return "process", f"user {who} says to be a process of user {before.who}"
        return None

    def may(self, who: str, service: str) -> bool:
        """Whether a user, as the text of the id, or TCP, may write as a service."""
        if not self._given or who in self._free:
            return True
        own = self._given.get(who)
        if own is not None:
            return _is_among(service, own)
        return not any(_is_among(service, given) for given in self._given.values())


def _is_among(service: str, patterns: Iterable[str]) -> bool:
    return any(service == each or fnmatchcase(service, each) for each in patterns)
