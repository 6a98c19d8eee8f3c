"""Advice on clients of HTTP, and on how long caches keep things."""

from collections.abc import Iterator
from typing import Final

from trimtab_collector.contract.analysis import Place
from trimtab_collector.reads.judging.advising import AdviceRule, Advised, Unseen
from trimtab_collector.reads.judging.facts import Facts, GaugeTrack, whole
from trimtab_collector.reads.judging.findings import HIGH, LOW, MEDIUM, Clue
from trimtab_core.measures import Delta

__all__ = ["CACHE_RULES", "HTTP_RULES"]

_CLIENT: Final = "trimtab.http.client."
_CALLS: Final = "http.client.request.duration"
#: calls of a service without which nothing is said
_ENOUGH: Final = 100
_TIMEOUT_S: Final = 60.0
_CONNECTIONS: Final = 50
_KEEPALIVE: Final = 20
_EXPIRY_S: Final = 30.0
#: clients per call from which on each call has its own
_PER_CALL: Final = 0.5
_HIT_RATE: Final = 0.8
_READS: Final = 100
_KEYS: Final = 1_000
_VOLATILE: Final = 0.5
_FULL: Final = 0.7


def _settings(facts: Facts, name: str) -> Iterator[tuple[Place, float, Delta]]:
    """Yield of each service with enough calls their number, and a setting of its clients."""
    calls = facts.by_service(_CALLS)
    for owner, parts in facts.by_service(_CLIENT + name).items():
        count = whole(calls.get(owner, ())).count
        if count >= _ENOUGH:
            yield Place(environment=owner[0], service=owner[1]), count, whole(parts)


