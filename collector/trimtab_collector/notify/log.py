"""The delivery log, and how the channels do: reads of the outbox."""

from collections.abc import Collection
from datetime import UTC
from typing import Any, Final, NamedTuple

from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.channels import (
    DELIVERED,
    ChannelFailing,
    ChannelHealth,
    Deliveries,
    Delivery,
    NotifyHealth,
)
from trimtab_collector.contract.errors import instant
from trimtab_collector.contract.health import HealthPart
from trimtab_collector.contract.parameters import LIMIT, Parameters
from trimtab_collector.notify.channel import WritingError, writing
from trimtab_collector.notify.deliveries import REMOVED
from trimtab_collector.notify.notice import unpack
from trimtab_collector.notify.texts import Texts
from trimtab_collector.statefile import StateFile, reader_of

__all__ = ["DeliveryLog", "deliveries"]

_DAY_S: Final = 86_400.0
_LATE_S: Final = 300.0
#: the end of the year 9999, before which times can be written
_END_S: Final = 253_402_300_000.0
_texts: Final = Texts("en", UTC, "")


class _Channel(NamedTuple):
    """What the log says of a channel."""

    name: str
    pending: int
    oldest_s: float | None
    dead: int
    sent_s: float | None


#: what a channel could not deliver: what it gave up counts until something got through
_FAILING: Final = """
WITH sent AS (
    SELECT channel, max(done_s) AS at_s FROM delivery INDEXED BY delivery_state
    WHERE state = 'sent' GROUP BY channel
),
failing AS (
    SELECT id, channel, kind, added_s, done_s FROM delivery INDEXED BY delivery_failing
    WHERE state = 'pending' AND error <> ''
    UNION ALL
    SELECT id, delivery.channel, kind, added_s, done_s
    FROM delivery INDEXED BY delivery_state LEFT JOIN sent ON sent.channel = delivery.channel
    WHERE state = 'dead' AND done_s > coalesce(at_s, 0) AND substr(error, 1, length(?1)) <> ?1
),
found AS (
    SELECT channel, max(id) AS last_id, min(added_s) AS since_s,
        min(CASE WHEN kind <> 'test' AND coalesce(done_s, ?2) >= ?2 THEN added_s END) AS alert_s
    FROM failing GROUP BY channel
)
SELECT found.channel, since_s, alert_s, error FROM found JOIN delivery ON id = last_id
"""

_BY_CHANNEL: Final = (
    "SELECT channel, sum(state = 'pending'), min(CASE state WHEN 'pending' THEN added_s END),"
    " sum(state = 'dead' AND done_s > ?), max(CASE state WHEN 'sent' THEN done_s END)"
    " FROM delivery INDEXED BY delivery_state GROUP BY channel"
)


