"""Notices as tests send them."""

from dataclasses import replace
from typing import Any

from trimtab_collector.notify.notice import Notice, NoticeKind, Where

__all__ = ["AT_S", "notice"]

#: 2025-11-30 14:05:00 UTC
AT_S = 1_764_511_500.0


def notice(
    kind: NoticeKind = "firing", number: int = 1, thread: str = "incident", **more: Any
) -> Notice:
    """Return a notice about slow pages of a service, one of an incident's."""
    over = kind in ("resolved", "expired")
    found = Notice(
        key=f"{thread}:{number}",
        thread=thread,
        kind="firing",
        severity="critical",
        type="performance",
        rule_id="slow",
        rule_name="Slow pages",
        metric="responseTime",
        operator="gt",
        threshold=5000.0,
        unit="ms",
        value=5230.0,
        worst=7000.0,
        where=Where("production", "checkout", "/cart/{id}", "web-1/0", "1.4.2"),
        members=(),
        members_left_out=0,
        since_s=AT_S - 120,
        at_s=AT_S,
        ended_s=AT_S if over else None,
    )
    return replace(found, kind=kind, **more)
