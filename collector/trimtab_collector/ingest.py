"""What agents speak to: batches in, commands out. A bare ASGI application without a framework.

A batch is checked completely before anything of it is kept: key, size, form, values, scope. It is
acknowledged with 202 when it is durable; anything else leaves it with the agent.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs

import msgspec
import numpy as np

from trimtab_collector.auth.keyring import KeyRing
from trimtab_collector.auth.keys import AgentKey
from trimtab_collector.auth.owners import AgentOwners
from trimtab_collector.auth.scopes import admitted, check_services
from trimtab_collector.batchbodies import BatchBodies, Receive
from trimtab_collector.contract.callers import vouch
from trimtab_collector.contract.errors import JSON_HEADERS, ApiError, failure
from trimtab_collector.pacing import BatchCost, KeyPacing
from trimtab_collector.quotas import BatchContent, Quotas
from trimtab_collector.senders import Senders, ahead_of, offset_of
from trimtab_collector.storage.columns import WINDOW_S, series_index
from trimtab_collector.storage.distinct import DistinctSeries
from trimtab_collector.storage.store import (
    Numbered,
    Received,
    Store,
    UnavailableError,
    UnstorableError,
)
from trimtab_collector.storage.tallies import SenderTally
from trimtab_collector.watch import Watch
from trimtab_core.batches import (
    CLOCK_HEADER,
    HELD_HEADER,
    Batch,
    SentAt,
    decode,
    encode,
)
from trimtab_core.errors import BatchError, TooLargeError
from trimtab_core.logs import RateLimited
from trimtab_core.redaction import redacted_batch
from trimtab_core.rows import EventRow

__all__ = ["Ingest"]

logger = logging.getLogger("trimtab.ingest")

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

#: a window further in the future is booked as of now, one further in the past is refused
_FUTURE_S: Final = 600
_PAST_S: Final = 7 * 24 * 3600
#: a larger batch is decoded in a thread, and so is one of a key that brings much, but a small one
_LARGE: Final = 128 * 1024
_SMALL: Final = 16 * 1024
_MAX_WAIT_S: Final = 60.0
_CLOCK: Final = CLOCK_HEADER.encode()
_HELD: Final = HELD_HEADER.encode()
_ACCEPTED: Final = b'{"duplicate":false,"watchSeconds":0.0}'


class Ingest:
    """ASGI application of /agent/v1/batches and /agent/v1/commands."""

    def __init__(
        self,
        store: Store,
        keys: KeyRing,
        owners: AgentOwners,
        watch: Watch,
        max_body_bytes: int,
        max_reading_bytes: int,
        quotas: Quotas | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._keys = keys
        self._owners = owners
        self._watch = watch
        self._bodies = BatchBodies(max_body_bytes, max_reading_bytes)
        self._clock = clock
        self._quotas = quotas or Quotas(2**31, 2**31, store.over.note)
        self._distinct = DistinctSeries()
        self._log = RateLimited(logger)
        self._large = asyncio.Semaphore(1)
        #: what agents told with their requests
        self.senders = Senders()
        self._pacing = KeyPacing(store.over)
        #: what was refused, by code, key and agent
        self.refusals = SenderTally(clock)
        #: rows of batches that were malformed and left out
        self.rows_refused = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; every refusal has the API's envelope."""
        extra: Iterable[tuple[bytes, bytes]] = ()
        asking = _Asking(self._clock())
        try:
            status, body = await self._answer(scope, receive, asking)
        except ApiError as error:
            status, body = error.status, failure(error)
            extra = [(k.lower().encode(), v.encode()) for k, v in error.headers.items()]
            self._note(error, asking)
        # Headers for browsers mean nothing to an agent, and each costs time.
        every = JSON_HEADERS[:1] if status == 202 else JSON_HEADERS
        headers = [*every, (b"content-length", b"%d" % len(body)), *extra]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def skewed(self) -> dict[str, float]:
        """Return agents whose clock is off, and by how many seconds it is ahead; any thread."""
        return self.senders.skewed()

    @property
    def refused(self) -> dict[str, int]:
        """Refused requests by code."""
        return self.refusals.totals

    async def _answer(self, scope: Scope, receive: Receive, asking: "_Asking") -> tuple[int, bytes]:
        path, method = scope["path"], scope["method"]
        wanted = {"/agent/v1/batches": "POST", "/agent/v1/commands": "GET"}.get(path)
        if wanted is None:
            raise ApiError(404, "not_found", f"expected a path of the API, got {path!r:.120}")
        if method != wanted:
            message = f"expected {wanted} on {path}, got {method!r:.20}"
            raise ApiError(405, "method_not_allowed", message, headers={"Allow": wanted})
        headers = dict(scope["headers"])
        key = self._key(headers.get(b"authorization", b""), asking)
        vouch(scope, key.id)
        if wanted != "POST":
            return await self._commands(scope, receive, key, asking)
        await self._pacing.wait(key.id)
        raw = await self._bodies.read(headers, receive, key.id)
        # As it is now: a body may take its time, and a key be revoked or given away meanwhile.
        key = self._still(key)
        sent_at = SentAt.of_header(headers.get(_CLOCK, b"").decode("latin-1"))
        told = headers.get(b"user-agent", b"")
        received = await self._receive(raw, key, sent_at, told, asking)
        if received.batch.live:
            self._store.show(received)
            duplicate = False
        else:
            try:
                duplicate = await self._store.append(received)
            except UnavailableError as error:
                seconds = error.retry_after_s
                raise ApiError(
                    503,
                    "unavailable",
                    str(error),
                    {"retryAfterSeconds": seconds},
                    {"Retry-After": str(seconds)},
                ) from error
            except UnstorableError as error:
                raise ApiError(422, "unstorable_batch", str(error)) from error
            self._store.note_held(received.batch, _whole(headers.get(_HELD, b"")))
        watch_s = self._watch.seconds
        if not duplicate and not watch_s:
            return 202, _ACCEPTED
        return 202, msgspec.json.encode({"duplicate": duplicate, "watchSeconds": watch_s})

    def _key(self, header: bytes, asking: "_Asking") -> AgentKey:
        kind, _, text = header.decode("latin-1").partition(" ")
        key = self._keys.find(text.strip()) if kind.lower() == "bearer" else None
        asking.key = key.id if key else self._keys.known(text.strip())
        if key is None:
            raise _no_key("none" if not header else "one that is unknown or revoked")
        return key

    def _still(self, key: AgentKey) -> AgentKey:
        found = self._keys.valid(key.id)
        if found is None:
            raise _no_key("one that was revoked just now")
        return found

    async def _receive(
        self, raw: bytes, key: AgentKey, sent_at: SentAt | None, told: bytes, asking: "_Asking"
    ) -> Received:
        """Return the checked batch of a body; raises ApiError 400, 403, 413, 429."""
        try:
            batch, cost = None, asking.cost
            cost.begin()
            if len(raw) <= (_SMALL if self._pacing.is_heavy(key.id) else _LARGE):
                batch = self._decoded(raw, key, asking)
            check = partial(self._check, raw, batch, key, sent_at, told, asking)
            if batch is not None and cost.is_small:
                return self._pacing.measured(key.id, check, cost)
            cost.leave()
            async with self._large:
                return await asyncio.to_thread(self._pacing.go_on, key.id, check, cost)
        except TooLargeError as error:
            raise ApiError(413, "too_large", str(error)) from error
        except BatchError as error:
            raise ApiError(400, "bad_batch", str(error)) from error
        except (ApiError, asyncio.CancelledError):
            raise
        except MemoryError as error:
            message = "there is no memory for this batch: send it again"
            raise ApiError(503, "unavailable", message, headers={"Retry-After": "5"}) from error
        except Exception as error:
            # What fails in checking fails each time, and no other batch may wait for this one.
            logger.exception("checking a batch raised")
            message = f"expected a batch that can be checked, got {type(error).__name__}"
            raise ApiError(422, "unstorable_batch", message) from error

    def _decoded(self, raw: bytes, key: AgentKey, asking: "_Asking") -> Batch:
        batch = decode(raw)
        asking.agent = batch.agent
        asking.cost.names = self._quotas.unknown(key, batch.series)
        asking.cost.ranges = sum(len(process.ranges) for process in batch.processes)
        asking.cost.row_bytes = len(batch.rows)
        asking.cost.column_bytes = sum(len(column.data) for column in batch.columns.values())
        return batch

    def _check(
        self,
        raw: bytes,
        decoded: Batch | None,
        key: AgentKey,
        sent_at: SentAt | None,
        told: bytes,
        asking: "_Asking",
    ) -> Received:
        batch = arrived = decoded or self._decoded(raw, key, asking)
        now_s = self._clock()
        own = self._owners.check(batch.agent, key)
        closed_s = ahead_of(batch, sent_at, asking.at_s)
        ahead_s = sent_at.wall_s - asking.at_s if sent_at else closed_s
        told_now = self.senders.told(batch.agent, ahead_s, sent_at, told, now_s)
        offset_s = offset_of(told_now, closed_s)
        begin_s = batch.window_s - offset_s
        ahead_us = offset_s * 1_000_000
        if begin_s - now_s > _FUTURE_S:
            # Its clock was wrong when the window closed, and is right by now.
            begin_s = int(now_s)
        if begin_s - now_s < -_PAST_S:
            raise BatchError(
                f"expected a window of the last 7 days before {int(now_s)}, got "
                f"{begin_s} of agent {batch.agent!r:.40}: set the clock of its machine"
            )
        window_s = begin_s if batch.live else begin_s - begin_s % WINDOW_S
        malformed = [*batch.malformed]
        batch, sent, told_of = redacted_batch(batch, malformed)
        received_us = int(now_s * 1e6)
        events: Sequence[EventRow] = _dated(told_of, ahead_us, received_us, begin_s)
        measures = admitted(key, batch, sent, events)
        if len(measures) < len(sent):
            self._store.over.note("probes", key.id, batch.agent, len(sent) - len(measures))
        content = BatchContent(batch, measures, events)
        batch, measures, events = self._quotas.fitted(key, content)
        batch = self._distinct.once(batch)
        if batch is not arrived:
            raw = encode(batch)
        numbered = self._store.number(batch, window_s, partial(check_services, key))
        # Only now it is accepted: what is refused says nothing about an agent.
        if not own:
            self._owners.claim(batch.agent, key)
        self.senders.note(batch.agent, told_now, now_s)
        if malformed:
            self._left_out(batch.agent, malformed)
        read_s = min(begin_s + batch.step_s, now_s)
        totals = _totals(batch, numbered)
        return Received(
            batch, raw, numbered, window_s, received_us, read_s, totals, measures, events, key.id
        )

    async def _commands(
        self, scope: Scope, receive: Receive, key: AgentKey, asking: "_Asking"
    ) -> tuple[int, bytes]:
        query = parse_qs(scope["query_string"].decode("latin-1"))
        agent = query.get("agent", [""])[0]
        text = query.get("wait", ["25"])[0]
        if not 0 < len(agent) <= 256:
            raise ApiError(422, "bad_parameter", "expected agent=ID, 1 to 256 characters, got none")
        asking.agent = agent
        # Who asks as another agent would be told in its place, and later get its commands.
        self._owners.check(agent, key)
        try:
            wait_s = float(text)
            if not wait_s >= 0:  # NaN is refused, too
                raise ValueError
        except ValueError:
            raise ApiError(
                422, "bad_parameter", f"expected wait in seconds, 0 to 60, got {text!r:.40}"
            ) from None
        # Who may ask at the end may be another than at the beginning.
        waiting = asyncio.ensure_future(self._watch.wait(agent, min(_MAX_WAIT_S, wait_s)))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            watch_s = waiting.result() if waiting.done() else 0.0
        finally:
            waiting.cancel()
            leaving.cancel()
        self._owners.check(agent, self._still(key))
        return 200, msgspec.json.encode({"watchSeconds": watch_s, "commands": []})

    def _left_out(self, agent: str, malformed: list[str]) -> None:
        self.rows_refused += len(malformed)
        self._log.warning(
            "malformed",
            "rows=%d of a batch are left out agent=%s: %s", len(malformed), agent, malformed[0],
        )  # fmt: skip

    def _note(self, error: ApiError, asking: "_Asking") -> None:
        key, agent = asking.key, asking.agent
        self.refusals.note(error.code, key, agent, text=error.message)
        self._log.warning(
            f"{error.code} {key}",
            "request refused: %s status=%d key=%s agent=%s",
            *(error.message, error.status, key or "unknown", agent or "unknown"),
        )


