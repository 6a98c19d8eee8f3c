"""Passwords: what is taken for one, and their hashes (argon2id, 19 MiB, two passes, one lane).

The parameters are those of the OWASP Password Storage Cheat Sheet. Hashing takes some 25 ms of a
core and 19 MiB, so it happens one at a time in a thread that yields to all others, and only 20 may
wait for it.
"""

import asyncio
import os
import random
import threading
import unicodedata
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from trimtab_collector.contract.errors import ApiError

__all__ = ["LoginThreads", "check_password", "hash_password", "is_password"]

_T = TypeVar("_T")
_LEAST: Final = 10
_MOST: Final = 256
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
#: checked for names that nobody has, so that they take as long; no password has it
_NOBODYS: Final = f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'A' * 43}"
_MAX_LOGINS: Final = 20
_MAX_WAITING: Final = 64
#: those for whom there is no place, and who are not told at once
_MAX_HELD: Final = 1_000
#: how much the thread yields to others (of 19)
_NICE: Final = 10


def check_password(password: str, name: str) -> None:
    """Raise ApiError 422 for what is too short, too long or the name."""
    found = ""
    if not _LEAST <= len(password) <= _MOST:
        found = f"one of {len(password)}"
    elif password.casefold() == name.casefold():
        found = "the name"
    if found:
        expected = f"a password of {_LEAST} to {_MOST} characters that is not the name"
        raise ApiError(422, "bad_password", f"expected {expected}, got {found}")


def hash_password(password: str) -> str:
    """Return the hash of a password; takes long."""
    return _HASHER.hash(_same(password))


def is_password(hashed: str | None, password: str) -> bool:
    """Tell whether a hash is that of a password; takes as long for None, which has none."""
    try:
        return _HASHER.verify(hashed or _NOBODYS, _same(password)) and hashed is not None
    except (VerificationError, InvalidHashError):
        return False


def _same(password: str) -> bytes:
    """Return the bytes of a password: the same from every keyboard (NFKC, as NIST SP 800-63B)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


class LoginThreads:
    """Where what logging in needs is done: a thread that hashes and one for the rest; loop only.

    The one that hashes yields to all others of the machine. It does nothing else: held up anywhere
    in Python, it would hold up the whole process.
    """

    def __init__(self, hold_s: Callable[[], float] = random.random) -> None:
        """Take what says how long somebody for whom there is no place is held."""
        self._hold_s = hold_s
        self._hashing = ThreadPoolExecutor(
            1, thread_name_prefix="trimtab-hash", initializer=_yield_to_others
        )
        self._doing = ThreadPoolExecutor(1, thread_name_prefix="trimtab-login")
        self._logins = 0
        self._held = 0
        self._waiting = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold one of 20 places of those who log in; raises ApiError 503 when all are taken.

        That is said up to a second later, unless a place became free: people who were refused at
        once would all come back at once, and hold up the loop each time.
        """
        if self._logins >= _MAX_LOGINS and self._held < _MAX_HELD:
            self._held += 1
            try:
                await asyncio.sleep(self._hold_s())
            finally:
                self._held -= 1
        if self._logins >= _MAX_LOGINS:
            raise _busy("log-ins", self._logins)
        self._logins += 1
        try:
            yield
        finally:
            self._logins -= 1

    async def hash(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Return what work, which hashes, returns; raises ApiError 503 when 64 of all wait."""
        return await self._run(self._hashing, work, *arguments)

    async def run(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Return what work returns; raises ApiError 503 when 64 of all wait."""
        return await self._run(self._doing, work, *arguments)

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._hashing.shutdown(wait=True, cancel_futures=True)
        self._doing.shutdown(wait=True, cancel_futures=True)

    async def _run(
        self, thread: ThreadPoolExecutor, work: Callable[..., _T], *arguments: Any
    ) -> _T:
        if self._waiting >= _MAX_WAITING:
            raise _busy("requests", self._waiting)
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(thread, work, *arguments)
        finally:
            self._waiting -= 1


def _busy(what: str, count: int) -> ApiError:
    return ApiError(
        503, "busy", f"{count} {what} wait already: ask again", headers={"Retry-After": "2"}
    )


def _yield_to_others() -> None:
    """Lower the priority of this thread where the system has one for threads (Linux)."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
