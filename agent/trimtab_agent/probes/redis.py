"""Redis: the figures of INFO, SLOWLOG and LATENCY, in five commands over one connection."""

import time
from collections.abc import Mapping
from typing import Any, Final

from trimtab_agent.gauges.kernel import Rates
from trimtab_agent.probes.probe import Probed, TargetAddress, in_thread, split_url
from trimtab_core.errors import SettingsError
from trimtab_core.measures import GAUGE, HISTOGRAM, OTHER, Delta, MeasureKey, value_buckets
from trimtab_core.rediscommands import command_name

__all__ = ["RedisProbe", "client_of", "place_of"]

FORM: Final = "redis://[USER:PASSWORD@]HOST[:PORT][/DB]"
_SCHEMES: Final = ("redis", "rediss", "unix")
#: seconds for connecting and for each answer
_WAIT_S: Final = 3.0
#: entries of the slow log that one reading takes: its length by default
_ENTRIES: Final = 128

#: field of INFO -> gauge or counter
_FIELDS: Final[Mapping[str, str]] = {
    "uptime_in_seconds": "redis.uptime",
    "connected_clients": "redis.clients.connected",
    "blocked_clients": "redis.clients.blocked",
    "connected_slaves": "redis.slaves.connected",
    "used_memory": "redis.memory.used",
    "used_memory_rss": "redis.memory.rss",
    "used_memory_peak": "redis.memory.peak",
    "maxmemory": "redis.maxmemory",
    "mem_fragmentation_ratio": "redis.memory.fragmentation_ratio",
    "instantaneous_ops_per_sec": "redis.commands",
    "keyspace_hits": "redis.keyspace.hits",
    "keyspace_misses": "redis.keyspace.misses",
    "evicted_keys": "redis.keys.evicted",
    "expired_keys": "redis.keys.expired",
    "rejected_connections": "redis.connections.rejected",
}


def client_of(url: str) -> Any:
    """Return a client for an address, which connects when it is first used."""
    import redis  # optional: installed where a probe asks for it
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    # No retry here: a failure is told as one, and the schedule tries again.
    return redis.Redis.from_url(
        url,
        socket_timeout=_WAIT_S,
        socket_connect_timeout=_WAIT_S,
        retry=Retry(NoBackoff(), 0),
        max_connections=1,
    )


def place_of(url: str, setting: str, form: str = FORM) -> str:
    """Return `HOST:PORT/DB`, or the path of a socket; raises SettingsError without the URL."""
    parts = split_url(url, setting, form, _SCHEMES)
    if parts.scheme == "unix":
        return parts.path
    if "@" in parts.path:
        # Of a password with a plain slash the rest is taken for the path, its start for the port.
        raise SettingsError(f"{setting}: expected {form}, got something else (it is not shown)")
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    database = parts.path.strip("/") or "0"
    # The driver takes anything but a number for 0, and it might be a secret.
    return f"{host}:{parts.port or 6379}/{database if database.isdecimal() else 0}"


class RedisProbe:
    """Reads one Redis. Rights it needs: `+ping +info +slowlog|get +slowlog|len +latency|latest`.

    Without the rights for SLOWLOG and LATENCY their figures are left out.
    """

    def __init__(self, url: str) -> None:
        self._address = TargetAddress.of(url)
        self.target = f"redis:{place_of(url, 'probe_redis')}"
        self._client = client_of(url)
        self._database = self._client.connection_pool.connection_kwargs.get("db") or 0
        self._rates = Rates()
        self._run_id: object = None
        #: id of the newest slow log entry seen; None before the first reading
        self._last_slow: int | None = None

    async def read(self) -> Probed:
        """Read the target once; raises redis.RedisError."""
        return await in_thread(self._read)

    def redacted(self, error: BaseException) -> str:
        return self._address.redacted(error)

    def close(self) -> None:
        self._client.close()

    def _read(self) -> Probed:
        begun_s = time.perf_counter()
        self._client.ping()
        gauges = {"redis.ping.duration": time.perf_counter() - begun_s}
        info = self._client.info()
        if info.get("run_id") != self._run_id:
            # The server is another process, whose counters began at zero.
            self._last_slow = None if self._run_id is None else -1
            self._run_id, self._rates = info.get("run_id"), Rates()
        gauges |= {name: float(info[field]) for field, name in _FIELDS.items() if field in info}
        gauges |= self._keys(info)
        ratio = self._hit_ratio(info)
        if ratio is not None:
            gauges["redis.keyspace.hit_ratio"] = ratio
        measures = self._slow(gauges) + self._latency()
        return Probed(gauges, measures)

    def _keys(self, info: Mapping[str, Any]) -> dict[str, float]:
        """Return the keys of the database, and how many of them will expire."""
        found = info.get(f"db{self._database}")
        if not isinstance(found, Mapping):
            # INFO leaves out databases without keys, and some servers the whole section.
            return {}
        return {
            "redis.keys": float(found.get("keys", 0)),
            "redis.keys.volatile": float(found.get("expires", 0)),
        }

    def _hit_ratio(self, info: Mapping[str, Any]) -> float | None:
        now_s = time.monotonic()
        hits = self._rates.grown("hits", info.get("keyspace_hits", 0), now_s)
        misses = self._rates.grown("misses", info.get("keyspace_misses", 0), now_s)
        looked = hits[0] + misses[0] if hits and misses else 0
        return hits[0] / looked if hits and looked else None

    def _slow(self, gauges: dict[str, float]) -> list[tuple[MeasureKey, Delta]]:
        """Return slow log entries since the last reading, by command and without arguments."""
        entries = self._optional("SLOWLOG", "LEN")
        if entries is None:
            return []
        gauges["redis.slowlog.length"] = float(entries)
        rows = self._optional("SLOWLOG", "GET", _ENTRIES) if entries else []
        if rows is None:
            return []
        before = self._last_slow
        # The first entry of a process has number 0.
        newest = max((row[0] for row in rows), default=-1)
        self._last_slow = max(newest, -1 if before is None else before)
        if before is None:
            return []
        found: dict[str, list[float]] = {}
        for row in rows:
            if row[0] > before:
                found.setdefault(_command(row), []).append(row[2] / 1e6)
        return [
            (_key("redis.slowlog.duration", HISTOGRAM, "db.operation.name", name), _delta(values))
            for name, values in found.items()
        ]

    def _latency(self) -> list[tuple[MeasureKey, Delta]]:
        """Return the latest spike of each event over `latency-monitor-threshold`."""
        found = []
        for row in self._optional("LATENCY", "LATEST") or []:
            event = row[0].decode("ascii", "replace") if isinstance(row[0], bytes) else str(row[0])
            delta = Delta()
            delta.add([row[2] / 1e3])
            found.append((_key("redis.latency.latest", GAUGE, "redis.latency.event", event), delta))
        return found

    def _optional(self, *words: object) -> Any:
        """Return an answer; None if Redis lacks the command or the user has no right to it."""
        import redis

        try:
            return self._client.execute_command(*words)
        except redis.ResponseError:
            return None


def _command(row: Any) -> str:
    """Return the command of an entry (number, time, duration, words) without its arguments."""
    # Redis Enterprise puts a note on complexity in front of the words.
    words = row[3] if isinstance(row[3], list) else row[4]
    word = words[0] if words else b""
    name = word.decode("ascii", "replace") if isinstance(word, bytes) else str(word)
    # A server may call a command something that nobody is to guess.
    return command_name(name) or OTHER


def _key(name: str, kind: str, attribute: str, value: str) -> MeasureKey:
    return MeasureKey(name, kind, "s", ((attribute, value),))


def _delta(values: list[float]) -> Delta:
    delta = Delta(buckets=dict(value_buckets(values)))
    delta.add(values)
    return delta
