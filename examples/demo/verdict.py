"""Whether the collector has counted exactly what was sent, service by service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Accounting", "accounting_of", "sentence", "settled"]


@dataclass(frozen=True, slots=True)
class Accounting:
    """What was sent to a service and what the collector knows of it."""

    service: str
    sent: int
    #: requests that got no whole answer; nobody can say whether the service has seen them
    unanswered: int
    #: requests in the store; records of work after a response are booked apart
    counted: int
    #: records that an agent has lost
    lost: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    p50_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None

    @property
    def booked(self) -> int:
        """Counted, lost and dropped together."""
        return self.counted + self.lost + sum(self.dropped.values())

    @property
    def fault(self) -> str:
        """What is wrong, in a sentence; empty when all is well."""
        if self.unanswered:
            return f"{self.service} left {self.unanswered:,} of {self.sent:,} requests unanswered"
        if self.counted != self.sent:
            reasons = {**self.dropped, "agent_lost": self.lost}
            booked = ", ".join(f"{count:,} {why}" for why, count in reasons.items() if count)
            return (
                f"{self.service} was sent {self.sent:,} requests and {self.counted:,} are counted "
                f"(difference {self.counted - self.sent:+,}; booked as dropped: {booked or 'none'})"
            )
        if not self.sent:
            return f"{self.service} was sent no request"
        if not self.p99_ms:
            return f"{self.service} has no p99"
        return ""


def accounting_of(
    sent: Mapping[str, int], unanswered: Mapping[str, int], services: Sequence[Mapping[str, Any]]
) -> list[Accounting]:
    """Return the accounting of each service; services are the rows of the API's /services."""
    found = []
    for name, number in sent.items():
        row = next((row for row in services if row["service"] == name), {})
        known = row.get("accounting") or {}
        found.append(
            Accounting(
                name,
                number,
                unanswered[name],
                counted=known.get("requests", 0),
                lost=known.get("agentLost", 0),
                dropped=known.get("dropped", {}),
                p50_ms=row.get("p50"),
                p95_ms=row.get("p95"),
                p99_ms=row.get("p99"),
            )
        )
    return found


def settled(found: list[Accounting]) -> bool:
    """Whether nothing more is to come: all that was sent is counted or booked."""
    return all(each.booked >= each.sent for each in found)


def sentence(found: list[Accounting]) -> str:
    """Return the result: all equal, or what is not."""
    faults = [each.fault for each in found if each.fault]
    if faults:
        return "check failed: " + "; ".join(faults)
    shown = ", ".join(
        f"{each.service} {each.counted:,} (p99 {each.p99_ms:.1f} ms)" for each in found
    )
    total = sum(each.sent for each in found)
    return f"check passed: all {total:,} requests sent are counted, one for one: {shown}"
