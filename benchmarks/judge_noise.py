"""How much noise rules make on real series: messages a week, and episodes that are caught.

Each series is held against its own 99 % line by the product's judge, with the shipped times. A real
episode is two samples or more in a row over the line; a blip is one. The series are those of
`--series FILE`, an .npz of numpy: `meta` (a JSON list of {ds, name, step, n}) and s0, s1, ...
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trimtab_collector.alerts.defaults import THRESHOLDS
from trimtab_collector.alerts.judge import Judge, Judged
from trimtab_collector.alerts.rules import Rule
from trimtab_collector.alerts.values import Values

__all__ = ["Noise", "Policy", "noise", "policies", "series_of"]

_WEEK_S = 7 * 86_400


class Series(NamedTuple):
    """One series: its values, and the seconds between them."""

    source: str
    step_s: int
    values: Sequence[float]


class Policy(NamedTuple):
    """A rule's times, by name."""

    name: str
    rule: Rule


class Noise(NamedTuple):
    """What a policy did on all series."""

    messages_per_week: float
    episodes: int
    caught: float
    fires_per_episode: float
    delay_min: float
    blip_share: float


def series_of(path: Path, step_s: int = 300) -> list[Series]:
    """Return the real series of a step; synthetic ones are left out."""
    with np.load(path) as held:
        meta = json.loads(str(held["meta"]))
        return [
            Series(row["ds"], row["step"], held[f"s{place}"].astype(float).tolist())
            for place, row in enumerate(meta)
            if row["step"] == step_s and row["ds"] != "leak"
        ]


def policies() -> list[Policy]:
    """Return the shipped times of a threshold, and what they are compared with."""
    lines = THRESHOLDS["responseTime"]
    shipped = Rule(
        "noise",
        "noise",
        "responseTime",
        lines=(0.0, None),
        for_s=(lines.for_s, lines.critical_for_s),
        keep_firing_s=lines.keep_firing_s,
        group_by=(),
        min_requests=0,
    )
    return [
        Policy("as shipped", shipped),
        Policy("at once, cooldown 5 min", replace(shipped, for_s=(0, 0), keep_firing_s=0,
                                                  cooldown_s=300)),
        Policy("for 10 min, ends at once", replace(shipped, for_s=(600, 600), keep_firing_s=0)),
    ]  # fmt: skip


def noise(rule: Rule, every: Sequence[Series]) -> Noise:
    """Return what a rule does on series, each with the same weight."""
    weekly, found = [], Counter[str]()
    delays: list[float] = []
    for series in every:
        line = float(np.quantile(series.values, 0.99))
        told, fires = _run(replace(rule, lines=(line, None)), series)
        episodes = list(_runs(series.values, line))
        real = [(begin, end) for begin, end in episodes if end - begin >= 2]
        weekly.append(told / (len(series.values) * series.step_s) * _WEEK_S)
        found["fires"] += len(fires)
        found["episodes"] += len(real)
        for begin, end in real:
            # An alert that was already firing covers an episode, too.
            reached = [(fired, over) for fired, over in fires if fired < end and over > begin]
            if reached:
                found["caught"] += 1
                delays.append(max(0, reached[0][0] - begin) * series.step_s / 60)
        blips = {begin for begin, end in episodes if end - begin == 1}
        found["blips"] += sum(fired in blips for fired, _ in fires)
    return Noise(
        float(np.mean(weekly)),
        found["episodes"],
        found["caught"] / max(1, found["episodes"]),
        found["fires"] / max(1, found["episodes"]),
        float(np.mean(delays)) if delays else 0.0,
        found["blips"] / max(1, found["fires"]),
    )


def _run(rule: Rule, series: Series) -> tuple[int, list[tuple[int, int]]]:
    """Return how many messages were told, and the (first, end) samples in which an alert fired."""
    judge, told = Judge(), 0
    fires: list[tuple[int, int]] = []
    fired: int | None = None
    for place, value in enumerate(series.values):
        values = Values((), [()], np.array([value]))
        outcome = judge.step((place + 1) * series.step_s, series.step_s, [Judged(rule, values)])
        told += len(outcome.tellings)
        is_open = bool(judge.open_alerts())
        if is_open and fired is None:
            fired = place
        elif not is_open and fired is not None:
            fires.append((fired, place))
            fired = None
    if fired is not None:
        fires.append((fired, len(series.values)))
    return told, fires


def _runs(values: Sequence[float], line: float) -> Iterator[tuple[int, int]]:
    begin: int | None = None
    for place, value in enumerate((*values, float("-inf"))):
        if value > line and begin is None:
            begin = place
        elif value <= line and begin is not None:
            yield begin, place
            begin = None
