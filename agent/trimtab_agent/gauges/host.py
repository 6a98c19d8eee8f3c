"""Gauges of the host, and of the container around this process.

A reading takes about 0.3 ms. psutil gives the host's figures, in a container too, because /proc
shows the host there. Sockets and processes are never listed: that takes milliseconds and grows
with load.
"""

import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import psutil

from trimtab_agent.gauges.container import container_of, version_of
from trimtab_agent.gauges.kernel import KernelFile, Rates

__all__ = ["HostReader", "environment"]

_RESOURCES: Final = ("cpu", "memory", "io")
# Devices on top of others: their traffic is counted at the devices below them.
_STACKED: Final = ("loop", "ram", "zram", "dm-", "md")


class HostReader:
    """Reads gauges of the host and its container, by catalogue name.

    The first reading has no rates. A gauge is left out if it cannot be read, or if its counter was
    reset. Not thread-safe. `root` is the parent of the /proc and /sys that are read for container,
    memory, pressure and disk names; psutil reads its own.
    """

    def __init__(self, root: Path = Path("/"), network_bits_per_second: int = 0) -> None:
        """Take what the network can carry each way, which the kernel cannot know; 0: not known."""
        self._network_bytes_s = network_bits_per_second / 8
        self._root = root
        self._rates = Rates()
        self._container = container_of(root)
        self._meminfo = KernelFile(root / "proc/meminfo")
        self._pressures = {
            resource: KernelFile(root / "proc/pressure" / resource) for resource in _RESOURCES
        }
        self._whole_disks: dict[str, bool] = {}
        self._parts: tuple[Callable[[float], Mapping[str, float | None]], ...] = (
            self._cpu,
            self._memory,
            self._filesystem,
            self._disks,
            self._network,
            self._pressure,
        )

    def read(self, now_mono_s: float) -> dict[str, float]:
        """Return the gauges at a time of the monotonic clock, in seconds. Raises nothing."""
        gauges: dict[str, float] = {}
        for part in self._parts:
            try:
                found = part(now_mono_s)
            except Exception:  # noqa: BLE001 - a kernel without this file has no such gauge
                found = {}
            gauges.update((name, value) for name, value in found.items() if value is not None)
        if self._container is not None:
            gauges.update(self._container.read(now_mono_s))
        return gauges

    def close(self) -> None:
        """Close the files that are kept open."""
        self._meminfo.close()
        for file in self._pressures.values():
            file.close()
        if self._container is not None:
            self._container.close()

    def _cpu(self, now_s: float) -> dict[str, float | None]:
        times = psutil.cpu_times()._asdict()
        # The time of guests is in user and nice already.
        total = sum(times.values()) - times.get("guest", 0) - times.get("guest_nice", 0)
        idle = times["idle"] + times.get("iowait", 0)
        grown = self._rates.grown("cpu.total", total, now_s)
        busy = self._rates.grown("cpu.busy", total - idle, now_s)
        one, five, fifteen = os.getloadavg()
        return {
            "system.cpu.utilization": min(busy[0] / grown[0], 1.0)
            if grown and busy and grown[0]
            else None,
            "system.cpu.logical.count": float(psutil.cpu_count() or 0) or None,
            "system.cpu.load_1m": one,
            "system.cpu.load_5m": five,
            "system.cpu.load_15m": fifteen,
        }

    def _memory(self, now_s: float) -> dict[str, float | None]:
        # psutil would read this file once for memory and once for swap, ten times as slowly.
        kib = self._meminfo.fields()
        total, available = kib["MemTotal:"] * 1024, kib["MemAvailable:"] * 1024
        swap = kib.get("SwapTotal:", 0) * 1024
        return {
            "system.memory.limit": float(total),
            "system.memory.usage": float(total - available),
            "system.memory.available": float(available),
            "system.memory.utilization": (total - available) / total,
            "system.paging.limit": float(swap),
            "system.paging.usage": float(swap - kib.get("SwapFree:", 0) * 1024),
        }

    def _filesystem(self, now_s: float) -> dict[str, float | None]:
        disk = os.statvfs(self._root)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        # The share is of what users may fill: the part reserved for root is not in it.
        usable = used + disk.f_bavail * disk.f_frsize
        return {
            "system.filesystem.usage": float(used),
            "system.filesystem.limit": float(disk.f_blocks * disk.f_frsize),
            "system.filesystem.utilization": used / usable if usable else None,
        }

    def _disks(self, now_s: float) -> dict[str, float | None]:
        found = psutil.disk_io_counters(perdisk=True, nowrap=False)
        # Only those that exist now: volumes come and go under new names.
        self._whole_disks = {name: self._is_whole(name) for name in found}
        disks = [counters for name, counters in found.items() if self._whole_disks[name]]
        if not disks:
            return {}
        operations = sum(disk.read_count + disk.write_count for disk in disks)
        busy_ms = sum(disk.read_time + disk.write_time for disk in disks)
        done = self._rates.grown("disk.operations", operations, now_s)
        took = self._rates.grown("disk.time", busy_ms, now_s)
        return {
            "system.disk.read.rate": self._rates.rate(
                "disk.read", sum(disk.read_bytes for disk in disks), now_s
            ),
            "system.disk.write.rate": self._rates.rate(
                "disk.write", sum(disk.write_bytes for disk in disks), now_s
            ),
            "system.disk.operation.rate": done[0] / done[1] if done else None,
            "system.disk.latency": took[0] / 1e3 / done[0] if done and took and done[0] else None,
        }

    def _network(self, now_s: float) -> dict[str, float | None]:
        cards = [
            counters
            for name, counters in psutil.net_io_counters(pernic=True, nowrap=False).items()
            if name != "lo"
        ]
        faults = sum(card.errin + card.errout + card.dropin + card.dropout for card in cards)
        rates = [
            self._rates.rate("net.receive", sum(card.bytes_recv for card in cards), now_s),
            self._rates.rate("net.transmit", sum(card.bytes_sent for card in cards), now_s),
        ]
        known = [rate for rate in rates if rate is not None]
        share = max(known) / self._network_bytes_s if known and self._network_bytes_s else None
        return {
            "system.network.receive.rate": rates[0],
            "system.network.transmit.rate": rates[1],
            "system.network.utilization": share,
            "system.network.error.rate": self._rates.rate("net.error", faults, now_s),
        }

    def _pressure(self, now_s: float) -> dict[str, float | None]:
        found: dict[str, float | None] = {}
        for resource, file in self._pressures.items():
            share = file.pressure()
            if share is None and self._container is not None:
                share = self._container.pressure(resource)
            found[f"trimtab.pressure.{resource}"] = share
        return found

    def _is_whole(self, name: str) -> bool:
        whole = self._whole_disks.get(name)
        if whole is None:
            # A partition lies in the directory of its disk; in sysfs a slash in a name is a "!".
            there = (self._root / "sys/block" / name.replace("/", "!")).exists()
            whole = there and not name.startswith(_STACKED)
        return whole


def environment(root: Path = Path("/")) -> dict[str, str]:
    """Return what does not change while the agent runs: `hostname`, `cpus`, `cgroup` version."""
    return {
        "hostname": socket.gethostname(),
        "cpus": str(psutil.cpu_count() or 1),
        "cgroup": version_of(root),
    }
