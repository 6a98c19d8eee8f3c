"""Bytes on disk: a point and a bucket of each tier, the journal, a service and month.

A service of 40 routes on 3 instances sends 10-second windows for a day, at 1, 10, 100 and 1,000
requests a minute for a route and instance: each level of traffic fills a store of its own. Then
one of 50 routes on 2 instances lives for 30 days. Traffic is that of storage_traffic.
"""

import shutil
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final

import harness
import processes
import storage_stores
from storage_stores import Job, Size
from storage_traffic import Host, Service

POINT_BYTES: Final = 5.0
BUCKET_BYTES: Final = 0.8
LEVELS: Final = (1, 10, 100, 1000)
HOUR_S: Final = 3600
DAY_S: Final = 86_400
#: a Saturday's midnight in UTC: sizes do not depend on the hour they are measured in
NOW_S: Final = 1_795_305_600
VERSIONS: Final = ("numpy", "zstandard", "msgpack")
TIERS: Final = ("10s", "1m", "1h")


def main() -> None:
    options = harness.arguments(__doc__)
    levels = LEVELS[:2] if options.quick else LEVELS
    hours, instances = (1, 2) if options.quick else (24, 3)
    processes.CACHE.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="disk-", dir=processes.CACHE))
    rows: list[harness.Row] = []
    try:
        for level in levels:
            service = Service("shop", 40, level / 60)
            rows += traffic(place, service, instances, hours, f"{level} requests a minute")
        service = Service("shop", 40, 10 / 60, dependencies=True)
        rows += traffic(place, service, instances, hours, "10, with database and cache")
        rows += month(place, 1 if options.quick else 30, 5 if options.quick else 50)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    harness.report("disk", rows, options.json, harness.packages(*VERSIONS))


def traffic(
    place: Path, service: Service, instances: int, hours: int, said: str
) -> list[harness.Row]:
    """Return the rows of one level of traffic."""
    harness.progress(f"disk: {said}")
    directory = place / said.partition(" ")[0]
    shutil.rmtree(directory, ignore_errors=True)
    hosts = [Host(f"host-{number}", (service,)) for number in range(instances)]
    # To midnight, and merged to the last window: the hour that follows is silent.
    slices = [
        [Job(host, start_s, start_s + HOUR_S, 10) for host in hosts]
        for start_s in range(NOW_S - hours * HOUR_S, NOW_S, HOUR_S)
    ]
    facts = storage_stores.build(directory, slices, NOW_S + HOUR_S)
    tiers = storage_stores.sizes(directory)
    sent = (
        f"{facts['requests'] / facts['points']:.2f} requests and "
        f"{facts['buckets'] / facts['points']:.2f} buckets a 10-second point"
    )
    rows = [tier_row(said, name, tiers.get(name), facts["requests"], sent) for name in TIERS]
    rows.append(
        harness.Row(
            f"{said}: journal",
            facts["wire_bytes"] / facts["points"],
            "bytes/point",
            note=f"a batch as it came, until it is merged; {sent}",
        )
    )
    return rows


def tier_row(said: str, name: str, size: Size | None, requests: float, sent: str) -> harness.Row:
    """Return what a point of a tier costs: all bytes of its files, over all points in them."""
    what = f"{said}: tier {name}"
    if size is None or 0 not in size.levels:
        return harness.Row(what, None, "bytes/point", note="this store has no such files")
    points, buckets = size.total(0), size.total(1)
    each = size.file_bytes / points
    most = POINT_BYTES + BUCKET_BYTES * buckets / points
    own_points, own_buckets, own_bytes = size.levels[0]
    levels = ", ".join(
        f"{level}: {n} points of {payload / n:.1f} bytes and {held / n:.1f} buckets"
        for level, (n, held, payload) in sorted(size.levels.items())
    )
    note = (
        f"{requests / own_points:.1f} requests and {own_buckets / own_points:.2f} buckets a point "
        f"of a series; {own_bytes / own_points:.2f} bytes of chunks and, roll-ups and files "
        f"included, {size.file_bytes / own_points:.2f} bytes for each; "
        f"{size.free_bytes / 1e3:.0f} of {size.file_bytes / 1e3:.0f} kB are free pages; "
        f"by level {levels}"
    )
    if name != "1m":
        return harness.Row(what, each, "bytes/point", note=note)
    goal = f"<= {POINT_BYTES:g} + {BUCKET_BYTES:g} x {buckets / points:.2f} = {most:.2f}"
    return harness.Row(what, each, "bytes/point", goal, each <= most, note=f"{note}; {sent}")


def month(place: Path, days: int, routes: int) -> list[harness.Row]:
    """Return what a service takes that has been there for 30 days, tier by tier."""
    harness.progress(f"disk: a service and {days} days")
    hosts = [
        Host(f"host-{number}", (Service("shop", routes, 10 / 60, deploys=True),))
        for number in range(2)
    ]
    spans = (
        (NOW_S - days * DAY_S, NOW_S - 16 * DAY_S, HOUR_S, DAY_S),
        (NOW_S - min(days, 16) * DAY_S, NOW_S - 3 * DAY_S, 60, DAY_S // 4),
        (NOW_S - min(days, 3) * DAY_S, NOW_S, 60 if days < 30 else 10, 2 * HOUR_S),
    )
    slices = [
        [Job(host, low, high, step_s) for host in hosts]
        for start_s, end_s, step_s, slice_s in spans
        for low, high in pairwise(range(start_s, end_s + 1, slice_s))
    ]
    directory = place / "month"
    facts = storage_stores.build(directory, slices, NOW_S, "disk: a service and month")
    tiers = storage_stores.sizes(directory)
    total = sum(path.stat().st_size for path in directory.iterdir())
    note = (
        f"{routes} routes on 2 instances, {facts['points'] / 1e6:.2f} M points sent; "
        + ", ".join(f"{name} {size.file_bytes / 1e6:.1f} MB" for name, size in tiers.items())
        + f"; the rest {_rest(total, list(tiers.values())) / 1e6:.1f} MB"
    )
    return [harness.Row(f"whole store, one service, {days} days", total / 1e6, "MB", note=note)]


def _rest(total: int, tiers: Sequence[Size]) -> int:
    return total - sum(size.file_bytes for size in tiers)


if __name__ == "__main__":
    main()
