"""The rivals of the agent: npm statsd and netdata's statsd server, started as they are meant to be.

Each is a context manager that runs the server on one core with a configuration of its own in a
temporary directory, on free loopback ports, and yields the process and the address to feed. A rival
that is not there is `None` in `rivals`, with the reason.
"""

import getpass
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Final, NamedTuple

from processes import free_port, node_modules, running, wait_for

__all__ = ["NETDATA", "NPM_STATSD", "Server", "rivals"]

NPM_STATSD: Final = "npm statsd"
NETDATA: Final = "netdata"
_PACKAGE: Final = "statsd@0.9.0"
_FLUSH_S: Final = 10


class Server(NamedTuple):
    """A process to measure and how to feed it."""

    process: "Popen[bytes]"
    #: `frames` or `statsd`
    form: str
    address: str


#: makes a server that runs in a directory, on a core
Starter = Callable[[Path, int | None], AbstractContextManager[Server]]


def rivals() -> dict[str, Starter | str]:
    """Return the rivals by name: what starts them, or why they are not there."""
    found: dict[str, Starter | str] = {}
    modules = node_modules("statsd", _PACKAGE)
    if modules is None:
        found[NPM_STATSD] = "node or npm is not installed, or npm could not fetch statsd"
    else:
        found[NPM_STATSD] = _npm_statsd(modules)
    binary = shutil.which("netdata") or shutil.which("/usr/sbin/netdata")
    found[NETDATA] = _netdata(binary) if binary else "netdata is not installed"
    return found


def _npm_statsd(modules: Path) -> Starter:
    @contextmanager
    def start(directory: Path, core: int | None) -> Iterator[Server]:
        port, manage = free_port(), free_port()
        config = {
            "servers": [{"server": "./servers/tcp", "address": "127.0.0.1", "port": port}],
            "mgmt_address": "127.0.0.1",
            "mgmt_port": manage,
            "flushInterval": _FLUSH_S * 1000,
            "percentThreshold": [50, 90, 95, 99],
            # Percentiles are computed at each flush all the same; they are only sent nowhere.
            "backends": [],
        }
        path = directory / "statsd.js"
        path.write_text(json.dumps(config))
        command = ["node", str(modules / "statsd" / "stats.js"), str(path)]
        with running(command, core=core, log=directory / "log") as child:
            wait_for(("127.0.0.1", port), child)
            yield Server(child, "statsd", f"127.0.0.1:{port}")

    return start


def _netdata(binary: str) -> Starter:
    @contextmanager
    def start(directory: Path, core: int | None) -> Iterator[Server]:
        port, web = free_port(), free_port()
        path = directory / "netdata.conf"
        path.write_text(_netdata_conf(directory, port))
        for name in ("cache", "lib", "log", "conf"):
            (directory / name).mkdir()
        # It would send statistics about its installation to its makers.
        (directory / "conf" / ".opt-out-from-anonymous-statistics").touch()
        command = [
            *(binary, "-D", "-c", str(path), "-i", "127.0.0.1", "-p", str(web)),
            *("-P", str(directory / "pid"), "-u", getpass.getuser()),
        ]
        environ = {"DO_NOT_TRACK": "1"}
        with running(command, core=core, environ=environ, log=directory / "output") as child:
            wait_for(("127.0.0.1", port), child)
            yield Server(child, "statsd", f"127.0.0.1:{port}")

    return start


def _netdata_conf(directory: Path, port: int) -> str:
    """Return a configuration in which the statsd server is all that runs."""
    sections: dict[str, dict[str, object]] = {
        "global": {"hostname": "bench"},
        "directories": {
            "config": directory / "conf",
            "cache": directory / "cache",
            "lib": directory / "lib",
            "log": directory / "log",
        },
        "db": {"mode": "ram", "update every": 1},
        "plugins": {
            **dict.fromkeys(
                (
                    *("timex", "idlejitter", "tc", "diskspace", "proc", "cgroups", "profile"),
                    *("checks", "apps", "charts.d", "python.d", "go.d", "node.d", "ebpf"),
                    *("freeipmi", "fping", "ioping", "perf", "slabinfo", "xenstat", "nfacct"),
                    *("cups", "debugfs", "netdata monitoring", "enable running new plugins"),
                ),
                "no",
            ),
            "statsd": "yes",
        },
        "health": {"enabled": "no"},
        "ml": {"enabled": "no"},
        "registry": {"enabled": "no"},
        "statsd": {
            "enabled": "yes",
            "default port": port,
            "bind to": f"tcp:127.0.0.1:{port}",
            "update every (flushInterval)": _FLUSH_S,
        },
    }
    return "".join(
        f"[{name}]\n" + "".join(f"    {key} = {value}\n" for key, value in values.items())
        for name, values in sections.items()
    )
