"""Services, and what became of their records."""

from typing import Final

from trimtab_collector.contract.body import Body, ResolvedBody
from trimtab_collector.contract.figures import RANKED, Stats
from trimtab_collector.contract.kinds import Choice, Whole

__all__ = ["SERVICES_BY", "SERVICES_LIMIT", "Accounting", "ServiceRow", "Services"]

SERVICES_BY: Final = Choice(
    "by",
    "Services with the largest of this come first; or all in the order of their names.",
    ("name", *RANKED),
    "name",
)
SERVICES_LIMIT: Final = Whole(
    "limit", "Most services; the others are counted as left out.", 1, 1000, 1000
)


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
    """The services of the store, in the order asked for."""

    services: list[ServiceRow]
    services_left_out: int
