"""Batches to the collector: fresh windows first, then the backlog, oldest first.

A batch is freed only after a 2xx. After a 413 two halves take its place. After a 403 that names a
service, what is of the others takes its place, and what is of that service is put aside: no app may
cost the others of its host their numbers. After 400 or 422, or a 413 for a batch that cannot be
halved, the batch is put aside and counted, and the next one follows. After 401 or another 403 the
data is kept and sent again once a minute. Every other failure backs off with
full jitter (AWS, "Exponential backoff and jitter") and honours Retry-After. Where nobody listens,
an attempt costs nobody anything: pauses stay short, so that the newest window is there soon after
the collector is. A pause of the agent's own choice also ends, with jitter, when a window is closed
or a poll is answered.
"""

import asyncio
import email.utils
import logging
import random
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Final

import httpx

from trimtab_agent.answers import Answer, ask, no_cookies
from trimtab_agent.faults import Faults
from trimtab_agent.spool import Spool, SpooledBatch
from trimtab_agent.spool.regroup import is_only_of
from trimtab_core.batches import CLOCK_HEADER, HELD_HEADER, SentAt
from trimtab_core.logs import RateLimited
from trimtab_core.proxies import NONE
from trimtab_core.tls import client_context, explained

__all__ = ["Forwarder", "make_client"]

log = logging.getLogger("trimtab.forwarder")

#: Time for a request and its whole answer; the client's timeouts apply to single reads and writes.
ANSWER_S: float = 30.0
_BACKOFF_S: Final = (0.25, 30.0)
#: Pauses while there is nobody to connect to.
_NOBODY_S: Final = (0.5, 2.5)
#: A pause that ends early lasts up to this much longer: windows of all agents close together.
_SPREAD_S: Final = 1.0
#: Fast growth: agents that lost their collector at the same moment soon try at different times.
_BACKOFF_GROWTH: Final = 6
_REFUSED_S: Final = 60.0
_MOST_RETRY_AFTER_S: Final = 300.0
#: A window that ended more than this many steps ago is backlog.
_FRESH_STEPS: Final = 3
#: A batch with which sending raised this often in a row, where nothing should, is put aside.
_MOST_RAISED: Final = 5
_SKEW_S: Final = 30.0
#: An idle connection is kept for longer than a window, and closed before the collector closes it.
_KEPT_S: Final = 60.0
_CONTENT_TYPE: Final = "application/x-trimtab-batch"


def make_client(collector_url: str, key: str, ca_file: str, proxy: str = NONE) -> httpx.AsyncClient:
    """Return a client for the collector; it follows no redirects, so that the key stays there.

    It takes the proxy that is given, and none of the environment's. Raises SettingsError for a file
    without certificates.
    """
    # Without TLS no certificate is checked, and loading them takes 4 MB.
    tls = collector_url.lower().startswith("https")
    return httpx.AsyncClient(
        base_url=collector_url,
        headers={
            "authorization": f"Bearer {key}",
            "user-agent": f"trimtab-agent/{metadata.version('trimtab')}",
            "accept-encoding": "identity",
        },
        timeout=httpx.Timeout(10.0, connect=5.0),
        verify=client_context(ca_file, "collector_ca_file") if tls else False,
        proxy=None if proxy == NONE else proxy,
        trust_env=False,
        follow_redirects=False,
        cookies=no_cookies(),
        limits=httpx.Limits(keepalive_expiry=_KEPT_S),
    )


