"""The processes that left, kept until their accounting has travelled with the window. Loop only."""

from typing import Final

from trimtab_agent.app import App
from trimtab_agent.peers import Holdings, Peer

__all__ = ["MAX_DEPARTED", "Departed"]

#: Processes that may leave within a window; their accounting travels when it is closed.
MAX_DEPARTED: Final = 4096


class Departed:
    """Keeps room among all known apps, which it is given, for processes that come.

    Where as many have left as may within a window, a new process of a peer with fewer finds room:
    the peer with most of those who left gives up the accounting of its last one.
    """

    def __init__(self, apps: dict[bytes, App]) -> None:
        self._apps = apps
        #: peer -> its processes, and how many each has; None until there is no room
        self._left: dict[Peer, dict[bytes, None]] = {}
        self._holdings: Holdings | None = None
        #: processes whose accounting was given up
        self.given_up = 0

    def all(self) -> list[bytes]:
        """Return the processes that have left; they may be forgotten at once."""
        self._holdings = None
        return [process for process, app in self._apps.items() if not app.connected]

    def note(self, app: App) -> None:
        """Note that an app has left."""
        process = app.hello.process
        if self._holdings is not None and self._apps.get(process) is app:
            self._left.setdefault(app.peer, {})[process] = None
            self._holdings.add(app.peer)

    def back(self, app: App) -> None:
        """Note that a process that had left has come back."""
        if self._holdings is not None and not app.connected:
            self._forget(app.peer, app.hello.process)

    def has_room(self, peer: Peer, most_apps: int) -> bool:
        """Tell whether a new process of a peer may come, where so many apps may be connected."""
        if len(self._apps) < most_apps + MAX_DEPARTED:
            return True
        if self._holdings is None:
            self._left = {}
            for process in self.all():
                self._left.setdefault(self._apps[process].peer, {})[process] = None
            self._holdings = Holdings((peer, len(them)) for peer, them in self._left.items())
        giver = self._holdings.giver(peer)
        if giver is None:
            return False
        process = next(reversed(self._left[Peer(*giver)]))
        self._forget(Peer(*giver), process)
        del self._apps[process]
        self.given_up += 1
        return True

    def _forget(self, peer: Peer, process: bytes) -> None:
        left = self._left[peer]
        del left[process]
        if not left:
            del self._left[peer]
        if self._holdings is not None:
            self._holdings.add(peer, -1)
