"""Services, and what became of their records."""

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.figures import Stats

__all__ = ["Accounting", "ServiceRow", "Services"]


class Accounting(Body, kw_only=True):
    """What became of a service's records over the life of the store.

    counted + held + agentLost = sent; counted = requests + backgrounds + connections. Agents say
    how many records they still hold; dropped records were never numbered.
    """

    counted: int
    sent: int
    held: int
    agent_lost: int
    dropped: dict[str, int]
    requests: int
    backgrounds: int
    connections: int


class ServiceRow(Stats, kw_only=True):
    """A service, with its requests in the range."""

    environment: str
    service: str
    versions: list[str]
    instances: list[str]
    in_flight: int | None
    open_web_sockets: int | None
    open_event_streams: int | None
    accounting: Accounting


class Services(ResolvedBody, kw_only=True):
    """All services of the store."""

    services: list[ServiceRow]
