"""What apps and probes measured: measures added up by window, and events.

Measures go with the window in which they were added, events with the next one that is closed. Loop
only.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from trimtab_agent.app import App, other_of
from trimtab_agent.contents import OwnedRows
from trimtab_agent.names import AgentNames
from trimtab_agent.peers import NOBODY, Sharer, owner_of
from trimtab_agent.shares import EventShares
from trimtab_agent.spans import Portion, WaitingSpans
from trimtab_agent.tables import At, MeasureShares, Own
from trimtab_core.deltas import MAX_MEASURES, Deltas, Events
from trimtab_core.errors import FrameError
from trimtab_core.measures import Delta, MeasureKey
from trimtab_core.redaction import redacted_event
from trimtab_core.rows import EventRow

__all__ = ["Gathered"]

#: Memory for the names of measures in a window: what two processes may announce, or 20,000 measures
#: of 1,600 bytes each.
_MOST_NAME_BYTES: Final = 32 * 2**20
#: Memory of all open windows together, names too: the present one, the one before it, and a backlog
#: of as much again. What apps kept for an agent that was away is many windows at once.
_MOST_BYTES: Final = 192 * 2**20

_Whose = tuple[str, str, str, MeasureKey]


class Gathered:
    """Measures of all apps and probes by window, and the events of apps.

    Each window has a table of names of its own, so names of another one take nobody's place. Over
    the limits whoever has most gives way (`tables.py`): new measures are added up under `other` in
    place of their attributes' values; over twice the limits, they are left out. Both are counted.
    """

    def __init__(
        self,
        max_measures: int = MAX_MEASURES,
        max_name_bytes: int = _MOST_NAME_BYTES,
        max_bytes: int = _MOST_BYTES,
        names: AgentNames | None = None,
    ) -> None:
        limits = (max_measures, max_name_bytes, max_bytes)
        #: what apps may name, series and services, too
        self.names = names = names or AgentNames()
        self._named = MeasureShares(*limits, self._add_other, names.measures)
        self._others = MeasureShares(*limits, self._leave_out, names.others)
        self._spans = WaitingSpans(self._pop, self._leave_out)
        self._events = EventShares()
        #: deltas added to `other`
        self.over_limit = 0
        #: deltas left out: malformed, or not even `other` had a place; and those that apps dropped
        self.measures_dropped = 0
        #: events left out, here and in apps
        self.events_dropped = 0

    @property
    def size_bytes(self) -> int:
        """Memory of all measures that wait, approximately."""
        return self._named.size_bytes + self._others.size_bytes

    def add(self, app: App, measured: Deltas, windows: Sequence[int]) -> None:
        """Add what an app has measured in the windows that start at these seconds, one as a rule.

        What is to be shared among several waits for `take_spans`: shared, it would be that many
        times as much. Raises FrameError for a number that was not announced.
        """
        at: At = tuple(windows) if len(windows) > 1 else windows[0]
        owner = owner_of(app.peer, app.hello.environment, app.hello.service)
        self.measures_dropped += max(0, measured.dropped - app.measures_dropped)
        app.measures_dropped = max(measured.dropped, app.measures_dropped)
        self.measures_dropped += measured.malformed
        try:
            self._add_all(app, measured.deltas, at, owner)
        finally:
            if isinstance(at, tuple) and self._holds(at, owner):
                self._spans.wait(owner, at)

    def _add_all(
        self, app: App, deltas: Sequence[tuple[int, Delta]], at: At, owner: Sharer
    ) -> None:
        known = self._named.deltas(at, owner)
        for number, delta in deltas:
            if number not in app.measures:
                raise FrameError(f"measure {number} was not announced")
            key = app.measures[number]
            if key is None:
                self.measures_dropped += 1
                continue
            self.over_limit += number in app.other_measures
            own = (app.instance, key)
            if not delta.buckets and own in known:
                known[own].merge(delta)
            else:
                self._add(at, owner, own, delta)
                known = self._named.deltas(at, owner)

    def _holds(self, at: At, owner: Sharer) -> bool:
        return bool(self._named.deltas(at, owner) or self._others.deltas(at, owner))

    def add_delta(
        self, start_s: int, whose: _Whose, delta: Delta, owner: Sharer | None = None
    ) -> None:
        """Add a delta to a measure (environment, service, instance, key) of a window."""
        environment, service, instance, key = whose
        owner = owner or owner_of(NOBODY, environment, service)
        self._add(start_s, owner, (instance, key), delta)

    def _add(self, at: At, owner: Sharer, own: Own, delta: Delta) -> None:
        if not self._named.add(at, owner, own, delta):
            self._add_other(at, owner, own, delta)

    def _add_other(self, at: At, owner: Sharer, own: Own, delta: Delta) -> None:
        key = other_of(own[1])
        if self._others.add(at, owner, (own[0], key), delta):
            self.over_limit += key != own[1]
        else:
            self.measures_dropped += 1

    def _leave_out(self, *_: object) -> None:
        self.measures_dropped += 1

    def note(self, app: App, events: Events, at_us: Sequence[int]) -> None:
        """Keep events, and when each was, by the agent's monotonic clock.

        Over the bounds some are left out, counted.
        """
        self.events_dropped += max(0, events.dropped - app.events_dropped) + events.malformed
        app.events_dropped = events.dropped
        hello = app.hello
        for event, at in zip(events.events, at_us, strict=True):
            # Told here: a process says its version once, not with each event.
            told = {**redacted_event(event), "version": hello.version}
            row = EventRow(hello.environment, hello.service, app.instance, told)
            self.events_dropped += self._events.add(app.peer, hello.process, row, at)

    def age_spans(self) -> None:
        """Note that windows were closed: what has waited for long is shared among fewer."""
        self._spans.age()

    def take_spans(self, *, whole: bool = False) -> Iterator[Portion]:
        """Return what waits to be shared, in portions that take some 30 ms each; stop at any time.

        whole: nothing is shared, all goes into the window in the middle of its span.
        """
        return iter(lambda: self._spans.portion(whole=whole), {})

    def _pop(self, at: At, owner: Sharer) -> tuple[Own, Delta] | None:
        return self._named.pop(at, owner) or self._others.pop(at, owner)

    def take(self, start_s: int, offset_us: int = 0, *, with_events: bool = True) -> OwnedRows:
        """Take the measures of a window, and the events.

        offset_us is how far the wall clock of the window is ahead of the monotonic one.
        """
        events = self._events.take(offset_us) if with_events else ()
        named, others = list(self._named.take(start_s)), dict(self._others.take(start_s))
        return OwnedRows(named, others, events)

    def has(self, start_s: int) -> bool:
        """Tell whether there are measures of a window."""
        return start_s in self._named or start_s in self._others
