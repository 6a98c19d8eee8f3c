"""The first admin: by a one-time link, or with the password of the settings. Never by default."""

import hmac
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

from trimtab_collector.auth.passwords import check_password, hash_password
from trimtab_collector.auth.people import People, check_name
from trimtab_collector.contract.callers import ITSELF, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_core.errors import SettingsError

__all__ = ["SETUP_S", "SetupLink", "first_admin"]

#: how long the link of a start is good
SETUP_S: Final = 3_600


class SetupLink:
    """The token of the link: offered at a start without users, good once; any thread."""

    def __init__(self, people: People, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until_s = clock() + SETUP_S
        #: empty when it is used, or where there are users
        self.token = "" if people.are_there() else secrets.token_urlsafe(32)

    def is_open(self) -> bool:
        """Tell whether the link can still be used."""
        return bool(self.token) and self._clock() < self._until_s

    def check(self, text: str) -> None:
        """Raise ApiError 401 for another token than that of the link, or when its time is over."""
        with self._lock:
            same = hmac.compare_digest(text.encode("utf-8", "replace"), self.token.encode())
            if not same or not self.is_open():
                raise ApiError(
                    401,
                    "unauthorized",
                    "expected the token of the set-up link, which is good once and for an hour: "
                    "start the collector again for another, or use trimtab user add --admin",
                )

    def close(self) -> None:
        """Refuse the link from now on."""
        with self._lock:
            self.token = ""


def first_admin(people: People, name: str, password: str) -> bool:
    """Add an admin with the name and password of the settings if there is no user.

    Returns whether it did. Raises SettingsError for a name or password that cannot be one's.
    """
    if not password or people.are_there():
        return False
    try:
        check_name(name)
        check_password(password, name)
        people.add(ITSELF, name, hash_password(password), Role.ADMIN, first=True)
    except ApiError as error:
        raise SettingsError(f"admin_name and admin_password: {error.message}") from error
    return True
