"""Gauges of the container around this process, from cgroup v2 or else v1.

The cgroup is found through /proc/self/cgroup and /proc/self/mountinfo (proc(5), cgroups(7)). A
limit is the smallest one from the process's own cgroup up to the mount. A process in the cgroup of
the whole host is in no container, and there are no gauges.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from trimtab_agent.gauges.kernel import KernelFile, Rates

__all__ = ["Container", "container_of", "version_of"]

# v1 writes "no limit" as the largest multiple of a page that fits a signed 64-bit number.
_UNLIMITED: Final = 1 << 60


class _Mount(NamedTuple):
    point: Path
    #: path within the hierarchy that is mounted here
    root: str
    kind: str
    controllers: frozenset[str]


class _Usage(NamedTuple):
    """Figures that both versions have; None where one is unknown or there is no limit."""

    cpu_s: float | None
    cpu_limit: float | None
    periods: int | None
    throttled: int | None
    memory: int | None
    memory_limit: float | None
    oom_kills: int | None


class _Cgroup(Protocol):
    version: str

    def usage(self) -> _Usage: ...

    def pressure(self, resource: str) -> float | None: ...

    def close(self) -> None: ...


class Container:
    """Reads the gauges of one cgroup, by catalogue name; rates need two readings."""

    def __init__(self, cgroup: _Cgroup) -> None:
        self._cgroup = cgroup
        self._rates = Rates()
        self.version = cgroup.version

    def read(self, now_mono_s: float) -> dict[str, float]:
        """Return the `container.*` gauges that can be read. Raises nothing."""
        usage = self._cgroup.usage()
        gauges: dict[str, float | None] = {
            "container.cpu.limit": usage.cpu_limit,
            "container.memory.usage": usage.memory,
            "container.memory.limit": usage.memory_limit,
            "container.memory.oom_kills": usage.oom_kills,
        }
        if usage.memory is not None and usage.memory_limit:
            gauges["container.memory.utilization"] = usage.memory / usage.memory_limit
        if usage.cpu_s is not None and usage.cpu_limit:
            used = self._rates.rate("cpu", usage.cpu_s, now_mono_s)
            gauges["container.cpu.utilization"] = None if used is None else used / usage.cpu_limit
        if usage.cpu_limit and usage.periods is not None and usage.throttled is not None:
            periods = self._rates.grown("periods", usage.periods, now_mono_s)
            throttled = self._rates.grown("throttled", usage.throttled, now_mono_s)
            if periods and throttled:
                share = throttled[0] / periods[0] if periods[0] else 0.0
                gauges["container.cpu.throttled"] = min(share, 1.0)
        return {name: float(value) for name, value in gauges.items() if value is not None}

    def pressure(self, resource: str) -> float | None:
        """Return the pressure of cpu, memory or io within the container (v2 only)."""
        return self._cgroup.pressure(resource)

    def close(self) -> None:
        """Close the files."""
        self._cgroup.close()


def container_of(root: Path = Path("/")) -> Container | None:
    """Return the container around this process; None if there is none or it cannot be found."""
    own = _own_cgroups(root)
    mounts = _mounts(root)
    for mount in mounts:
        if mount.kind == "cgroup2" and "" in own:
            paths = _upwards(mount, own[""])
            # The host's own cgroup has no memory.current, and in a mixed set-up v2 has no memory.
            if (paths[0] / "memory.current").exists() or (paths[0] / "cpu.max").exists():
                return Container(_Version2(paths))
    found: dict[str, list[Path]] = {}
    for mount in mounts:
        for controller in mount.controllers & {"cpu", "cpuacct", "memory"}:
            if mount.kind == "cgroup" and controller in own:
                found[controller] = _upwards(mount, own[controller])
    whole_host = all(own[controller] == "/" for controller in found)
    return Container(_Version1(found, whole_host=whole_host)) if found else None


def version_of(root: Path = Path("/")) -> str:
    """Return the version of the cgroups that limit this process: `2`, `1` or `none`."""
    container = container_of(root)
    if container is None:
        return "none"
    container.close()
    return container.version


class _Version2:
    version = "2"

    def __init__(self, paths: list[Path]) -> None:
        own = paths[0]
        self._cpu_max = [KernelFile(path / "cpu.max") for path in paths]
        self._memory_max = [KernelFile(path / "memory.max") for path in paths]
        self._cpu_stat = KernelFile(own / "cpu.stat")
        self._current = KernelFile(own / "memory.current")
        self._memory_stat = KernelFile(own / "memory.stat")
        self._events = KernelFile(own / "memory.events")
        self._pressures = {
            resource: KernelFile(own / f"{resource}.pressure")
            for resource in ("cpu", "memory", "io")
        }

    def usage(self) -> _Usage:
        cpu = self._cpu_stat.fields()
        usage_us = cpu.get("usage_usec")
        return _Usage(
            cpu_s=None if usage_us is None else usage_us / 1e6,
            cpu_limit=_least(_quota(file.text()) for file in self._cpu_max),
            periods=cpu.get("nr_periods"),
            throttled=cpu.get("nr_throttled"),
            memory=_working_set(self._current, self._memory_stat, "inactive_file"),
            memory_limit=_least(file.number() for file in self._memory_max),
            oom_kills=self._events.fields().get("oom_kill"),
        )

    def pressure(self, resource: str) -> float | None:
        return self._pressures[resource].pressure()

    def close(self) -> None:
        for file in (
            *self._cpu_max,
            *self._memory_max,
            self._cpu_stat,
            self._current,
            self._memory_stat,
            self._events,
            *self._pressures.values(),
        ):
            file.close()


class _Version1:
    version = "1"

    def __init__(self, found: dict[str, list[Path]], *, whole_host: bool) -> None:
        nowhere = [Path("/nonexistent")]
        cpus = found.get("cpu", nowhere)
        memories = found.get("memory", nowhere)
        self._whole_host = whole_host
        self._quotas = [KernelFile(path / "cpu.cfs_quota_us") for path in cpus]
        self._periods = [KernelFile(path / "cpu.cfs_period_us") for path in cpus]
        self._cpu_stat = KernelFile(cpus[0] / "cpu.stat")
        self._cpu_usage = KernelFile(found.get("cpuacct", nowhere)[0] / "cpuacct.usage")
        self._limits = [KernelFile(path / "memory.limit_in_bytes") for path in memories]
        self._current = KernelFile(memories[0] / "memory.usage_in_bytes")
        self._memory_stat = KernelFile(memories[0] / "memory.stat")
        self._oom = KernelFile(memories[0] / "memory.oom_control")

    def usage(self) -> _Usage:
        cpu = self._cpu_stat.fields()
        usage_ns = self._cpu_usage.number()
        limit = _least(
            _quota(f"{quota.number() or -1} {period.number() or 0}")
            for quota, period in zip(self._quotas, self._periods, strict=True)
        )
        memory_limit = _least(
            number if number is not None and number < _UNLIMITED else None
            for number in (file.number() for file in self._limits)
        )
        memory = _working_set(self._current, self._memory_stat, "total_inactive_file")
        if self._whole_host and memory_limit is None:
            # Only a limit tells the root of a container from the root of the host.
            memory = None
        return _Usage(
            cpu_s=None if usage_ns is None else usage_ns / 1e9,
            cpu_limit=limit,
            periods=cpu.get("nr_periods"),
            throttled=cpu.get("nr_throttled"),
            memory=memory,
            memory_limit=memory_limit,
            oom_kills=None if memory is None else self._oom.fields().get("oom_kill"),
        )

    def pressure(self, resource: str) -> float | None:
        return None

    def close(self) -> None:
        for file in (
            *self._quotas,
            *self._periods,
            self._cpu_stat,
            self._cpu_usage,
            *self._limits,
            self._current,
            self._memory_stat,
            self._oom,
        ):
            file.close()


def _own_cgroups(root: Path) -> dict[str, str]:
    """Return the path of this process's cgroup by controller; the controller of v2 is empty."""
    own = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            own[controller] = path
    return own


