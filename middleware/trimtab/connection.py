"""Connections to the agent: a Unix socket whose peer is checked, or TCP with a challenge.

Only emitter threads connect; they may wait here, for at most one second.
"""

import socket
import sys
import threading
import weakref
from time import monotonic
from typing import Any, Final, NamedTuple

from trimtab.sockets import NO_SIGNAL, close_ours, file_of
from trimtab_core.config import Address
from trimtab_core.errors import FrameError
from trimtab_core.frames import FrameReader, Sealing, encode
from trimtab_core.messages import Challenge, ChallengeResponse, Proof, parse

__all__ = ["Connections", "Link"]

_UNIX_S: Final = 0.2
_TCP_S: Final = 1.0
_TELL_S: Final = 60.0
#: Data that is not acknowledged for this long, in ms, breaks the connection.
_TCP_USER_TIMEOUT_MS: Final = 10_000


class Link(NamedTuple):
    """A connection that is ready for hello; the socket does not block."""

    socket: socket.socket
    reader: FrameReader
    #: seals the frames that go out, None where they go as they are
    seal: Sealing | None
    #: which open file the socket is
    file: tuple[int, int] | None


class Connections:
    """What a process has opened, from the first moment on; `connect` from any emitter's thread."""

    def __init__(self) -> None:
        self._opened: weakref.WeakKeyDictionary[socket.socket, tuple[int, int] | None] = (
            weakref.WeakKeyDictionary()
        )
        #: held while a socket is made and is not in `_opened` yet, and during a fork
        self._making = threading.Lock()
        self._forking = 0
        #: address -> when it may be told again that there is no agent, in monotonic seconds
        self._told: dict[str, float] = {}

    def may_tell(self, address: str, now: float) -> bool:
        """Tell whether to say now that there is no agent at an address: once a minute."""
        if now < self._told.get(address, 0.0):
            return False
        self._told[address] = now + _TELL_S
        return True

    def connect(self, address: Address, peer_uids: frozenset[int], token: str) -> Link:
        """Return a link to the agent; raises OSError with a sentence for what stands against it.

        peer_uids are the users whose agent the app obeys, on a Unix socket; token is the secret
        that it shares with the agent, over TCP, empty for none.
        """
        if address.kind == "unix":
            if not hasattr(socket, "AF_UNIX"):
                raise OSError(
                    "there are no Unix sockets here: set TRIMTAB_AGENT=tcp://127.0.0.1:8622"
                )
            family = socket.AF_UNIX
        else:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
        with self._making:
            opened = socket.socket(family, socket.SOCK_STREAM)
            file = self._opened[opened] = file_of(opened)
        try:
            if address.kind == "unix":
                opened.settimeout(_UNIX_S)
                opened.connect(address.path)
                _check_peer(opened, peer_uids)
                link = Link(opened, FrameReader(), None, file)
            else:
                opened.settimeout(_TCP_S)
                opened.connect((address.host, address.port))
                _tune(opened)
                reader, seal = _challenged(opened, token) if token else (FrameReader(), None)
                link = Link(opened, reader, seal, file)
            opened.setblocking(False)
        except BaseException:
            close_ours(opened, file)
            raise
        return link

    def after_fork(self) -> None:
        """Close every connection, those too that another thread is just making.

        In the child of a fork that thread is not there; its copy of the parent's connection is,
        and would keep it open after the parent has gone.
        """
        self._making = threading.Lock()
        self._forking = 0
        for opened, file in list(self._opened.items()):
            close_ours(opened, file)

    def before_fork(self) -> None:
        """Wait until no socket is being made: a child would have it open and not know of it."""
        # With a limit: whoever forks where the lock is held, in a finalizer, must get on.
        if self._making.acquire(timeout=_UNIX_S):
            self._forking = threading.get_ident()

    def forked(self) -> None:
        """Let sockets be made again, in the parent."""
        if self._forking == threading.get_ident():
            self._forking = 0
            self._making.release()


def _check_peer(opened: socket.socket, peer_uids: frozenset[int]) -> None:
    option: Any = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return
    credentials = opened.getsockopt(socket.SOL_SOCKET, option, 12)
    uid = int.from_bytes(credentials[4:8], sys.byteorder)
    if uid not in peer_uids:
        raise PermissionError(f"the agent runs as uid {uid}, expected one of {sorted(peer_uids)}")


def _tune(opened: socket.socket) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    option: Any = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        # A machine that is gone sends no end: without this, a quiet link would look well.
        opened.setsockopt(socket.IPPROTO_TCP, option, _TCP_USER_TIMEOUT_MS)


def _challenged(opened: socket.socket, token: str) -> tuple[FrameReader, Sealing]:
    """Have the agent prove that it has the token, then prove it in turn."""
    # Late: an app on a Unix socket does not pay for it.
    from trimtab_core.seal import new_nonce, proof_of, proves, seal_of

    nonce = new_nonce()
    reader = FrameReader()
    opened.sendall(encode(Challenge(nonce).frame()), NO_SIGNAL)
    answer = _next_message(opened, reader)
    if not isinstance(answer, ChallengeResponse) or not proves(
        answer.proof, token, "agent", nonce, answer.nonce
    ):
        raise PermissionError(
            "the agent does not have the token of this app: set TRIMTAB_AGENT_TOKEN to the same "
            "secret for both"
        )
    proof = proof_of(token, "app", nonce, answer.nonce)
    opened.sendall(encode(Proof(proof).frame()), NO_SIGNAL)
    reader.seal = seal_of(token, "agent", nonce, answer.nonce)
    return reader, seal_of(token, "app", nonce, answer.nonce)


def _next_message(opened: socket.socket, reader: FrameReader) -> object:
    deadline = monotonic() + _TCP_S
    while monotonic() < deadline:
        data = opened.recv(4096)
        if not data:
            raise PermissionError(
                "the agent closed the connection at this app's challenge: is TRIMTAB_AGENT_TOKEN "
                "set to the same secret for both?"
            )
        try:
            for frame in reader.feed(data):
                return parse(frame)
        except FrameError as error:
            raise OSError(f"what listens there is not an agent: {error}") from error
    raise TimeoutError("the agent did not answer the challenge")
