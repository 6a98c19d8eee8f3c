"""The sockets that apps connect to: how they are made, checked and cleared away.

A Unix socket is made in a directory that others cannot write to, with mode 0660 from the start.
TCP is for systems without Unix sockets; a token is optional on loopback and required elsewhere.
"""

import errno
import logging
import os
import platform
import resource
import select
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from trimtab_agent.peers import NOBODY, Peer, tcp_user
from trimtab_core.addresses import is_loopback
from trimtab_core.config import Address
from trimtab_core.errors import StartupError
from trimtab_core.ownfiles import make_directory
from trimtab_core.seal import MIN_TOKEN

__all__ = [
    "ACCEPT",
    "BACKLOG",
    "bind_tcp",
    "bind_unix",
    "most_connections",
    "number_of",
    "peer_of",
    "rest_of",
    "share_of",
]

log = logging.getLogger("trimtab.listener")

#: A file that stands for the other end's process: `asm-generic/socket.h`, not in Python's socket.
_SO_PEERPIDFD: Final = 77
_CREDENTIALS: Final = struct.Struct("3i")
#: Reads of a socket whose other end is closed: more than a socket's buffer can hold.
_MOST_READS: Final = 256
#: Connections that may wait to be accepted.
BACKLOG: Final = 512
#: Connections accepted per turn of the loop: each takes a descriptor even if it is then refused.
ACCEPT: Final = 4
#: Descriptors kept for everything but apps: those who wait, HTTP, the spool, the collector.
_RESERVE: Final = 192


def bind_unix(address: Address) -> socket.socket:
    """Return a listening socket at a path; raises StartupError when another agent has it."""
    path = Path(address.path)
    _make_directory(path.parent)
    _clear_stale(path)
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    previous = os.umask(0o117)  # 0660 from the start, not after a moment
    try:
        opened.bind(str(path))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise StartupError(
            f"cannot listen on {address}: {error.strerror}; set TRIMTAB_AGENT_SOCKET to a "
            "path in a directory that this user can write to"
        ) from error
    finally:
        os.umask(previous)
    opened.setblocking(False)
    return opened


def bind_tcp(address: Address, token: str) -> socket.socket:
    """Return a listening socket on a port; raises StartupError off loopback without a token."""
    if token and len(token) < MIN_TOKEN:
        raise StartupError(
            f"expected a token of at least {MIN_TOKEN} characters, got {len(token)}: "
            "set TRIMTAB_AGENT_TOKEN to a longer one, for apps and agent"
        )
    if not token and not is_loopback(address.host):
        raise StartupError(
            f"expected a token for {address}, which is not on loopback: set TRIMTAB_AGENT_TOKEN to "
            f"the same secret of at least {MIN_TOKEN} characters for apps and agent"
        )
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    opened = socket.socket(family, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((address.host, address.port))
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise StartupError(
            f"cannot listen on {address}: {error.strerror}; set TRIMTAB_AGENT_TCP to another "
            "address, or leave it empty"
        ) from error
    opened.setblocking(False)
    return opened


def peer_of(opened: socket.socket) -> tuple[int | None, Peer]:
    """Return the user at the other end of a Unix socket, None if none can be told, and the peer."""
    if opened.family != socket.AF_UNIX:
        try:
            address = str(opened.getpeername()[0])
        except OSError:  # it has gone
            address = ""
        return None, Peer(tcp_user(address), is_here=False, process=0)
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None, NOBODY
    found = opened.getsockopt(socket.SOL_SOCKET, option, _CREDENTIALS.size)
    # A process of another PID namespace is 0.
    pid, uid, _ = _CREDENTIALS.unpack(found)
    return uid, Peer(str(uid), pid > 0, pid or number_of(opened))


def number_of(opened: socket.socket) -> int:
    """Return the number that the kernel has for the process at the other end of a Unix socket.

    It is another one than the process id: the same in all PID namespaces, and never used again.
    Linux tells it since 6.9; 0 elsewhere.
    """
    if sys.platform != "linux" or platform.machine().startswith(("sparc", "parisc")):
        return 0
    try:
        file = opened.getsockopt(socket.SOL_SOCKET, _SO_PEERPIDFD)
    except OSError:
        return 0
    try:
        found = os.fstat(file)
    finally:
        os.close(file)
    with select.epoll() as another:
        # Where all files without a name are one, as they were before, its number says nothing.
        is_own = os.fstat(another.fileno()).st_dev != found.st_dev
    return found.st_ino if is_own else 0


def rest_of(opened: socket.socket) -> Iterator[bytes]:
    """Yield what is left to read in a socket, without waiting; the socket stays open."""
    with socket.socket(fileno=os.dup(opened.fileno())) as again:
        again.setblocking(False)
        try:
            for _ in range(_MOST_READS):
                data = again.recv(65536)
                if not data:
                    return
                yield data
        except OSError:  # nothing is left, and the other end is still open
            return


def most_connections(wanted: int) -> int:
    """Return how many apps the limit of descriptors has room for, at most wanted.

    Raises the soft limit of this process for them, as far as the hard limit allows, and warns where
    that is not enough.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + _RESERVE
    if soft == resource.RLIM_INFINITY:
        return wanted
    if soft < enough:
        soft = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = max(1, min(wanted, soft - min(_RESERVE, soft * 3 // 4)))
    if found < wanted:
        log.warning(
            "only %s of max_apps=%s apps can connect: this process may open %s files; raise that "
            "limit (ulimit -n, LimitNOFILE=)",
            found, wanted, soft,
        )  # fmt: skip
    return found


def share_of(wanted: int, parts: int) -> int:
    """Return wanted, or fewer where that would be more than one in so many parts of all files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if soft == resource.RLIM_INFINITY else max(4, min(wanted, soft // parts))


def _make_directory(directory: Path) -> None:
    try:
        make_directory(directory)
        found = directory.stat()
    except OSError as error:
        raise StartupError(
            f"cannot make the socket's directory {directory}: {error.strerror}; "
            "set TRIMTAB_AGENT_SOCKET to another path"
        ) from error
    # Whoever may write to it may put a socket of their own in the place of the agent's.
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
        whose = "all" if found.st_mode & stat.S_IWOTH else "its group"
        raise StartupError(
            f"expected a directory that others cannot write to, {directory} is writable by "
            f"{whose}: chmod go-w {directory}"
        )
    if found.st_uid not in (0, os.geteuid()):
        raise StartupError(
            f"expected a directory of this user or of root, {directory} belongs to the user with "
            f"the id {found.st_uid}: set TRIMTAB_AGENT_SOCKET to a path in a directory of its own"
        )


def _clear_stale(path: Path) -> None:
    """Remove a socket file that nobody listens on; raises StartupError when somebody does."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise StartupError(f"expected a socket or nothing at {path}, there is another file")
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    probe.settimeout(1)
    try:
        probe.connect(str(path))
    except OSError as error:
        if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
            path.unlink(missing_ok=True)
            return
        raise StartupError(f"cannot reach the socket {path}: {error.strerror}") from error
    finally:
        probe.close()
    raise StartupError(
        f"another agent listens on {path}: stop it, or set TRIMTAB_AGENT_SOCKET to another path"
    )