def _mounts(root: Path) -> list[_Mount]:
    mounts = []
    for line in _lines(root / "proc/self/mountinfo"):
        mounted, _, described = line.partition(" - ")
        fields, (kind, *rest) = mounted.split(" "), described.split(" ")
        if kind in ("cgroup", "cgroup2") and len(fields) > 4 and len(rest) > 1:
            point = root / _unescaped(fields[4]).lstrip("/")
            options = frozenset(rest[1].split(","))
            mounts.append(_Mount(point, _unescaped(fields[3]), kind, options))
    return mounts


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="replace").splitlines()
    except OSError:
        return []


def _unescaped(path: str) -> str:
    return path.replace(r"\040", " ").replace(r"\011", "\t").replace(r"\134", "\\")


def _upwards(mount: _Mount, path: str) -> list[Path]:
    """Return the directories of a cgroup and of those above it, up to the mount."""
    inside = ""
    if mount.root == "/":
        inside = path
    elif path == mount.root or path.startswith(mount.root + "/"):
        # Without a namespace the path is the host's, and the mount shows part of the hierarchy.
        inside = path[len(mount.root) :]
    own = mount.point / inside.lstrip("/")
    if ".." in own.parts or not own.is_dir():
        return [mount.point]
    above = [parent for parent in own.parents if parent.is_relative_to(mount.point)]
    return [own, *above]


def _quota(text: str | None) -> float | None:
    """Return the CPUs of a quota and period in us, None without a limit."""
    quota, _, period = (text or "").strip().partition(" ")
    if not quota.isdecimal() or not period.isdecimal() or not int(quota) or not int(period):
        return None
    return int(quota) / int(period)


def _least(limits: Iterable[float | None]) -> float | None:
    return min((limit for limit in limits if limit is not None), default=None)


def _working_set(current: KernelFile, stat: KernelFile, inactive: str) -> int | None:
    """Return memory in use less inactive file cache, as container runtimes count it."""
    usage = current.number()
    return None if usage is None else max(usage - stat.fields().get(inactive, 0), 0)
