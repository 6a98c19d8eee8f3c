"""The keys that access tokens are signed with: made at the first start, kept in a file 0600.

A rotation makes a new key; the one before it is still good for as long as a token lives that it may
have signed. The file is not part of a backup: a restored collector keeps its own, or makes one.
"""

import logging
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from trimtab_core.errors import StartupError
from trimtab_core.logs import RateLimited
from trimtab_core.ownfiles import make_directory, read_own, write_own

__all__ = ["ACCESS_S", "LEEWAY_S", "SigningKey", "SigningKeys"]

logger = logging.getLogger("trimtab.signing")

#: how long an access token lives
ACCESS_S: Final = 900
#: how far clocks may differ
LEEWAY_S: Final = 30
_FILE: Final = "login-keys"
#: RFC 7518, section 3.2: a key of HS256 is as long as its hash, or longer
_LEAST_BYTES: Final = 32
_TROUBLE: Final = (OSError, ValueError, msgspec.MsgspecError, StartupError)


class SigningKey(msgspec.Struct, frozen=True):
    """A key by its id, which is the `kid` of tokens; its secret is in hexadecimal."""

    id: str
    secret: str
    made_s: float
    #: when another one took its place
    replaced_s: float | None = None

    @property
    def bytes(self) -> bytes:
        """What is signed with."""
        return bytes.fromhex(self.secret)


class SigningKeys:
    """The keys in the file of a data directory; any thread. Notices when the console rotates them.

    Raises StartupError when the file cannot be used.
    """

    def __init__(self, directory: Path, clock: Callable[[], float] = time.time) -> None:
        self.path = directory / _FILE
        self._clock = clock
        self._keys: dict[str, SigningKey] = {}
        self._stamp: tuple[int, int, int] | None = None
        self._limited = RateLimited(logger)
        try:
            make_directory(directory)
            if not read_own(self.path):
                self._write([self._new()])
            self._read()
        except _TROUBLE as error:
            raise StartupError(
                f"expected keys for access tokens in {self.path}, got: {error}; delete the file "
                "and start again: people log in anew"
            ) from error

    def current(self) -> SigningKey:
        """Return the key that signs."""
        return next(key for key in self._fresh().values() if key.replaced_s is None)

    def find(self, key_id: object) -> SigningKey | None:
        """Return the key of an id, None when there is none or its time is over."""
        key = self._fresh().get(key_id) if isinstance(key_id, str) else None
        return key if key is not None and self._lives(key) else None

    def rotate(self, *, at_once: bool = False) -> str:
        """Make a new key and return its id.

        The one before it stays good for tokens that it has signed, unless at_once. Raises OSError.
        """
        now_s = self._clock()
        new = self._new()
        before = [] if at_once else [each for each in self._fresh().values() if self._lives(each)]
        replaced = [
            msgspec.structs.replace(each, replaced_s=now_s) if each.replaced_s is None else each
            for each in before
        ]
        self._write([new, *replaced])
        self._read()
        return new.id

    def _lives(self, key: SigningKey) -> bool:
        replaced_s = key.replaced_s
        return replaced_s is None or self._clock() <= replaced_s + ACCESS_S + LEEWAY_S

    def _new(self) -> SigningKey:
        return SigningKey(secrets.token_hex(8), secrets.token_hex(_LEAST_BYTES), self._clock())

    def _fresh(self) -> dict[str, SigningKey]:
        """Return the keys, read again when the file is another; as they were if that fails."""
        try:
            if self._stamp != _stamp(self.path):
                self._read()
        except _TROUBLE as error:
            self._stamp = None
            self._limited.warning(
                "read", "keys of access tokens cannot be read again error=%s", error
            )
        return self._keys

    def _read(self) -> None:
        """Read the file; raises one of _TROUBLE."""
        stamp = _stamp(self.path)
        keys = msgspec.json.decode(read_own(self.path), type=list[SigningKey])
        if min(map(len, (key.bytes for key in keys)), default=0) < _LEAST_BYTES:
            raise ValueError(f"a key of less than {_LEAST_BYTES} bytes, or none")
        if [key.replaced_s for key in keys].count(None) != 1:
            raise ValueError("other than one key that signs")
        self._keys = {key.id: key for key in keys}
        self._stamp = stamp

    def _write(self, keys: list[SigningKey]) -> None:
        """Write the file anew: it is there as before, or whole; raises OSError."""
        write_own(self.path, msgspec.json.encode(keys))


def _stamp(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_mtime_ns, found.st_size
