"""How often one may try to log in: per account and per address, decided before anything is hashed.

A try of a password takes a place from two buckets, which fill again with time (a token bucket). A
success gives back the place of its try to the address, and all places to the account. Successes
have a bucket of their own, far larger: each leaves a session, and a revocation when it ends. An
address from which somebody has logged in has a bucket of its own for that account, and that of the
address is not asked: a stranger who tries names, there or elsewhere, cannot lock people out where
they work.

Secrets of 256 bits (refresh tokens, links) cannot be guessed, so they are looked at first: a right
one is always good, and wrong ones are counted in a bucket of their own.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Final

from trimtab_collector.auth.places import KnownPlace, place_of
from trimtab_collector.contract.errors import ApiError
from trimtab_core.addresses import network_of

__all__ = ["LoginLimits", "RateLimit"]

#: keys that are remembered at most; the one that was used the longest time ago is forgotten
_MAX_KEYS: Final = 10_000
_ACCOUNT: Final = (10, 30.0)
_ADDRESS: Final = (20, 3.0)
_SECRETS: Final = (20, 3.0)
_SUCCESSES: Final = (500, 5.0)


class RateLimit:
    """Buckets of places by key; one thread at a time."""

    def __init__(
        self, places: int, seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Give each key so many places, of which one is free again every so many seconds."""
        self._places = places
        self._seconds = seconds
        self._clock = clock
        #: key -> time at which all its places are free again
        self._free_at_s: OrderedDict[Hashable, float] = OrderedDict()

    def wait_s(self, key: Hashable) -> float:
        """Return how long until a place is free, 0 when one is."""
        taken_s = self._free_at_s.get(key, 0.0) - self._clock()
        return max(0.0, taken_s - self._seconds * (self._places - 1))

    def take(self, key: Hashable) -> None:
        """Take a place."""
        now_s = self._clock()
        self._free_at_s[key] = max(self._free_at_s.get(key, now_s), now_s) + self._seconds
        self._free_at_s.move_to_end(key)
        if len(self._free_at_s) > _MAX_KEYS:
            self._free_at_s.popitem(last=False)

    def give_back(self, key: Hashable) -> None:
        """Free a place that was taken."""
        if key in self._free_at_s:
            self._free_at_s[key] -= self._seconds

    def clear(self, key: Hashable) -> None:
        """Free all places of a key."""
        self._free_at_s.pop(key, None)


class LoginLimits:
    """Whether somebody may try now; loop only.

    An account has 10 failures, then one in 30 s, and so has an account at an address that it has
    logged in from; an address 20 of passwords and 20 of other secrets, then one in 3 s of each. An
    account has 500 successes, then one in 5 s.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, known: Iterable[KnownPlace] = ()
    ) -> None:
        """Begin with the places that have worked before."""
        self._accounts = RateLimit(*_ACCOUNT, clock)
        self._addresses = RateLimit(*_ADDRESS, clock)
        self._secrets = RateLimit(*_SECRETS, clock)
        self._successes = RateLimit(*_SUCCESSES, clock)
        #: accounts and networks that have worked
        self._known: OrderedDict[KnownPlace, None] = OrderedDict.fromkeys(known)

    def begin(self, address: str, account: str) -> None:
        """Count a try of a password of an account; raises ApiError 429 for one too many."""
        network = network_of(address)
        place = place_of(account, network)
        is_known = place in self._known
        key: Hashable = place if is_known else account
        wait_s = max(self._accounts.wait_s(key), self._successes.wait_s(account))
        if not is_known:
            wait_s = max(wait_s, self._addresses.wait_s(network))
        if wait_s:
            raise _too_many(wait_s)
        if not is_known:
            self._addresses.take(network)
        self._accounts.take(key)

    def failed(self, address: str) -> None:
        """Count a secret that was none; raises ApiError 429 for one too many."""
        network = network_of(address)
        wait_s = self._secrets.wait_s(network)
        if wait_s:
            raise _too_many(wait_s)
        self._secrets.take(network)

    def worked(self, address: str, account: str) -> KnownPlace | None:
        """Give back what a try of a password took, and return a place that was not known."""
        network = network_of(address)
        place = place_of(account, network)
        is_new = place not in self._known
        if is_new:
            self._addresses.give_back(network)
        self._accounts.clear(account if is_new else place)
        self._successes.take(account)
        self._known[place] = None
        self._known.move_to_end(place)
        if len(self._known) > _MAX_KEYS:
            self._known.popitem(last=False)
        return place if is_new else None


def _too_many(wait_s: float) -> ApiError:
    seconds = math.ceil(wait_s)
    return ApiError(
        429,
        "too_many_tries",
        f"expected fewer tries from this address or for this account: try again in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )
