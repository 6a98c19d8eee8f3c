"""Advice on connection pools of SQLAlchemy."""

from collections.abc import Iterator
from typing import Final

from trimtab_collector.contract.analysis import Place
from trimtab_collector.reads.judging.advising import AdviceRule, Advised, Unseen
from trimtab_collector.reads.judging.facts import Facts
from trimtab_collector.reads.judging.findings import HIGH, LOW, MEDIUM, Clue
from trimtab_collector.reads.judging.pools import ConnectionPool, pools_of
from trimtab_collector.reads.measures import attribute, calls_of

__all__ = ["POOL_RULES"]

_SIZE: Final = 20
_OVERFLOW: Final = 30
_RECYCLE_S: Final = 3600
#: a wait for a connection that costs more than opening one
_WAIT_MS: Final = 10.0
_WAITS: Final = 20
_FULL: Final = 0.8
#: share of the server's connections that pools may have, and those it keeps for administrators
_OF_SERVER: Final = 0.9
_RESERVED: Final = 3


def pool_size(facts: Facts) -> Iterator[Advised | Unseen]:
    """Make small pools larger, but only those that requests wait for."""
    pools = _set_pools(facts)
    if not pools:
        yield _unseen(facts)
    for pool in pools:
        size, overflow = pool.settings.get("size", 0), pool.settings.get("max_overflow", 0)
        if overflow < 0 or (size >= _SIZE and overflow >= _OVERFLOW):
            continue  # without a bound, or large already
        clues = tuple(_contention(facts, pool))
        new_size, new_overflow = _room(facts, pool)
        if not clues or new_size + new_overflow <= size + overflow:
            continue
        fields = {
            "size": size, "overflow": overflow, "newSize": new_size, "newOverflow": new_overflow,
            "processes": pool.processes,
            "total": (new_size + new_overflow) * max(1, pool.processes),
        }  # fmt: skip
        command = f"create_engine(url, pool_size={new_size}, max_overflow={new_overflow})"
        priority = HIGH if pool.timeouts else MEDIUM
        yield Advised(priority, LOW, pool.where, fields, clues, (command,))


def _contention(facts: Facts, pool: ConnectionPool) -> Iterator[Clue]:
    """Yield the signs that a pool is too small."""
    waits = calls_of(pool.waits, facts.seconds)
    if pool.timeouts:
        yield Clue("pool_timeouts", {"count": pool.timeouts}, pool.where)
    if waits.count >= _WAITS and waits.p95 is not None and waits.p95 > _WAIT_MS:
        yield Clue("pool_waits", {"p95": waits.p95, "count": waits.count}, pool.where)
    if pool.use is not None and pool.use >= _FULL:
        fields = {"used": pool.used, "most": pool.most, "use": pool.use}
        yield Clue("pool_use", fields, pool.where)


def _room(facts: Facts, pool: ConnectionPool) -> tuple[int, int]:
    """Return size and overflow: 20 and 30, or less where the server has no room for them."""
    limit = _server_limit(facts)
    if limit is None or not pool.where.target.startswith("postgresql"):
        return _SIZE, _OVERFLOW
    others = sum(each.in_all for each in _of_postgresql(facts)) - pool.in_all
    each = int((limit * _OF_SERVER - others) / max(1, pool.processes))
    if each >= _SIZE + _OVERFLOW:
        return _SIZE, _OVERFLOW
    size = max(0, each * _SIZE // (_SIZE + _OVERFLOW))
    return size, max(0, each - size)


def pool_pre_ping(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have connections tested before use."""
    pools = _set_pools(facts)
    if not pools:
        yield _unseen(facts)
    for pool in pools:
        if pool.settings.get("pre_ping", 1) == 0:
            clues = tuple(_lost(facts, pool))
            priority = HIGH if clues else LOW
            command = "create_engine(url, pool_pre_ping=True)"
            yield Advised(priority, LOW, pool.where, {}, clues, (command,))


def pool_recycle(facts: Facts) -> Iterator[Advised | Unseen]:
    """Have connections replaced when they are an hour old."""
    pools = _set_pools(facts)
    if not pools:
        yield _unseen(facts)
    for pool in pools:
        recycle_s = pool.settings.get("recycle", _RECYCLE_S)
        if recycle_s < 0 or recycle_s > _RECYCLE_S:
            clues = tuple(_lost(facts, pool))
            command = f"create_engine(url, pool_recycle={_RECYCLE_S})"
            yield Advised(
                MEDIUM if clues else LOW, LOW, pool.where, {"recycle": recycle_s}, clues, (command,)
            )


def _lost(facts: Facts, pool: ConnectionPool) -> Iterator[Clue]:
    """Yield the queries of a service that failed as their connection was gone."""
    owner = (pool.where.environment, pool.where.service)
    parts = facts.by_service("db.client.operation.duration").get(owner, [])
    count = sum(p.delta.count for p in parts if attribute(p, "error.type") == "connection")
    if count:
        place = Place(environment=owner[0], service=owner[1])
        yield Clue("connection_errors", {"count": count}, place)


def pools_beyond_server(facts: Facts) -> Iterator[Advised | Unseen]:
    """Compare what all pools may open with what the server allows."""
    limit, pools = _server_limit(facts), _of_postgresql(facts)
    if limit is None:
        yield Unseen("no_server_limit")
        return
    if not pools:
        yield Unseen("no_pools")
        return
    total = sum(pool.in_all for pool in pools)
    if total > limit - _RESERVED:
        clues = tuple(
            Clue("pool_total", {"processes": each.processes, "total": each.in_all}, each.where)
            for each in sorted(pools, key=lambda one: -one.in_all)[:3]
        )
        (server,) = facts.tracks("postgresql.connection.max")
        fields = {"total": total, "limit": limit}
        yield Advised(HIGH, MEDIUM, Place(target=server.instance), fields, clues)


def _set_pools(facts: Facts) -> list[ConnectionPool]:
    return [pool for pool in pools_of(facts) if pool.settings]


def _of_postgresql(facts: Facts) -> list[ConnectionPool]:
    return [pool for pool in pools_of(facts) if pool.where.target.startswith("postgresql")]


def _server_limit(facts: Facts) -> float | None:
    """Return the connections that the one server allows; of several it is not known whose."""
    limits = facts.tracks("postgresql.connection.max")
    return limits[0].last if len(limits) == 1 else None


def _unseen(facts: Facts) -> Unseen:
    return Unseen("no_pool_settings" if pools_of(facts) else "no_pools")


POOL_RULES: Final = (
    AdviceRule("pool_size", "pool", pool_size),
    AdviceRule("pool_pre_ping", "pool", pool_pre_ping),
    AdviceRule("pool_recycle", "pool", pool_recycle, limit="recycle"),
    AdviceRule("pools_beyond_server", "pool", pools_beyond_server),
)
