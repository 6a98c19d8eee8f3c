"""What a strange client asks the API: parameters of every kind, beyond what they may be."""

import random
from collections.abc import Iterator
from urllib.parse import quote

from support.fuzzing.values import NUMBERS, TEXTS
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.contract.callers import Role

__all__ = ["QueryFuzz", "reads"]

_TIMES = (
    *(
        "now",
        "-15m",
        "-1h",
        "-400d",
        "-9999999w",
        "0",
        "1",
        "-1",
        "1e18",
        "nan",
        "inf",
        "2025-02-30",
    ),
    *("2025-01-01T00:00:00+99:99", "9999-12-31T23:59:59Z", "0001-01-01", "4102444800", "1e400"),
)
_ZONES = (
    "UTC",
    "Europe/Berlin",
    "Asia/Seoul",
    "../../etc/passwd",
    "UTC+99",
    "posix/UTC",
    "Factory",
)
_WORDS = (
    "minute",
    "day",
    "month",
    "p99",
    "count",
    "fuzz-0",
    "honest",
    "/r1",
    "5xx",
    "200",
    "0-999",
)


def reads() -> Iterator[tuple[str, set[str]]]:
    """Yield the path of every endpoint for planners that needs no name, and its parameters."""
    for endpoint in ENDPOINTS:
        if endpoint.method == "GET" and endpoint.role in (Role.PLANNER, Role.ANYONE):
            names = {each.name for each in endpoint.parameters}
            # Other paths of an endpoint have the same answer.
            yield from ((path, names) for path in endpoint.paths[:1] if "{" not in path)


class QueryFuzz:
    """Makes paths with queries by a seed."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(f"queries {seed}")
        self._rows = [each for each in ENDPOINTS if each.method == "GET"]

    def path(self) -> str:
        """Return the next path below the base of the API, quoted, with its query."""
        rng = self._rng
        endpoint = rng.choice(self._rows)
        path = rng.choice(endpoint.paths)
        while "{" in path:
            begin, _, rest = path.partition("{")
            path = begin + quote(rng.choice((*TEXTS[:30], "1", "fuzz")), safe="", errors=_LONE)
            path += rest.partition("}")[2]
        known = [each.name for each in endpoint.parameters if each.place == "query"]
        if not known:
            return path
        names = rng.sample(known, min(len(known), rng.choice((1, 1, 2, 3))))
        if rng.random() < 0.1:
            names += rng.choice((names, [rng.choice(TEXTS[:20])]))
        pairs = "&".join(f"{quote(name, errors=_LONE)}={self._text(name)}" for name in names)
        return f"{path}?{pairs}"

    def _text(self, name: str) -> str:
        rng = self._rng
        if name in ("from", "to") or rng.random() < 0.1:
            text = rng.choice(_TIMES)
        elif name == "tz":
            text = rng.choice((*_ZONES, *TEXTS[:20]))
        else:
            kinds = (str(rng.choice(NUMBERS)), rng.choice(TEXTS)[:5_000], rng.choice(_WORDS))
            text = rng.choice((*kinds, ",".join(rng.choices(_WORDS, k=50))))
        if rng.random() < 0.02:
            return rng.choice(("%", "%zz", "%ff%fe", "%00", "a=b&c", "%ED%A0%80"))
        return quote(text, safe="", errors=_LONE)


_LONE = "surrogatepass"
