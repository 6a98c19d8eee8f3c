"""How the collector does."""

from typing import NamedTuple

from msgspec import UNSET, UnsetType

from trimtab_collector.contract.body import Body
from trimtab_collector.contract.channels import NotifyHealth
from trimtab_collector.contract.live import LiveHealth
from trimtab_collector.contract.logs import LogHealth

__all__ = [
    "AccountsHealth",
    "AgentsHealth",
    "CertificateHealth",
    "CollectorHealth",
    "CompactionHealth",
    "ConnectionHealth",
    "HealthPart",
    "MemoryShare",
    "ReloadHealth",
    "StoreHealth",
    "TierSize",
]


class MemoryShare(Body, kw_only=True):
    """Memory of the collector's process and of its machine; usage in per cent."""

    used: int
    total: int
    usage: float | None


class TierSize(Body, kw_only=True):
    """The files of one tier."""

    files: int
    bytes: int


class CompactionHealth(Body, kw_only=True):
    """Why compaction stands still, null when it does not; `worker` is the pid of its process."""

    trouble: str | None
    worker: int | UnsetType | None = UNSET


class StoreHealth(Body, kw_only=True):
    """How the store does; `trouble` says why it takes nothing, and is null when it does.

    Engines differ in what they have to say: what is not required is absent where it has no meaning.
    """

    trouble: str | None
    batches: int
    duplicates: int
    #: refused requests of agents, by code
    refused: dict[str, int]
    #: what was over a quota, by reason: kept as `other`, or left out
    over_quota: dict[str, int]
    #: processes, gauges, measures and events in batches that were malformed, since the start
    rows_refused: int
    #: measures and events that were well formed and found no place, since the start
    rows_left_out: int
    journal_batches: int | UnsetType = UNSET
    journal_bytes: int | UnsetType = UNSET
    waiting_bytes: int
    tiers: dict[str, TierSize] | UnsetType = UNSET
    compaction: CompactionHealth
    #: file -> what is wrong with it
    damage: dict[str, str]
    series: int
    #: latest values of gauges that found no place, since the start
    gauges_left_out: int
    recent_bytes: int | UnsetType = UNSET


class ConnectionHealth(Body, kw_only=True):
    """Connections that are open, and how many were closed since the start, by cause."""

    open: int
    most: int
    timed_out: int
    displaced: int
    refused: int
    failed_handshakes: int


class CertificateHealth(Body, kw_only=True):
    """The certificate in use; `trouble` says why newer files are not, and is null when they are."""

    valid_until: str
    trouble: str | None


class ReloadHealth(Body, kw_only=True):
    """The last reading of settings after the start: when, what was refused, what waits."""

    at: str | None
    errors: list[str]
    #: settings that change at the next start
    waiting: list[str]


class AccountsHealth(Body, kw_only=True):
    """How keeping sessions and tokens goes; `trouble` is null when it does."""

    trouble: str | None
    #: since the start
    failures: int


class DeploysHealth(Body, kw_only=True):
    """How new versions are noted; `trouble` says why they are not, and is null when they are."""

    trouble: str | None
    #: new versions that got no mark, because there were too many within an hour
    left_out: int
    #: batches that were not looked at
    missed: int


class AlertsHealth(Body, kw_only=True):
    """How judging does; `trouble` says what was not judged, or what is wrong with the file."""

    trouble: str | None
    steps: int
    #: steps, rules and explanations that failed, since the start
    failures: int
    #: age of the newest step that was judged; null before the first
    behind: float | None
    #: CPU time of the last step, ms
    step_cpu: float
    #: series that crossed a line and found no place, since the start
    alerts_left_out: int


class StateHealth(Body, kw_only=True):
    """The file of people, rules, alerts and messages; rows that cannot be read are left out.

    `trouble` says what is wrong with all of it, why owners of agents' names are not kept, or why
    changes of keys are not seen. Keys that cannot be read are refused, and counted with the rows.
    """

    trouble: str | None
    unreadable: int


class AgentsHealth(Body, kw_only=True):
    """Agents that cannot be told apart: names as which more than one sends, up to 20."""

    shared: list[str]


class HealthPart(NamedTuple):
    """How a part does, and whether that makes the collector `degraded`."""

    body: Body
    degraded: bool = False


class CollectorHealth(Body, kw_only=True):
    """How the collector does: `healthy` or `degraded`, and why."""

    status: str
    timestamp: str
    uptime: float
    memory: MemoryShare
    store: StoreHealth
    #: agent -> seconds by which its clock is ahead, for those more than ten seconds off
    clock_skew_seconds: dict[str, float]
    connections: ConnectionHealth | UnsetType = UNSET
    #: absent without TLS
    certificate: CertificateHealth | UnsetType = UNSET
    reload: ReloadHealth | UnsetType = UNSET
    deploys: DeploysHealth | UnsetType = UNSET
    agents: AgentsHealth | UnsetType = UNSET
    alerts: AlertsHealth | UnsetType = UNSET
    state: StateHealth | UnsetType = UNSET
    accounts: AccountsHealth | UnsetType = UNSET
    #: absent where nothing serves it
    live: LiveHealth | UnsetType = UNSET
    #: absent without log_dir
    logs: LogHealth | UnsetType = UNSET
    notifications: NotifyHealth | UnsetType = UNSET
