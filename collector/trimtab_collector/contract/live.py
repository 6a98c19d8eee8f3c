"""The live stream: what clients filter by, and how it does."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from trimtab_collector.contract.alerts import AlertBody, concerns
from trimtab_collector.contract.body import Body
from trimtab_collector.contract.errors import ApiError, bad_parameter

__all__ = ["LiveFilter", "LiveHealth", "live_filter"]

_LONGEST: Final = 1024


class LiveFilter(NamedTuple):
    """What a subscription is about; None is everything."""

    environment: str | None = None
    service: str | None = None
    route: str | None = None

    def given(self) -> dict[str, str]:
        """Return the fields that are stated."""
        return {name: text for name, text in self._asdict().items() if text is not None}

    def chooses(self, alert: AlertBody) -> bool:
        """Return whether an alert has every text that is stated; one of a host, any environment."""
        of_route = self.route is None or alert.route == self.route
        return of_route and concerns(alert, self.environment or "", self.service or "")


class LiveHealth(Body, kw_only=True):
    """How the live stream does; counts are since the start."""

    #: why it stands still, null when it does not
    trouble: str | None
    connections: int
    subscribers: int
    sent: int
    #: updates left out because the one before still waited for its client
    skipped: int
    #: clients cut off because they did not read, or did not say who they are
    dropped: int
    #: connections, tokens and origins refused
    refused: int
    #: alerts that found no place in the queue
    alerts_lost: int
    #: how long the latest round of updates took, in milliseconds
    round: float | None


def live_filter(asked: Any) -> LiveFilter:
    """Return the filter in the payload of an event; raises ApiError 422."""
    if asked is None:
        return LiveFilter()
    if not isinstance(asked, Mapping):
        raise ApiError(
            422,
            "bad_parameter",
            f"expected an object with some of {', '.join(LiveFilter._fields)}, "
            f"got {type(asked).__name__}",
        )
    for name, text in asked.items():
        if name not in LiveFilter._fields:
            raise bad_parameter(name, f"one of {', '.join(LiveFilter._fields)}", str(text)[:80])
        if text is not None and (not isinstance(text, str) or len(text) > _LONGEST):
            raise bad_parameter(name, f"a text of up to {_LONGEST} characters", str(text)[:80])
    return LiveFilter(**asked)
