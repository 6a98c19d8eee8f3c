"""The sender: takes messages from the outbox and gives them to their channels.

Every channel has a task of its own, so that one that hangs delays no other. The database is asked
in a thread of its own, so that the loop never waits for the disk.
"""

import asyncio
import contextlib
import logging
import os
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any, Final, ParamSpec, TypeVar

from trimtab_collector.notify.channel import (
    Channel,
    DeliveryError,
    Message,
    RenewingChannel,
    WritingError,
)
from trimtab_collector.notify.channels import ChannelBook, ChannelEntry
from trimtab_collector.notify.deliveries import REMOVED
from trimtab_collector.notify.heartbeat import HEARTBEAT, HeartbeatChannel, beat_notice
from trimtab_collector.notify.kinds import KINDS
from trimtab_collector.notify.notice import Notice
from trimtab_collector.notify.options import ChannelSettings, Sending
from trimtab_collector.notify.outbox import Lease, Outbox, Wait
from trimtab_core.errors import SettingsError

__all__ = ["Sender"]

logger = logging.getLogger("trimtab.notify")

_P = ParamSpec("_P")
_T = TypeVar("_T")

#: for one message, also through a slow mail server; shorter than a lease
SEND_S: Final = 30.0
#: how often the outbox is looked at when nobody says that there is something
_LOOK_S: Final = 5.0
#: longest rest of a channel that did not ask for one
_REST_S: Final = 30.0
_MAX_FAILED: Final = 100
_TIDY_S: Final = 600.0
#: what is being sent at the end may take this long
_STOP_S: Final = 2.0


@dataclass(slots=True)
class _Lane:
    """What the sender keeps of one channel."""

    task: asyncio.Task[None] | None = None
    #: set when there may be something new to send
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    #: first rows of the messages that failed since one was delivered
    failed: set[int] = field(default_factory=set)
    #: monotonic: nothing is sent before
    paused_until_s: float = 0.0
    entry: ChannelEntry | None = None
    channel: Channel | None = None
    #: one at a time: a renewal after a recovery would begin the alert anew
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    #: delivered, and what the receiver remarked; not marked so far
    unmarked: tuple[Lease, str] | None = None
    #: why its task fails, empty when it does not
    trouble: str = ""
    renewed_s: float = 0.0
    renewal: asyncio.Task[None] | None = None


