"""Targets of key figures: those that are shipped, and those that an admin set instead."""

import time
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from trimtab_collector.auth.audit import note
from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.kpis import FIGURES, Kpi, KpiList, KpiTargets
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.statefile import Schema, StateFile

__all__ = ["DEFAULTS", "KpiBook", "get_kpis", "put_kpis"]

_MIB: Final = 1024 * 1024
_SCHEMA: Final = Schema(
    "kpis",
    (
        """CREATE TABLE kpi_targets (
            id INTEGER PRIMARY KEY CHECK (id = 1),
            targets TEXT NOT NULL,
            changed_by TEXT NOT NULL,
            changed_s REAL NOT NULL
        )""",
        add_checksums("kpi_targets"),
    ),
)


def _kpi(
    kpi_id: str,
    name: str,
    figure: str,
    target: float,
    allowed: float | None = None,
    match: Sequence[str] = (),
) -> Kpi:
    table = {"id": kpi_id, "name": name, "figure": figure, "target": target,
             "allowed": allowed, "match": list(match)}  # fmt: skip
    return msgspec.convert(table, Kpi)


#: the targets that are shipped
DEFAULTS: Final = (
    _kpi("health", "Health check", "responseTime", 100, 200,
         ("GET *health*", "GET *ready*", "GET *live", "GET *livez", "GET *ping")),
    _kpi("create", "Create", "responseTime", 500, match=("POST *",)),
    _kpi("status", "Status", "responseTime", 200, match=("GET *status*",)),
    _kpi("result", "Result", "responseTime", 1000, match=("GET *result*",)),
    _kpi("job", "Job done", "taskTime", 60_000, match=("*",)),
    _kpi("batch", "Batch of 10", "taskTime", 15_000, 30_000, ("*batch*",)),
    _kpi("requests", "Requests per second, peak", "requestsPerSecond", 50),
    _kpi("queries", "Queries per second, peak", "queriesPerSecond", 1000),
    _kpi("memory", "Memory, normal", "memoryMean", 512 * _MIB),
    _kpi("memoryPeak", "Memory, peak", "memoryPeak", 1024 * _MIB),
    _kpi("cpu", "CPU, mean", "cpuMean", 0.5),
    _kpi("cpuPeak", "CPU, peak", "cpuPeak", 0.8),
    _kpi("disk", "Disk", "diskRate", 100e6),
    _kpi("network", "Network", "networkRate", 10e6),
    _kpi("uptime", "Uptime", "uptime", 0.999),
    _kpi("errors", "Errors", "errorRate", 0.001),
    _kpi("recovery", "Mean recovery", "recoveryTime", 300_000),
)  # fmt: skip


class KpiBook:
    """The targets that hold; any thread."""

    def __init__(self, state: StateFile, clock: Callable[[], float] = time.time) -> None:
        state.bring(_SCHEMA)
        self._state = state
        self._clock = clock

    def targets(self) -> list[Kpi]:
        """Return the targets, in the order in which they are shown."""
        return self._kept()[0]

    def put(self, kpis: Sequence[Kpi], by: Caller) -> None:
        """Hold these from now on; raises ApiError 422 for contradictions."""
        seen: set[str] = set()
        for kpi in kpis:
            wrong = _wrong(kpi, seen)
            if wrong:
                raise ApiError(422, "bad_body", f"body: target {kpi.id!r:.40}: {wrong}")
            seen.add(kpi.id)
        old = {kpi.id: kpi for kpi in self.targets()}
        new = {kpi.id: kpi for kpi in kpis}
        changed = [name for name in {**old, **new} if old.get(name) != new.get(name)]
        sides = (
            {name: msgspec.to_builtins(side[name]) for name in changed if name in side}
            for side in (old, new)
        )
        with self._state.change() as connection:
            connection.put(
                "kpi_targets",
                (1, msgspec.json.encode(kpis).decode(), by.name, self._clock()),
                conflict="REPLACE",
            )
            note(connection, by, "kpis.change", ", ".join(changed), *sides)

    def shown(self, parameters: Parameters) -> KpiList:
        """Return the targets as the API shows them."""
        kpis, by, changed_s = self._kept()
        return KpiList(
            kpis=kpis,
            defaults=list(DEFAULTS),
            units={name: figure.unit for name, figure in FIGURES.items()},
            changed_by=by or None,
            changed_at=parameters.shown(changed_s) if changed_s else None,
        )

    def _kept(self) -> tuple[list[Kpi], str, float]:
        sql = "SELECT targets, changed_by, changed_s FROM kpi_targets"
        rows = self._state.decoded(sql, (), _read_targets)
        return rows[0] if rows else (list(DEFAULTS), "", 0.0)


def _read_targets(targets: str, by: str, changed_s: float) -> tuple[list[Kpi], str, float]:
    return msgspec.json.decode(targets, type=list[Kpi]), by, float(changed_s)


def get_kpis(book: KpiBook, parameters: Parameters) -> KpiList:
    """Return the targets of key figures."""
    return book.shown(parameters)


def put_kpis(book: KpiBook, parameters: Parameters) -> KpiList:
    """Replace the targets of key figures."""
    new: KpiTargets = parameters.body
    book.put(new.kpis, parameters.caller)
    return book.shown(parameters)


def _wrong(kpi: Kpi, seen: set[str]) -> str:
    """Return what contradicts itself, else an empty text."""
    figure = FIGURES[kpi.figure]
    if kpi.id in seen:
        return "expected each id once, got it twice"
    if kpi.allowed is not None:
        worse = kpi.allowed < kpi.target if figure.lower else kpi.allowed > kpi.target
        if worse:
            side = "least" if figure.lower else "most"
            return f"expected allowed to be at {side} {kpi.target:g}, got {kpi.allowed:g}"
    if bool(kpi.match) != (kpi.figure in ("responseTime", "taskTime")):
        needed = "some" if kpi.figure in ("responseTime", "taskTime") else "no"
        return f"expected {needed} patterns in match for {kpi.figure}"
    return ""
