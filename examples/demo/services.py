"""The services of the demo: command lines, versions, settings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["HOST", "MAILER", "SERVICES", "STORY_SERVICES", "Service"]

#: where all that the demo starts can be reached
HOST: Final = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Service:
    """An ordinary service under `trimtab run`; its line has {host} and {port}."""

    name: str
    line: str
    version: str = ""
    env: Mapping[str, str] = field(default_factory=dict)


#: what every demo shows; none of them knows of trimtab
SERVICES: Final[Sequence[Service]] = (
    Service(
        "shop",
        "uvicorn --host {host} --port {port} --workers 2 --log-level warning examples.shop.app:app",
    ),
    Service(
        "library",
        "gunicorn --bind {host}:{port} --workers 2 --log-level warning examples.library.app:app",
    ),
    Service(
        "records",
        "uvicorn --host {host} --port {port} --log-level warning --factory examples.records:create",
    ),
)
_PAYMENTS: Final = Service(
    "payments",
    "uvicorn --host {host} --port {port} --log-level warning examples.payments.app:app",
    "0.7.1",
)
#: sends confirmations, where there is a Redis
MAILER: Final = Service(
    "mailer",
    "rq worker --quiet --worker-class rq.worker.SimpleWorker --url {redis} confirmations",
    "1.0.3",
)
_VERSIONS: Final = {"shop": "2.4.0", "library": "1.9.2", "records": "3.1.0"}
#: what a day is told of, in the order in which they start
STORY_SERVICES: Final[Sequence[Service]] = (
    _PAYMENTS,
    *(Service(each.name, each.line, _VERSIONS[each.name]) for each in SERVICES),
)
