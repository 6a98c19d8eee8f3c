"""Host and container gauges: right, cheap to miss, never negative, never an exception."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_agent.gauges.host import HostReader, environment
from trimtab_agent.gauges.kernel import KernelFile, Rates
from trimtab_core.catalog import CATALOG

MIB = 2**20


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "root"


_MOUNT_V2 = "30 24 0:26 {root} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw,nsdelegate\n"
_OWN = "sys/fs/cgroup/kubepods/pod1/app"


def version2(root: Path, *, mounted: str = "/", own: str = "/kubepods/pod1/app") -> None:
    """Write the files of a container in a pod under cgroup v2; the pod has the smaller memory."""
    write(
        root,
        {
            "proc/self/cgroup": f"0::{own}\n",
            "proc/self/mountinfo": "22 1 0:21 / /proc rw - proc proc rw\n"
            + _MOUNT_V2.format(root=mounted),
            "sys/fs/cgroup/kubepods/memory.max": "max\n",
            "sys/fs/cgroup/kubepods/cpu.max": "max 100000\n",
            "sys/fs/cgroup/kubepods/pod1/memory.max": f"{256 * MIB}\n",
            "sys/fs/cgroup/kubepods/pod1/cpu.max": "400000 100000\n",
            f"{_OWN}/memory.max": f"{512 * MIB}\n",
            f"{_OWN}/memory.current": f"{100 * MIB}\n",
            f"{_OWN}/memory.stat": f"anon 5\nfile 7\ninactive_file {36 * MIB}\n",
            f"{_OWN}/memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 2\n",
            f"{_OWN}/cpu.max": "150000 100000\n",
            f"{_OWN}/cpu.pressure": "some avg10=12.50 avg60=0.00 avg300=0.00 total=5\n",
        },
    )
    cpu_stat_v2(root, usage_us=1_000_000, periods=100, throttled=10)


def cpu_stat_v2(root: Path, *, usage_us: int, periods: int, throttled: int) -> None:
    text = f"usage_usec {usage_us}\nuser_usec 1\nsystem_usec 1\nnr_periods {periods}\n"
    write(root, {f"{_OWN}/cpu.stat": text + f"nr_throttled {throttled}\nthrottled_usec 7\n"})


_V1 = "sys/fs/cgroup"


def version1(root: Path) -> None:
    """Write the files of a container under cgroup v1, seen without a cgroup namespace."""
    write(
        root,
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n0::/\n",
            "proc/self/mountinfo": (
                f"35 31 0:32 /docker/abc /{_V1}/memory ro - cgroup cgroup rw,memory\n"
                f"32 31 0:29 /docker/abc /{_V1}/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
                f"41 31 0:38 / /{_V1}/unified rw - cgroup2 cgroup2 rw\n"
            ),
            f"{_V1}/unified/cgroup.procs": "1\n",
            f"{_V1}/memory/memory.usage_in_bytes": f"{100 * MIB}\n",
            f"{_V1}/memory/memory.limit_in_bytes": f"{200 * MIB}\n",
            f"{_V1}/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {50 * MIB}\n",
            f"{_V1}/memory/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
            f"{_V1}/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
            f"{_V1}/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    )
    cpu_stat_v1(root, usage_us=1_000_000, periods=100, throttled=10)


def cpu_stat_v1(root: Path, *, usage_us: int, periods: int, throttled: int) -> None:
    stat = f"nr_periods {periods}\nnr_throttled {throttled}\nthrottled_time 5\n"
    own = f"{_V1}/cpu,cpuacct"
    write(root, {f"{own}/cpu.stat": stat, f"{own}/cpuacct.usage": f"{usage_us * 1000}\n"})


def of_container(gauges: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in gauges.items() if name.startswith("container.")}


@pytest.mark.parametrize(
    ("mounted", "own"),
    [("/", "/kubepods/pod1/app"), ("/outer", "/outer/kubepods/pod1/app")],
    ids=["whole hierarchy", "part of it mounted"],
)
def test_a_version_2_container_is_read_with_the_least_limit_above_it(
    root: Path, mounted: str, own: str
) -> None:
    version2(root, mounted=mounted, own=own)
    reader = HostReader(root)
    assert of_container(reader.read(100.0)) == {
        "container.cpu.limit": 1.5,
        "container.memory.usage": 64 * MIB,
        "container.memory.limit": 256 * MIB,
        "container.memory.utilization": 0.25,
        "container.memory.oom_kills": 2,
    }
    cpu_stat_v2(root, usage_us=1_000_000 + 3_000_000, periods=150, throttled=20)
    gauges = reader.read(104.0)
    assert gauges["container.cpu.utilization"] == pytest.approx(3 / 4 / 1.5)
    assert gauges["container.cpu.throttled"] == pytest.approx(0.2)
    assert environment(root)["cgroup"] == "2"
    reader.close()


def test_a_version_1_container_is_read_through_its_mounts(root: Path) -> None:
    version1(root)
    reader = HostReader(root)
    assert of_container(reader.read(100.0)) == {
        "container.cpu.limit": 0.5,
        "container.memory.usage": 50 * MIB,
        "container.memory.limit": 200 * MIB,
        "container.memory.utilization": 0.25,
        "container.memory.oom_kills": 4,
    }
    cpu_stat_v1(root, usage_us=2_000_000, periods=110, throttled=15)
    gauges = reader.read(104.0)
    assert gauges["container.cpu.utilization"] == pytest.approx(1 / 4 / 0.5)
    assert gauges["container.cpu.throttled"] == pytest.approx(0.5)
    assert environment(root)["cgroup"] == "1"
    reader.close()


def test_without_limits_there_are_no_limits_and_no_shares(root: Path) -> None:
    version2(root)
    for path in root.rglob("*.max"):
        path.write_text("max 100000\n" if path.name == "cpu.max" else "max\n")
    reader = HostReader(root)
    reader.read(1.0)
    cpu_stat_v2(root, usage_us=5_000_000, periods=200, throttled=20)
    assert set(of_container(reader.read(2.0))) == {
        "container.memory.usage",
        "container.memory.oom_kills",
    }
    version1(root)
    shutil.rmtree(root / "sys/fs/cgroup/kubepods")
    write(
        root,
        {
            f"{_V1}/memory/memory.limit_in_bytes": "9223372036854771712\n",
            f"{_V1}/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        },
    )
    assert set(of_container(HostReader(root).read(1.0))) == {
        "container.memory.usage",
        "container.memory.oom_kills",
    }


def test_the_whole_host_is_no_container(root: Path) -> None:
    write(
        root,
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": _MOUNT_V2.format(root="/"),
            "sys/fs/cgroup/cpu.stat": "usage_usec 5\n",
            "sys/fs/cgroup/memory.stat": "inactive_file 5\n",
        },
    )
    assert of_container(HostReader(root).read(1.0)) == {}
    assert environment(root)["cgroup"] == "none"


def test_a_counter_that_was_reset_gives_no_rate_once(root: Path) -> None:
    version2(root)
    reader = HostReader(root)
    reader.read(1.0)
    cpu_stat_v2(root, usage_us=10, periods=1, throttled=0)
    after = reader.read(2.0)
    assert "container.cpu.utilization" not in after
    assert "container.cpu.throttled" not in after
    cpu_stat_v2(root, usage_us=1_500_010, periods=11, throttled=0)
    again = reader.read(3.0)
    assert again["container.cpu.utilization"] == pytest.approx(1.0)
    assert again["container.cpu.throttled"] == 0


def test_pressure_is_the_hosts_else_the_containers(root: Path) -> None:
    version2(root)
    assert HostReader(root).read(1.0)["trimtab.pressure.cpu"] == 0.125
    assert "trimtab.pressure.io" not in HostReader(root).read(1.0)
    write(root, {"proc/pressure/cpu": "some avg10=50.00 avg60=1 avg300=1 total=1\nfull avg10=9\n"})
    write(root, {"proc/pressure/io": "nothing that is known\nsome avg10=x\n"})
    gauges = HostReader(root).read(1.0)
    assert gauges["trimtab.pressure.cpu"] == 0.5
    assert "trimtab.pressure.io" not in gauges


def test_memory_and_swap_are_read_in_bytes(root: Path) -> None:
    text = "MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  250 kB\n"
    write(root, {"proc/meminfo": text + "SwapTotal: 80 kB\nSwapFree: 60 kB\nHugePages_Total: 0\n"})
    gauges = HostReader(root).read(1.0)
    assert gauges["system.memory.limit"] == 1000 * 1024
    assert gauges["system.memory.usage"] == 750 * 1024
    assert gauges["system.memory.utilization"] == 0.75
    assert gauges["system.paging.usage"] == 20 * 1024


@pytest.mark.parametrize("write_tree", [version2, version1], ids=["version 2", "version 1"])
def test_files_that_are_missing_or_nonsense_are_left_out(
    root: Path, write_tree: Callable[[Path], None]
) -> None:
    write_tree(root)
    write(root, {"proc/meminfo": "nonsense"})
    complete = set(HostReader(root).read(1.0))
    files = [path for path in root.rglob("*") if path.is_file()]
    for path in files:
        text = path.read_text()
        path.write_bytes(b"\xff\0 nonsense\n\n:")
        assert set(HostReader(root).read(1.0)) <= complete | {"container.cpu.limit"}
        path.unlink()
        reader = HostReader(root)
        assert set(reader.read(1.0)) <= complete
        reader.close()
        path.write_text(text)
    shutil.rmtree(root)
    assert of_container(HostReader(root).read(1.0)) == {}


def test_gauges_of_this_host_are_those_the_kernel_shows_and_are_in_the_catalogue() -> None:
    reader = HostReader()
    first = reader.read(10.0)
    assert not [name for name in first if name.endswith(".rate")]
    assert "system.cpu.utilization" not in first
    # Reading is work: the counters of the CPU grow by a hundredth of a second at a time.
    deadline = time.monotonic() + 10
    now_s, second = 10.0, first
    while "system.cpu.utilization" not in second:
        assert time.monotonic() < deadline, "the CPU's counters did not grow in 10 s"
        now_s += 1
        second = reader.read(now_s)
    assert set(first) < set(second) <= set(CATALOG)
    assert second["system.memory.limit"] == psutil.virtual_memory().total
    assert second["system.cpu.logical.count"] == os.cpu_count()
    assert second["system.paging.limit"] == psutil.swap_memory().total
    assert all(value >= 0 for value in second.values())
    for name, value in second.items():
        if name.endswith(".utilization") or name.startswith("trimtab.pressure"):
            assert 0 <= value <= 1, name
    reader.close()


def test_the_environment_names_the_host() -> None:
    found = environment()
    assert found["hostname"] == os.uname().nodename
    assert int(found["cpus"]) == psutil.cpu_count()
    assert found["cgroup"] in ("2", "1", "none")


@given(
    st.lists(st.tuples(st.integers(0, 2**64), st.floats(0, 1e9)), max_size=20),
)
def test_a_rate_is_never_negative_nor_infinite(gauges: list[tuple[int, float]]) -> None:
    rates = Rates()
    for number, (value, now_s) in enumerate(gauges):
        rate = rates.rate("x", value, now_s)
        assert rate is None or rate >= 0
        assert number or rate is None


def test_a_file_that_comes_back_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    file = KernelFile(path)
    assert file.text() is None
    assert file.number() is None
    assert file.fields() == {}
    assert file.pressure() is None
    path.write_text("17\n")
    assert file.number() == 17
    path.write_text("max\n")
    assert file.number() is None
    file.close()
    file.close()
