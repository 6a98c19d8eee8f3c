"""Whether the collector has counted exactly what was sent, service by service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Account", "accounts", "sentence", "settled"]


@dataclass(frozen=True, slots=True)
class Account:
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
        """What is wrong, in a sentence; empty when the account is right."""
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


def accounts(
    sent: Mapping[str, int], unanswered: Mapping[str, int], services: Sequence[Mapping[str, Any]]
) -> list[Account]:
    """Return an account a service; services are the rows of the API's /services."""
    found = []
    for name, number in sent.items():
        row = next((row for row in services if row["service"] == name), {})
        account = row.get("accounting") or {}
        found.append(
            Account(
                name,
                number,
                unanswered[name],
                counted=account.get("requests", 0),
                lost=account.get("agentLost", 0),
                dropped=account.get("dropped", {}),
                p50_ms=row.get("p50"),
                p95_ms=row.get("p95"),
                p99_ms=row.get("p99"),
            )
        )
    return found


def settled(found: list[Account]) -> bool:
    """Whether nothing more is to come: all that was sent is counted or booked."""
    return all(account.booked >= account.sent for account in found)


def sentence(found: list[Account]) -> str:
    """Return the result: all equal, or what is not."""
    faults = [account.fault for account in found if account.fault]
    if faults:
        return "check failed: " + "; ".join(faults)
    shown = ", ".join(
        f"{account.service} {account.counted:,} (p99 {account.p99_ms:.1f} ms)" for account in found
    )
    total = sum(account.sent for account in found)
    return f"check passed: all {total:,} requests sent are counted, one for one: {shown}"
