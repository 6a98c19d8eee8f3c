"""What the agent knows about an app process, and the worker slots it hands out."""

from collections.abc import Mapping
from typing import Final

from trimtab_core.batches import Point, ProcessAccount
from trimtab_core.messages import Hello

__all__ = ["App", "Slots"]

#: Route templates of one process; an app caps its own at less.
MAX_ROUTES: Final = 65_535


class App:
    """One app process, from its hello to the window after it left."""

    def __init__(self, hello: Hello, slot: int) -> None:
        self.hello = hello
        self.slot = slot
        #: host and worker slot, never a process id: recycling makes no new series
        self.instance = f"{hello.host}#{slot}"
        self.routes: dict[int, str] = {}
        #: number after the last record received
        self.end = hello.sent
        #: records the process says it has sent
        self.sent = hello.sent
        self.dropped: Mapping[str, int] = {}
        self.readings: Mapping[str, float] = {}
        self.connected = True
        self._points: dict[int, dict[int, Point]] = {}

    def points_of(self, window: object) -> dict[int, Point]:
        """Return the points this app has in a window, by the series key of its records."""
        # By identity: a window that is opened again is another one. Two are open at most
        # times, and a live one.
        found = self._points.get(id(window))
        if found is None:
            if len(self._points) >= 8:
                self._points.clear()
            found = self._points[id(window)] = {}
        return found

    def forget_window(self, window: object) -> None:
        """Forget the points of a window that was closed, before its identity is given away."""
        self._points.pop(id(window), None)

    def account(self, ranges: list[list[int]], open_from: int | None) -> ProcessAccount:
        """Return the account of a closed window; open_from is the first record still in one."""
        sent = max(self.end, self.sent) if open_from is None else open_from
        hello = self.hello
        return ProcessAccount(
            hello.process,
            hello.environment,
            hello.service,
            self.instance,
            [(first, count) for first, count in ranges],
            sent,
            dict(self.dropped),
        )


class Slots:
    """Worker slots in use, per environment, service and host; the lowest free one is given."""

    def __init__(self) -> None:
        self._used: dict[tuple[str, str, str], set[int]] = {}

    def take(self, hello: Hello) -> int:
        """Return a slot: the one the process had before when it is free, else the lowest."""
        used = self._used.setdefault((hello.environment, hello.service, hello.host), set())
        slot = hello.slot
        if slot < 0 or slot in used:
            slot = 0
            while slot in used:
                slot += 1
        used.add(slot)
        return slot

    def release(self, app: App) -> None:
        """Give the slot of an app that left to the next one."""
        hello = app.hello
        key = (hello.environment, hello.service, hello.host)
        used = self._used.get(key)
        if used is not None:
            used.discard(app.slot)
            if not used:
                del self._used[key]