@dataclass(slots=True)
class _Asking:
    """Who a request is of, as far as it has been found out."""

    #: when its headers were here
    at_s: float
    key: str = ""
    agent: str = ""
    cost: BatchCost = field(default_factory=BatchCost)


def _no_key(got: str) -> ApiError:
    return ApiError(
        401,
        "unauthorized",
        f"expected an agent key of this collector, got {got}: "
        "make one with trimtab key new and give it to the agent",
        headers={"WWW-Authenticate": "Bearer"},
    )


def _dated(events: list[EventRow], ahead_us: int, now_us: int, begin_s: int) -> list[EventRow]:
    """Return events by our clock, as the window they came with: none is later than now.

    One of more than seven days ago counts as of its window: the clock of its app says nothing.
    """
    dated = []
    for row in events:
        told_us = row.event["at_us"]
        at_us = min(told_us - ahead_us, now_us)
        if at_us < now_us - _PAST_S * 1_000_000:
            at_us = begin_s * 1_000_000
        dated.append(row if at_us == told_us else row._replace(event={**row.event, "at_us": at_us}))
    return dated


def _whole(text: bytes) -> int:
    return int(text) if text.isdigit() and len(text) < 19 else 0


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _totals(batch: Batch, numbered: Numbered) -> dict[tuple[str, str], tuple[int, int]]:
    """Return requests and background records of a batch by service."""
    columns, services = numbered.columns, numbered.services
    if not len(columns.key):
        return {}
    requests, backgrounds = columns.values["requests"], columns.values.get("backgrounds")
    if len(services) == 1:
        # As floats: whole up to 2**53, and no sum of what a batch may claim wraps round.
        work = int(backgrounds.sum(dtype=np.float64)) if backgrounds is not None else 0
        return {services[0]: (int(requests.sum(dtype=np.float64)), work)}
    place = numbered.service[series_index(batch)]
    size = len(services)
    sums = np.bincount(place, weights=requests, minlength=size)
    works = np.bincount(place, weights=columns.value("backgrounds"), minlength=size)
    return {
        service: (int(sums[index]), int(works[index]))
        for index, service in enumerate(services)
        if sums[index] or works[index]
    }
