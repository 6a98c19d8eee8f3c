"""Whose a gauge is: each name belongs to apps, to the host, to the agent or to what is probed.

An app may say what it likes about itself, and nothing about its host or its agent: "the agent has
stopped" under a name of an app must not silence anybody. So a gauge that comes from an app, or with
the name of a service, under a name that is not an app's is left out where it is decoded, counted.
"""

from functools import lru_cache
from typing import Final

__all__ = ["AGENT", "APP", "HOST", "PROBE", "gauge_owner", "is_of_app"]

APP: Final = "app"
HOST: Final = "host"
AGENT: Final = "agent"
#: a database, cache, queue or service that an agent looks at
PROBE: Final = "probe"

#: how the names of gauges begin, by owner; all others are of apps
_BEGINNINGS: Final = {
    HOST: ("system.", "container.", "trimtab.pressure."),
    AGENT: ("trimtab.agent.",),
    PROBE: ("trimtab.probe.", "trimtab.queue.", "redis.", "postgresql."),
}
_OF_NO_APP: Final = tuple(each for beginnings in _BEGINNINGS.values() for each in beginnings)


def gauge_owner(name: str) -> str:
    """Return whose the gauge of a name is: APP, HOST, AGENT or PROBE."""
    for owner, beginnings in _BEGINNINGS.items():
        if name.startswith(beginnings):
            return owner
    return APP


# Asked for each gauge of a batch, of which most have one of a few names.
@lru_cache(4096)
def is_of_app(name: str) -> bool:
    """Tell whether an app may have a gauge of a name; takes 0.1 us."""
    return not name.startswith(_OF_NO_APP)
