"""What the agent shows on /metrics is exact and is Prometheus text."""

import re
from collections import defaultdict
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_agent.selfmetrics import BOUNDS_S, IDLE_S, MAX_SERIES, Totals, families_of
from trimtab_core.batches import Point, SeriesKey
from trimtab_core.exposition import render
from trimtab_core.sketch import Sketch

_SAMPLE = re.compile(
    r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (\S+)'
)
_LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\n]|\\[\\n"])*)"(?:,|$)')
_NAME = "http_server_request_duration_seconds"


class Sample(NamedTuple):
    name: str
    labels: dict[str, str]
    value: float


def parse(text: str) -> tuple[dict[str, str], list[Sample]]:
    """Return kinds by family, and samples; fails on anything that is not the 0.0.4 format."""
    kinds: dict[str, str] = {}
    samples = []
    family = ""
    assert text.endswith("\n")
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP "):
            family = line.split(" ")[2]
            assert family not in kinds, "a family stands twice"
        elif line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name == family
            kinds[name] = kind
        else:
            match = _SAMPLE.fullmatch(line)
            assert match, line
            name, labels, value = match.groups()
            allowed = {family}
            if kinds[family] == "histogram":
                allowed = {f"{family}{suffix}" for suffix in ("_bucket", "_sum", "_count")}
            assert name in allowed
            found = {
                label: re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m[1], m[1]), text)
                for label, text in _LABEL.findall(labels or "")
            }
            samples.append(Sample(name, found, float(value)))
    return kinds, samples


def point_of(durations_us: list[int]) -> Point:
    sketch = Sketch.of(durations_us)
    return Point(sum_us=sum(durations_us), max_us=sketch.max_us, buckets=dict(sketch.buckets))


def key(route: str = "/a", instance: str = "h#0") -> SeriesKey:
    return SeriesKey("production", "shop", "1.0", instance, route, "GET", "2xx")


@given(st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 3_000_000), max_size=40))
def test_every_bucket_holds_exactly_the_requests_up_to_its_bound(durations_us: list[int]) -> None:
    totals = Totals()
    half = len(durations_us) // 2
    totals.add(key(instance="h#0"), point_of(durations_us[:half]))
    totals.add(key(instance="h#1"), point_of(durations_us[half:]))
    kinds, samples = parse(render(totals.families()))
    assert kinds == {_NAME: "histogram"}
    buckets = {s.labels["le"]: s.value for s in samples if s.name == _NAME + "_bucket"}
    assert buckets.pop("+Inf") == len(durations_us)
    assert {float(le): value for le, value in buckets.items()} == {
        bound: sum(us / 1e6 <= bound for us in durations_us) for bound in BOUNDS_S
    }
    (total,) = [s.value for s in samples if s.name == _NAME + "_sum"]
    assert total == pytest.approx(sum(durations_us) / 1e6)
    (count,) = [s.value for s in samples if s.name == _NAME + "_count"]
    assert count == len(durations_us)


def test_a_duration_on_a_bound_is_within_it() -> None:
    totals = Totals()
    totals.add(key(), point_of([15_625, 15_626, 64_000_000, 64_000_001]))
    _, samples = parse(render(totals.families()))
    buckets = {s.labels["le"]: s.value for s in samples if "le" in s.labels}
    assert (buckets["0.015625"], buckets["0.03125"]) == (1, 2)
    assert (buckets["64.0"], buckets["+Inf"]) == (3, 4)


def test_beyond_2000_series_everything_further_is_one_series_and_nothing_is_lost() -> None:
    totals = Totals()
    for number in range(MAX_SERIES + 50):
        totals.add(key(f"/{number}"), point_of([1000]))
        totals.add(key(f"/{number % 7}"), point_of([1000]))
    _, samples = parse(render(totals.families()))
    counts = {s.labels["route"]: s.value for s in samples if s.name == _NAME + "_count"}
    assert len(counts) == MAX_SERIES + 1
    assert counts["other"] == totals.over_limit == 50
    assert sum(counts.values()) == 2 * (MAX_SERIES + 50)


