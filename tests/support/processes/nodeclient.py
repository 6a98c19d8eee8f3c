"""The npm socket.io-client, run by node: what a test tells it, and what it says happened."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from support.lacking import lack
from support.processes.api import TOKEN
from support.processes.servers import clean_environment, wait_for

__all__ = ["NodeClient", "installed", "node_client"]

_SOURCES: Final = Path(__file__).resolve().parents[2] / "targets" / "socketio"
_CACHE: Final = Path(__file__).resolve().parents[3] / ".cache"
_INSTALL: Final = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]
_WAIT_S: Final = 15.0


def installed() -> Path:
    """Return the directory with the client and its packages, installed at the first call."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            lack(f"{program} is not installed")
    names = ("package.json", "package-lock.json", ".npmrc")
    texts = b"".join((_SOURCES / name).read_bytes() for name in names)
    directory = _CACHE / f"socketio-{hashlib.sha256(texts).hexdigest()[:12]}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        # Test processes that start at the same time install once.
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copy(_SOURCES / "client.js", directory)
        if not (directory / "installed").exists():
            for name in names:
                shutil.copy(_SOURCES / name, directory)
            done = subprocess.run(
                _INSTALL, cwd=directory, capture_output=True, text=True, timeout=300, check=False
            )
            if done.returncode:
                lack(f"npm could not install socket.io-client: {done.stderr[-300:]}")
            (directory / "installed").touch()
    return directory


class NodeClient:
    """One client; `seen` has what it said so far, in order."""

    def __init__(self, directory: Path) -> None:
        self.seen: list[dict[str, Any]] = []
        self._acks = 0
        self._child = subprocess.Popen(
            ["node", "client.js"],
            cwd=directory,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def open(self, url: str, token: str | None = TOKEN, *transports: str) -> None:
        """Begin to connect; without transports by polling, and then by WebSocket."""
        # Certificates of tests are their own authority.
        options: dict[str, Any] = {"rejectUnauthorized": False}
        if transports:
            options["transports"] = transports
        self._tell("open", url, options if token is None else {**options, "token": token})

    def connect(self, url: str, token: str = TOKEN, *transports: str) -> None:
        """Connect, and wait until it is."""
        self.open(url, token, *transports)
        self.wait("connect")

    def emit(self, name: str, payload: Any = None) -> Any:
        """Send an event and return its acknowledgement."""
        self._acks += 1
        number = self._acks
        self._tell("emit", name, payload, number)
        return self._wait(lambda each: each.get("ack") == number, f"{name} acknowledged")["data"]

    def token(self, text: str) -> None:
        """Use another token from the next connection on."""
        self._tell("token", text)

    def reconnect(self) -> None:
        """Connect again by hand."""
        self._tell("reconnect")

    def close(self) -> None:
        """Disconnect."""
        self._tell("close")

    def wait(self, name: str, number: int = 1, timeout_s: float = _WAIT_S) -> dict[str, Any]:
        """Return what it said at the number-th event of that name."""
        wait_for(lambda: len(self.all(name)) >= number, f"{name} {number}", timeout_s)
        return self.all(name)[number - 1]

    def all(self, name: str) -> list[dict[str, Any]]:
        """Return what it said at events of that name."""
        return [each for each in list(self.seen) if each.get("on") == name]

    def freeze(self) -> None:
        """Stop the process where it is: it reads nothing more."""
        self._child.send_signal(19)

    def end(self) -> None:
        """End the process, whatever state it is in."""
        self._child.kill()
        self._child.wait(10)
        self._reader.join(10)
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.stdout.close()

    def _wait(
        self, wanted: Callable[[dict[str, Any]], bool], what: str, timeout_s: float = _WAIT_S
    ) -> dict[str, Any]:
        return wait_for(
            lambda: next((each for each in list(self.seen) if wanted(each)), None) or {},
            what,
            timeout_s,
        )

    def _tell(self, *words: Any) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(words).encode() + b"\n")
        self._child.stdin.flush()

    def _read(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            self.seen.append(json.loads(line))


@contextmanager
def node_client() -> Iterator[NodeClient]:
    """Yield a client that is not connected yet; its process is gone afterwards."""
    client = NodeClient(installed())
    try:
        client.wait("ready")
        yield client
    finally:
        client.end()