class DeliveryLog:
    """Reads what the outbox holds; any thread."""

    def __init__(self, state: StateFile) -> None:
        self._state = state

    def rows(
        self, from_s: float, to_s: float, channel: str | None, delivered: str, limit: int
    ) -> tuple[list[Delivery], int]:
        """Return the latest deliveries of a range, and how many more there are."""
        where = "added_s >= ? AND added_s < ?"
        given: list[Any] = [from_s, to_s]
        if channel is not None:
            where += " AND channel = ?"
            given.append(channel)
        if delivered != "any":
            where += " AND state = ?"
            given.append(delivered)
        columns = (
            "id, channel, kind, severity, key, thread, state, attempts, error, added_s, done_s,"
            " due_s, notice"
        )
        # No text of a caller is in it.
        sql = f"SELECT {columns} FROM delivery WHERE {where} ORDER BY id DESC LIMIT ?"  # noqa: S608
        found = self._state.decoded(sql, [*given, limit], _delivery)
        ((count,),) = self._state.rows(f"SELECT count(*) FROM delivery WHERE {where}", given)  # noqa: S608
        return found, max(0, count - limit)

    def failing(self, now_s: float) -> dict[str, ChannelFailing]:
        """Return, of each channel whose last messages failed, since when and why.

        What was given up over a day ago is late no more: nobody waits for it.
        """
        rows = self._state.rows(_FAILING, (REMOVED, now_s - _DAY_S))
        return {
            channel: ChannelFailing(
                since=instant(_sane(since_s) or 0.0),
                error=str(error),
                late=alert_s is not None and now_s - (_sane(alert_s) or 0.0) > _LATE_S,
            )
            for channel, since_s, alert_s, error in rows
        }

    def health(
        self,
        caller: Caller,
        now_s: float,
        trouble: str | None = None,
        failures: int = 0,
        known: Collection[str] | None = None,
    ) -> HealthPart:
        """Return how each channel does that has anything in the log; known are those there are.

        A message that waits for over five minutes is a trouble, and so is one about an alert that
        was given up with nothing sent since, for a day. Errors name hosts: only those who
        may read are told.
        """
        told = caller.role is not Role.ANYONE
        rows = self._state.readable(
            "delivery",
            self._state.rows(_BY_CHANNEL, (now_s - _DAY_S,)),
            reader_of(_Channel),
        )
        # What is pending fails still; what was given up, only until something got through.
        errors = {
            channel: (error, done_s)
            for channel, error, done_s in self._state.rows(
                "SELECT channel, error, done_s FROM delivery WHERE id IN (SELECT max(id)"
                " FROM delivery WHERE state = 'dead' GROUP BY channel UNION SELECT max(id)"
                " FROM delivery WHERE state = 'pending' AND error <> '' GROUP BY channel)"
                " ORDER BY id"
            )
        }

        def last_error(channel: str, sent_s: float | None) -> str | None:
            error, done_s = errors.get(channel, (None, None))
            is_past = done_s is not None and sent_s is not None and sent_s >= done_s
            return None if is_past else error

        channels = {
            channel: ChannelHealth(
                pending=pending,
                oldest_pending_seconds=None if oldest_s is None else round(now_s - oldest_s, 1),
                dead=dead,
                last_sent=None if sent_s is None else instant(_sane(sent_s)),
                last_error=last_error(channel, sent_s) if told and (pending or dead) else None,
            )
            for channel, pending, oldest_s, dead, sent_s in rows
            if known is None or channel in known
        }
        late = any((each.oldest_pending_seconds or 0) > _LATE_S for each in channels.values())
        failing = self.failing(now_s)
        late = late or any(failing[name].late for name in failing.keys() & channels.keys())
        body = NotifyHealth(trouble=trouble, failures=failures, channels=channels)
        return HealthPart(body, late or bool(trouble))


def _delivery(*row: Any) -> Delivery:
    row_id, channel, kind, severity, key, thread, state, attempts, error, *times, notice = row
    added_s, done_s, due_s = map(_sane, times)
    return Delivery(
        id=row_id,
        channel=channel,
        subject=_subject(notice, added_s or 0.0),
        kind=kind,
        severity=severity,
        key=key,
        thread=thread,
        state=state,
        attempts=attempts,
        error=error or None,
        added=instant(added_s or 0.0),
        done=None if done_s is None else instant(done_s),
        next_try=instant(due_s or 0.0) if state == "pending" else None,
    )


def _subject(text: str, added_s: float) -> str:
    """Return the subject of a notice; what cannot be written costs its row alone the subject."""
    try:
        with writing():
            found = unpack(text)
            return "" if found is None else _texts.title(found, added_s)
    except WritingError as error:
        return str(error)


def _sane(epoch_s: float | None) -> float | None:
    """Return a time, 0 for one that no calendar has."""
    if epoch_s is None:
        return None
    return epoch_s if isinstance(epoch_s, float | int) and 0 <= epoch_s < _END_S else 0.0


# ---------------------------------------------------------------- what the API asks for


def deliveries(log: DeliveryLog, parameters: Parameters) -> Deliveries:
    """Return the delivery log: what was sent by which channel, and what was not."""
    rows, left_out = log.rows(
        parameters.from_s,
        parameters.to_s,
        parameters.where.get("channel"),
        parameters[DELIVERED],
        parameters[LIMIT],
    )
    return Deliveries(
        from_=parameters.shown(parameters.from_s),
        to=parameters.shown(parameters.to_s),
        deliveries=rows,
        deliveries_left_out=left_out,
    )