def counts_of(totals: Totals) -> dict[str, float]:
    _, samples = parse(render(totals.families()))
    return {s.labels["route"]: s.value for s in samples if s.name == _NAME + "_count"}


def test_a_full_table_gives_the_places_of_idle_series_to_new_ones_and_keeps_busy_ones() -> None:
    now_s = 0.0
    totals = Totals(lambda: now_s)
    for number in range(MAX_SERIES):
        totals.add(key(f"/{number}"), point_of([1000]))
    now_s = IDLE_S / 2
    for number in range(7):
        totals.add(key(f"/{number}"), point_of([1000]))
    totals.add(key("/too-early"), point_of([1000]))
    assert counts_of(totals)["other"] == 1
    now_s = float(IDLE_S)
    for number in range(MAX_SERIES):
        totals.add(key(f"/new/{number}"), point_of([1000]))
    counts = counts_of(totals)
    assert {f"/{number}": counts[f"/{number}"] for number in range(7)} == {
        f"/{number}": 2 for number in range(7)
    }
    assert len([route for route in counts if route.startswith("/new/")]) == MAX_SERIES - 7
    assert counts["other"] == totals.over_limit == 1 + 7
    assert len(counts) == MAX_SERIES + 1


def test_a_year_of_new_names_leaves_every_live_one_its_name() -> None:
    now_s = 0.0
    totals = Totals(lambda: now_s)
    for day in range(365):
        now_s = 86_400.0 * day
        for number in range(MAX_SERIES // 2):
            totals.add(key(f"/{day}/{number}"), point_of([1000]))
    assert totals.over_limit == 0
    assert len(counts_of(totals)) == MAX_SERIES


def test_labels_may_hold_anything() -> None:
    nasty = '/a"b\\n\n{x}="1",'
    totals = Totals()
    totals.add(key(nasty), point_of([5]))
    _, samples = parse(render(totals.families()))
    assert {s.labels["route"] for s in samples} == {nasty}


def test_a_series_read_in_slices_stays_consistent() -> None:
    totals = Totals()
    totals.add(key("/a"), point_of([1000]))
    totals.add(key("/b"), point_of([1000]))
    counts: dict[str, list[float]] = defaultdict(list)
    for suffix, labels, value in totals.families()[0].samples:
        if suffix == "_count" or labels.get("le") == "+Inf":
            counts[labels["route"]].append(value)
        totals.add(key("/a"), point_of([1]))
        totals.add(key("/b"), point_of([1]))
        totals.add(key(f"/new/{len(counts)}"), point_of([1]))
    assert len(counts) == 2
    assert all(len(set(values)) == 1 for values in counts.values())


def test_the_totals_stand_behind_the_counters() -> None:
    totals = Totals()
    totals.add(key(), point_of([1]))
    kinds, _ = parse(render(families_of({"trimtab.agent.apps": 1}, totals)))
    assert list(kinds.items()) == [("trimtab_agent_apps", "gauge"), (_NAME, "histogram")]


def test_counters_and_gauges_have_their_names_kinds_and_reasons() -> None:
    kinds, samples = parse(
        render(
            families_of(
                {
                    "trimtab.agent.samples": 12,
                    "trimtab.agent.dropped": {"reason": {"buffer_full": 3, "agent_lost": 4}},
                    "trimtab.agent.spool.size": 2.5,
                    "trimtab.agent.batches_failed": {"cause": {}},
                },
                Totals(),
            )
        )
    )
    assert kinds == {
        "trimtab_agent_samples_total": "counter",
        "trimtab_agent_dropped_total": "counter",
        "trimtab_agent_spool_size_bytes": "gauge",
        "trimtab_agent_batches_failed_total": "counter",
    }
    assert samples == [
        Sample("trimtab_agent_samples_total", {}, 12),
        Sample("trimtab_agent_dropped_total", {"reason": "buffer_full"}, 3),
        Sample("trimtab_agent_dropped_total", {"reason": "agent_lost"}, 4),
        Sample("trimtab_agent_spool_size_bytes", {}, 2.5),
    ]


def test_a_name_that_is_not_in_the_catalogue_is_refused() -> None:
    with pytest.raises(KeyError):
        families_of({"made.up": 1})