class Sender:
    """Sends what the outbox holds; loop only, from `start` to `stop`."""

    def __init__(
        self,
        outbox: Outbox,
        channels: ChannelBook,
        sending: Sending,
        heartbeat_url: str = "",
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Send heartbeats where an address is given; raises SettingsError when it is none."""
        self._outbox = outbox
        self._channels = channels
        self._sending = sending
        self._clock = clock
        self._owner = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._lanes: dict[str, _Lane] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="trimtab-notify")
        self._changed = asyncio.Event()
        self._run_task: asyncio.Task[None] | None = None
        self._stopping = False
        #: why the outbox cannot be read, empty when it can
        self._trouble = ""
        #: what failed that was not expected to, since the start
        self.failures = 0
        self._heartbeat = (
            HeartbeatChannel(heartbeat_url, sending, lambda: metadata.version("trimtab"))
            if heartbeat_url
            else None
        )

    @property
    def trouble(self) -> str | None:
        """What keeps messages from being sent at all, None when nothing does; any thread."""
        found = (
            f"{name}: {lane.trouble}" for name, lane in list(self._lanes.items()) if lane.trouble
        )
        return self._trouble or next(found, None)

    async def start(self) -> None:
        """Begin to send."""
        loop = asyncio.get_running_loop()
        await self._do(self._outbox.free)

        def added() -> None:
            # The loop may have ended while a thread still adds.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(self._changed.set)

        self._outbox.on_add(added)
        self._run_task = loop.create_task(self._run(), name="notify")

    async def stop(self) -> None:
        """Stop within some 2 s: a message that is being sent may finish, then it is cut off."""
        self._stopping = True
        self._outbox.on_add(lambda: None)
        if self._run_task is not None:
            self._run_task.cancel()
            await asyncio.wait([self._run_task])
        for lane in self._lanes.values():
            lane.wake.set()
        tasks = [
            task for lane in self._lanes.values() for task in (lane.task, lane.renewal) if task
        ]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=_STOP_S)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=_STOP_S)
        for lane in self._lanes.values():
            await _close(lane)
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def find(self, name: str) -> ChannelEntry | None:
        """Return a channel by its name, None when there is none."""
        return await self._do(self._channels.get, name)

    async def test(self, entry: ChannelEntry) -> tuple[bool, str]:
        """Send a test message past the queue, and write it into the delivery log.

        Returns whether it was delivered, and why not, or what the receiver remarked.
        """
        now_s = self._clock()
        message = Message(f"test:{secrets.token_hex(8)}", (_test_notice(now_s),), now_s)
        lane, delivered = _Lane(), False
        try:
            channel, _ = await self._channel(lane, entry)
            async with asyncio.timeout(SEND_S):
                text = await channel.send(message)
            delivered = True
        except (DeliveryError, SettingsError) as failure:
            text = str(failure)
        except TimeoutError:
            text = f"no answer within {SEND_S:g} s"
        except Exception as error:
            self.failures += 1
            logger.exception("a channel failed channel=%s", entry.name)
            text = f"{type(error).__name__}: {error!s:.200}"
        finally:
            await _close(lane)
        await self._do(self._outbox.record, entry, message, text, delivered=delivered)
        return delivered, text

    async def _run(self) -> None:
        tidied_s = self._clock()
        while True:
            self._changed.clear()
            try:
                for name in await self._do(self._outbox.waiting):
                    self._serve_soon(name)
                await self._renew_soon()
                if self._clock() - tidied_s > _TIDY_S:
                    tidied_s = self._clock()
                    await self._do(self._outbox.tidy)
                self._trouble = ""
            except Exception as error:
                self.failures += 1
                if not self._trouble:
                    logger.exception("the outbox cannot be read; it is tried again")
                self._trouble = f"{type(error).__name__}: {error!s:.200}"
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await self._changed.wait()

    def _serve_soon(self, name: str) -> None:
        lane = self._lanes.setdefault(name, _Lane())
        lane.wake.set()
        if lane.task is None or lane.task.done():
            lane.task = asyncio.create_task(self._serve(name, lane), name=f"notify {name}")

    async def _serve(self, name: str, lane: _Lane) -> None:
        """Send what a channel has pending, one message after the other."""
        while not self._stopping:
            lane.wake.clear()
            try:
                async with lane.lock:
                    until_s = await self._step(name, lane)
                lane.trouble = ""
            except Exception as error:
                self.failures += 1
                if not lane.trouble:
                    logger.exception("sending failed; it is tried again channel=%s", name)
                lane.trouble = f"{type(error).__name__}: {error!s:.200}"
                until_s = self._clock() + _LOOK_S
            if until_s is None:
                if lane.wake.is_set():
                    continue  # something came while it was looked for
                return
            wait_s = until_s - self._clock()
            if wait_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._woken(lane)

    async def _woken(self, lane: _Lane) -> None:
        """Return when there may be more to do than was known; a pause lasts its time."""
        while True:
            await lane.wake.wait()
            if self._stopping or lane.paused_until_s <= time.monotonic():
                return
            lane.wake.clear()

    async def _step(self, name: str, lane: _Lane) -> float | None:
        """Send one message; return when to come again, or None when nothing is pending."""
        await self._mark(lane)
        paused_s = lane.paused_until_s - time.monotonic()
        if paused_s > 0:
            return self._clock() + paused_s
        entry = None
        if name != HEARTBEAT:
            entry = await self._do(self._channels.get, name)
            if entry is None:
                await self._do(self._outbox.give_up, name, "dead", REMOVED)
                return None
        try:
            channel, per_minute = await self._channel(lane, entry)
        except SettingsError as error:
            await self._do(self._outbox.give_up, name, "dead", str(error))
            return None
        if entry is not None and not entry.settings.enabled:
            error_text = "the channel is switched off"
            await self._do(self._outbox.give_up, name, "skipped", error_text)
            return None
        wary = bool(lane.failed)
        taken = await self._do(self._outbox.take, name, self._owner, per_minute, wary=wary)
        if taken is None:
            return None
        if isinstance(taken, Wait):
            return taken.until_s
        return await self._send(channel, lane, taken)

    async def _send(self, channel: Channel, lane: _Lane, lease: Lease) -> float:
        """Send a leased message and mark it; return when the channel may be used again."""
        try:
            async with asyncio.timeout(SEND_S):
                remark = await self._tell(channel, lease)
        except DeliveryError as error:
            failure = error
        except TimeoutError:
            failure = DeliveryError(f"no answer within {SEND_S:g} s")
        except Exception as error:
            self.failures += 1
            logger.exception("a channel failed channel=%s", lease.channel)
            failure = DeliveryError(f"{type(error).__name__}: {error!s:.200}")
        else:
            lane.unmarked = (lease, remark)
            await self._mark(lane)
            if lane.failed:
                logger.info("a channel takes messages again channel=%s", lease.channel)
            lane.failed.clear()
            return self._clock()
        if not lane.failed:
            logger.warning("a message was not delivered: %s channel=%s", failure, lease.channel)
        await self._do(self._failed, lease, failure)
        if not failure.lasting:
            self._pause(lane, lease, failure)
        return self._clock()

    async def _tell(self, channel: Channel, lease: Lease) -> str:
        """Send a message, without its figures if they cannot be written: somebody must be told."""
        message = lease.message
        try:
            return await channel.send(message)
        except WritingError as error:
            self.failures += 1
            logger.exception(
                "a message cannot be written: it is sent without figures channel=%s key=%s",
                lease.channel,
                message.key,
            )
            remark = await channel.send(message.plainly())
            return "; ".join(filter(None, (f"sent without figures: {error}", remark)))

    def _pause(self, lane: _Lane, lease: Lease, failure: DeliveryError) -> None:
        """Let a channel rest when it asked for it, or when more than one message failed.

        A message that fails alone waits alone: the fault may be its own. The rest is short, as a
        new message, which goes first, shows soon whether the channel is back.
        """
        if len(lane.failed) < _MAX_FAILED:
            lane.failed.add(lease.rows[0][0])
        wait_s = failure.retry_after_s
        if len(lane.failed) > 1:
            wait_s = max(wait_s, min(self._outbox.backoff_s(len(lane.failed) - 1), _REST_S))
        if lease.channel == HEARTBEAT:
            wait_s = min(wait_s, _REST_S)  # whoever listens must hear soon that all is well
        lane.paused_until_s = time.monotonic() + wait_s

    async def _mark(self, lane: _Lane) -> None:
        """Mark what was delivered; where the disk refuses, nothing is sent before it is."""
        if lane.unmarked is not None:
            await self._do(self._outbox.sent, *lane.unmarked)
            lane.unmarked = None

    def _failed(self, lease: Lease, failure: DeliveryError) -> None:
        self._outbox.failed(
            lease, str(failure), lasting=failure.lasting, retry_after_s=failure.retry_after_s
        )

    async def _renew_soon(self) -> None:
        """Renew what goes on at receivers that forget."""
        for entry in await self._do(self._channels.all):
            if not entry.renews or not entry.enabled:
                continue
            lane = self._lanes.setdefault(entry.name, _Lane())
            if lane.renewal is None or lane.renewal.done():
                lane.renewal = asyncio.create_task(self._renew(entry, lane))

    async def _renew(self, entry: ChannelEntry, lane: _Lane) -> None:
        try:
            async with lane.lock:
                channel, _ = await self._channel(lane, entry)
                if not isinstance(channel, RenewingChannel):
                    return
                if self._clock() - lane.renewed_s < channel.renew_s:
                    return
                lane.renewed_s = self._clock()
                notices = await self._do(self._outbox.standing, entry.name)
                if notices:
                    async with asyncio.timeout(SEND_S):
                        await channel.renew(notices, self._clock())
        except (DeliveryError, SettingsError, TimeoutError) as error:
            logger.warning("alerts were not renewed: %s channel=%s", error, entry.name)
        except Exception:
            self.failures += 1
            logger.exception("renewing failed channel=%s", entry.name)

    async def _channel(self, lane: _Lane, entry: ChannelEntry | None) -> tuple[Channel, int]:
        """Return a channel as it is set now, and its rate where people read it."""
        if entry is None:
            if self._heartbeat is None:
                raise SettingsError("heartbeat_url is no longer set")
            return self._heartbeat, 0
        settings: ChannelSettings = entry.settings
        if lane.channel is None or lane.entry != entry:
            await _close(lane)
            lane.channel = KINDS[entry.kind].make(settings, self._sending)
            lane.entry = entry
        return lane.channel, settings.rate_per_minute if settings.digests else 0

    async def _do(self, work: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Return what work returns, done in the thread of the outbox."""
        loop = asyncio.get_running_loop()
        call: Any = lambda: work(*args, **kwargs)  # noqa: E731 - bound for one use
        found: _T = await loop.run_in_executor(self._thread, call)
        return found


async def _close(lane: _Lane) -> None:
    if lane.channel is not None:
        await lane.channel.close()


def _test_notice(now_s: float) -> Notice:
    """Return a notice of nothing, told apart from others by its time."""
    key = f"test:{now_s:.6f}"
    return replace(beat_notice(now_s), key=key, thread=key, rule_name="trimtab test")
