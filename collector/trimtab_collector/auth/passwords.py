"""Passwords: what is taken for one, and their hashes (argon2id, 19 MiB, two passes, one lane).

The parameters are those of the OWASP Password Storage Cheat Sheet. Hashing takes some 25 ms of a
core and 19 MiB, so it happens one at a time in a thread that yields to all others, and only 20 may
wait for it.
"""

import asyncio
import os
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from trimtab_collector.contract.errors import ApiError

__all__ = ["HashThread", "check_password", "hash_password", "is_password"]

_T = TypeVar("_T")
_LEAST: Final = 10
_MOST: Final = 256
_HASHER: Final = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
#: checked for names that nobody has, so that they take as long; no password has it
_NOBODYS: Final = f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'A' * 43}"
_MAX_HASHES: Final = 20
_MAX_OTHERS: Final = 64
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


class HashThread:
    """Does what needs a password or a session, one after the other; loop only."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(
            1, thread_name_prefix="trimtab-login", initializer=_yield_to_others
        )
        self._hashes = 0
        self._others = 0

    async def hash(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Return what work, which hashes, returns; raises ApiError 429 when 20 wait or run."""
        if self._hashes >= _MAX_HASHES:
            raise _busy("log-ins", self._hashes)
        self._hashes += 1
        try:
            return await self._run(work, *arguments)
        finally:
            self._hashes -= 1

    async def run(self, work: Callable[..., _T], *arguments: Any) -> _T:
        """Return what work returns; raises ApiError 429 when 64 others than hashes wait or run."""
        if self._others >= _MAX_OTHERS:
            raise _busy("requests", self._others)
        self._others += 1
        try:
            return await self._run(work, *arguments)
        finally:
            self._others -= 1

    def close(self) -> None:
        """Finish what runs, drop what waits."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _run(self, work: Callable[..., _T], *arguments: Any) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


def _busy(what: str, count: int) -> ApiError:
    return ApiError(
        429, "busy", f"{count} {what} wait already: ask again", headers={"Retry-After": "1"}
    )


def _yield_to_others() -> None:
    """Lower the priority of this thread where the system has one for threads (Linux)."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