def http_timeout(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have calls to other services end; a setting of -1 is none."""
    found = list(_settings(facts, "timeout"))
    if not found:
        yield _no_client(facts)
    for where, count, setting in found:
        if setting.min < 0 or setting.max > _TIMEOUT_S:
            seconds = -1.0 if setting.min < 0 else setting.max
            clue = Clue("calls", {"count": count}, where)
            yield Advised(HIGH if seconds < 0 else MEDIUM, LOW, where, {"seconds": seconds},
                          (clue,), ("httpx.AsyncClient(timeout=60.0)",))  # fmt: skip


def http_limits(facts: Facts) -> Iterator[Advised | Unseen]:
    """Bound the connections of clients, and keep some of them open for longer."""
    found = list(_settings(facts, "max_connections"))
    if not found:
        yield _no_client(facts)
    for where, count, most in found:
        owner = (where.environment, where.service)
        kept, expiry = (
            whole(facts.by_service(_CLIENT + name).get(owner, ()))
            for name in ("max_keepalive", "keepalive_expiry")
        )
        is_unbounded = most.min < 0
        if not is_unbounded and not 0 <= kept.min < _KEEPALIVE and not 0 <= expiry.min < _EXPIRY_S:
            continue
        clue = Clue("calls", {"count": count}, where)
        fields = {"most": most.last, "kept": kept.min, "expiry": expiry.min}
        command = (
            f"httpx.Limits(max_connections={_CONNECTIONS}, "
            f"max_keepalive_connections={_KEEPALIVE}, keepalive_expiry={_EXPIRY_S:.0f})"
        )
        yield Advised(MEDIUM if is_unbounded else LOW, LOW, where, fields, (clue,), (command,))


def http_client_per_call(facts: Facts) -> Iterator[Advised | Unseen]:
    """Find services that make a new client, and so a new connection, for each call."""
    found = list(_settings(facts, "created"))
    if not found and not list(_settings(facts, "timeout")):
        yield _no_client(facts)
    for where, count, created in found:
        if created.sum >= _PER_CALL * count:
            clue = Clue("clients", {"created": int(created.sum), "count": count}, where)
            yield Advised(MEDIUM, MEDIUM, where, {"created": int(created.sum), "count": count},
                          (clue,), ("client = httpx.AsyncClient()  # one for all",))  # fmt: skip


def _no_client(facts: Facts) -> Unseen:
    return Unseen("no_client_settings" if facts.of(_CALLS) else "no_calls")


# ---------------------------------------------------------------- caches


class _Redis:
    """What was read of one Redis over the range."""

    def __init__(self, facts: Facts, server: GaugeTrack) -> None:
        self.where = Place(target=server.instance)
        self.used = server.last
        self.limit = self._last(facts, "redis.maxmemory")
        self.keys = self._last(facts, "redis.keys")
        self.volatile = self._last(facts, "redis.keys.volatile")
        self.hits, self.misses, self.expired, self.evicted = (
            self._growth(facts, f"redis.{name}")
            for name in ("keyspace.hits", "keyspace.misses", "keys.expired", "keys.evicted")
        )

    def _last(self, facts: Facts, name: str) -> float | None:
        track = facts.track(name, self.where.target)
        return track.last if track else None

    def _growth(self, facts: Facts, name: str) -> float:
        track = facts.track(name, self.where.target)
        return track.growth if track else 0.0

    @property
    def reads(self) -> float:
        return self.hits + self.misses

    @property
    def is_missed(self) -> bool:
        """Whether it was read enough, and found too little."""
        return self.reads >= _READS and self.hits < _HIT_RATE * self.reads

    def clue(self) -> Clue:
        fields = {"level": self.where.target, "hits": int(self.hits), "reads": int(self.reads)}
        return Clue("cache_level", fields, self.where)


def _servers(facts: Facts) -> list[_Redis]:
    return [_Redis(facts, each) for each in facts.tracks("redis.memory.used")]


def cache_ttl(facts: Facts) -> Iterator[Advised | Unseen]:
    """Give keys a time to live where most have none, and memory has no bound or is full."""
    servers = _servers(facts)
    if not servers:
        yield Unseen("no_redis")
    for each in servers:
        if each.keys is None or each.volatile is None:
            yield Unseen("no_keys", each.where)
            continue
        lasting = each.keys - each.volatile
        if each.keys < _KEYS or each.volatile >= _VOLATILE * each.keys:
            continue
        is_full = bool(each.limit) and each.used >= _FULL * (each.limit or 0)
        if each.evicted or is_full or not each.limit:
            sizes = {"mib": each.used / 2**20, "limit": (each.limit or 0) / 2**20}
            clue = Clue("redis_memory", sizes, each.where)
            yield Advised(MEDIUM if each.evicted or is_full else LOW, MEDIUM, each.where,
                          {"keys": each.keys, "lasting": lasting}, (clue,),
                          ("SET key value EX 3600",))  # fmt: skip


def cache_ttl_longer(facts: Facts) -> Iterator[Advised | Unseen]:
    """Keep things longer where reads miss what has only just expired."""
    servers = _servers(facts)
    if not servers:
        yield Unseen("no_redis")
    for each in servers:
        if each.is_missed and each.expired >= each.misses / 2:
            fields = {"expired": each.expired, "misses": each.misses}
            yield Advised(MEDIUM, LOW, each.where, fields, (each.clue(),))


def cache_room(facts: Facts) -> Iterator[Advised | Unseen]:
    """Give a cache room where it evicts what is then missed."""
    servers = _servers(facts)
    if not servers:
        yield Unseen("no_redis")
    for each in servers:
        if each.is_missed and each.evicted:
            fields = {"evicted": each.evicted, "limit": (each.limit or 0) / 2**20}
            yield Advised(MEDIUM, MEDIUM, each.where, fields, (each.clue(),),
                          ("CONFIG SET maxmemory-policy allkeys-lfu",))  # fmt: skip


HTTP_RULES: Final = (
    AdviceRule("http_timeout", "http", http_timeout, limit="seconds"),
    AdviceRule("http_limits", "http", http_limits, limit="most"),
    AdviceRule("http_client_per_call", "http", http_client_per_call),
)
CACHE_RULES: Final = (
    AdviceRule("cache_ttl", "cache", cache_ttl),
    AdviceRule("cache_ttl_longer", "cache", cache_ttl_longer),
    AdviceRule("cache_room", "cache", cache_room, limit="limit"),
)