class Forwarder:
    """Empties the spool into the collector; one task on the agent's loop."""

    def __init__(
        self,
        spool: Spool,
        client: httpx.AsyncClient,
        window_s: int,
        on_watch: Callable[[float], None],
        boot: bytes = b"",
        faults: Faults | None = None,
    ) -> None:
        self._spool = spool
        self._client = client
        self._boot = boot
        self._faults = faults or Faults()
        #: the batch that raised last, and how often in a row
        self._raised = (-1, 0)
        self._window_s = window_s
        self._on_watch = on_watch
        self._wake = asyncio.Event()
        #: set while the collector answers
        self.reached = asyncio.Event()
        #: set to end a pause early
        self._hurry = asyncio.Event()
        #: whether news may end a pause: not if the collector has asked for it
        self._may_hurry = False
        self._failures = 0
        self._warn = RateLimited(log)
        self.sent = 0
        #: failed attempts by cause
        self.failed: Counter[str] = Counter()
        #: seconds by which the collector's clock is ahead of ours, by its last answer
        self.skew_s = 0.0
        #: why the last attempt failed; empty after a success
        self.trouble = ""

    def use(self, client: httpx.AsyncClient) -> None:
        """Use another client from now on, and end a pause so that it is tried at once."""
        self._client = client
        self._failures = 0
        self._may_hurry = False
        self._hurry.set()

    def wake(self) -> None:
        """Say that there is something new in the spool."""
        self._wake.set()
        self.answered()

    def answered(self) -> None:
        """End a pause of our own choice soon: there is news, or the collector answers a poll."""
        if self._may_hurry:
            self._hurry.set()

    async def run(self) -> None:
        """Send for ever; ends only by cancellation."""
        while True:
            try:
                await self._turn()
            except Exception:  # noqa: BLE001 - it sends for ever, whatever the spool does
                self._faults.note("forwarder")
                await asyncio.sleep(1.0)

    async def _turn(self) -> None:
        """Send a batch, or wait for one."""
        entry = self._choose()
        if entry is None:
            self._wake.clear()
            if self._spool.stats.held_batches == 0:
                await self._wake.wait()
            else:  # what is held is leased, or waits in memory for the disk
                await _wait(self._wake, 1.0)
            return
        # Before sending, not after: `use` may bring another client while the old one fails.
        self._hurry.clear()
        pause_s = await self.send(entry)
        if pause_s:
            await self._pause(pause_s)

    async def _pause(self, pause_s: float) -> None:
        await _wait(self._hurry, pause_s)
        if self._hurry.is_set() and self._may_hurry:
            await asyncio.sleep(random.uniform(0, min(pause_s, _SPREAD_S)))

    async def flush(self, most_s: float) -> None:
        """Send each batch once, for up to most_s and until one fails; for the end of the agent."""
        deadline = time.monotonic() + most_s
        while time.monotonic() < deadline:
            entry = self._choose()
            if entry is None or await self.send(entry):
                return

    async def send(self, entry: SpooledBatch) -> float:
        """Send one batch; return how long to pause before the next, 0 after a success.

        The lease of the batch has ended when it returns or is cancelled.
        """
        try:
            held = self._spool.stats.held_samples - entry.samples
            answer = await self._post(entry.payload, {HELD_HEADER: str(max(0, held))})
            return self._answered(entry, answer)
        except asyncio.CancelledError:
            self._spool.release(entry)
            raise
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            # Without a connection nothing has arrived: the batch may still be merged with others.
            unsent = isinstance(error, (httpx.ConnectError, httpx.ConnectTimeout))
            self._spool.release(entry, tried=not unsent)
            self.reached.clear()
            why = explained(error, self._client.base_url.host, "collector_ca_file")
            sentence = why or f"{type(error).__name__}: {error}"
            pause_s = self._failed("unreachable", sentence, None)
            return random.uniform(*_NOBODY_S) if unsent and _is_nobody(error) else pause_s
        except Exception as error:  # noqa: BLE001 - the sender must go on, whatever a library does
            self._faults.note("forwarder")
            before, times = self._raised
            self._raised = (entry.id, times + 1 if before == entry.id else 1)
            if self._raised[1] >= _MOST_RAISED:
                # Others wait behind it.
                self._spool.quarantine(entry, f"raised {type(error).__name__}")
            else:
                self._spool.release(entry)
            return self._failed("internal", repr(error), None)

    async def send_live(self, payload: bytes) -> None:
        """Send a live summary once; if that fails it is lost."""
        try:
            answer = await self._post(payload, {})
            self._watch(answer)
        except Exception as error:  # noqa: BLE001 - the caller closes windows, and must go on
            log.debug("live summary not sent: %r", error)

    async def _post(self, payload: bytes, more: Mapping[str, str]) -> Answer:
        sent_at = SentAt(time.time(), time.monotonic(), self._boot)
        headers = {"content-type": _CONTENT_TYPE, CLOCK_HEADER: sent_at.header(), **more}
        client = self._client
        request = client.build_request(
            "POST", "/agent/v1/batches", content=payload, headers=headers
        )
        return await ask(client, request, ANSWER_S)

    def _choose(self) -> SpooledBatch | None:
        newest = self._spool.next(newest=True)
        if newest is None:
            return None
        if newest.window_s >= time.time() - (_FRESH_STEPS + 1) * self._window_s:
            return newest
        self._spool.release(newest, tried=False)
        return self._spool.next(newest=False)

    def _answered(self, entry: SpooledBatch, answer: Answer) -> float:
        status = answer.status
        self._note_clock(answer)
        self.reached.set()
        if answer.is_receipt:
            self._spool.acknowledge(entry)
            self._failures = 0
            self.sent += 1
            if self.trouble:
                log.info("collector accepts batches again url=%s", self._client.base_url)
            self.trouble = ""
            self._watch(answer)
            return 0.0
        sentence = answer.sentence
        whose = answer.refused_service
        if (status == 413 or whose is not None) and self._spool.split(entry, whose):
            self.failed[str(status)] += 1
            self._warn.warning(str(status), "batch split in two status=%s: %s", status, sentence)
            return 0.0
        # A proxy may find a batch too large, too; what is wrong in it, only the collector knows.
        is_wrong = status == 413 or (status in (400, 422) and answer.is_refusal)
        if is_wrong or (whose and is_only_of(entry.payload, *whose)):
            self._spool.quarantine(entry, f"{status} {sentence}")
            self.failed[str(status)] += 1
            self._warn.warning(f"{status} aside", "batch put aside status=%s: %s", status, sentence)
            return 0.0
        # The collector checks the key before it keeps anything.
        self._spool.release(entry, tried=status not in (401, 403))
        if status in (401, 403):
            self._failed(str(status), sentence, None)
            self._may_hurry = False
            return _REFUSED_S
        return self._failed(str(status), sentence, _retry_after(answer))

    def _failed(self, cause: str, sentence: str, retry_after_s: float | None) -> float:
        self.failed[cause] += 1
        self._failures += 1
        self._may_hurry = retry_after_s is None
        self.trouble = f"{cause}: {sentence}"
        self._warn.warning(
            cause,
            "collector did not take a batch url=%s cause=%s: %s; %s batches are kept on disk",
            self._client.base_url, cause, sentence, self._spool.stats.held_batches,
        )  # fmt: skip
        if retry_after_s is not None:
            return max(_BACKOFF_S[0], retry_after_s * random.uniform(1.0, 1.2))
        most_s = min(_BACKOFF_S[0] * _BACKOFF_GROWTH ** min(self._failures, 10), _BACKOFF_S[1])
        return random.uniform(_BACKOFF_S[0], most_s)

    def _watch(self, answer: Answer) -> None:
        if answer.watch_s:
            self._on_watch(answer.watch_s)

    def _note_clock(self, answer: Answer) -> None:
        stamp = email.utils.parsedate_tz(answer.headers.get("date", ""))
        if stamp is None:
            return
        self.skew_s = email.utils.mktime_tz(stamp) - time.time()
        if abs(self.skew_s) > _SKEW_S:
            self._warn.warning(
                "clock",
                "expected the collector's clock within %.0f s of this one, it differs by %.0f s: "
                "windows are dated by the collector's clock; synchronise both machines",
                _SKEW_S, self.skew_s,
            )  # fmt: skip


def _retry_after(answer: Answer) -> float | None:
    text = answer.headers.get("retry-after", "")
    if text.isdecimal():
        return min(float(text), _MOST_RETRY_AFTER_S)
    stamp = email.utils.parsedate_tz(text)
    if stamp is None:
        return None
    # By the clock of whoever answers, where it says what that is.
    begin = email.utils.parsedate_tz(answer.headers.get("date", ""))
    now_s = time.time() if begin is None else email.utils.mktime_tz(begin)
    return min(max(0.0, email.utils.mktime_tz(stamp) - now_s), _MOST_RETRY_AFTER_S)


def _is_nobody(error: BaseException | None) -> bool:
    """Tell whether no connection came about, and for no reason of names or certificates."""
    while error is not None:
        if isinstance(error, (ssl.SSLError, socket.gaierror)):
            return False
        error = error.__cause__ or error.__context__
    return True


async def _wait(event: asyncio.Event, timeout_s: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), timeout_s)
    except TimeoutError:
        pass
