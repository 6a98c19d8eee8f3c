"""Judging: what rules, previews and live clients cost, and how much noise the shipped rules make.

`--series FILE` names the series for the rows of noise (see `judge_noise`); without it they are not
measured, and say so.
"""

import argparse
from pathlib import Path
from typing import Final

import harness
import judge_live
import judge_logins
import judge_noise
import judge_rules

MESSAGES: Final = 3.3
CAUGHT: Final = 0.95


def main() -> None:
    def more(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--series", metavar="FILE", help="series for the rows of noise (.npz)")

    options = harness.arguments(__doc__, more)
    rounds = options.rounds or (2 if options.quick else 11)
    rows = judge_rules.rule_rows(rounds, quick=options.quick)
    rows += judge_rules.preview_rows(max(2, rounds // 2), quick=options.quick)
    rows += judge_logins.login_rows(options.rounds, quick=options.quick)
    rows += judge_live.deaf_rows(quick=options.quick)
    rows += judge_live.alert_rows(quick=options.quick)
    rows += noise_rows(options.series)
    versions = harness.packages("numpy", "msgspec", "python-socketio")
    harness.report("judge", rows, options.json, versions)


def noise_rows(file: str | None) -> list[harness.Row]:
    """Return messages and episodes of the shipped times, beside other policies."""
    if file is None:
        note = "no series were given: --series FILE"
        return [harness.Row("messages a series and week", None, "", f"<= {MESSAGES:g}", note=note)]
    series = judge_noise.series_of(Path(file))
    found = {each.name: judge_noise.noise(each.rule, series) for each in judge_noise.policies()}
    own = found.pop("as shipped")
    note = (
        f"{len(series)} series of 5-minute samples, the line at their 99 %; {own.episodes} real "
        f"episodes, {own.fires_per_episode:.2f} alerts each, after {own.delay_min:.1f} min"
    )
    return [
        harness.Row(
            "messages a series and week",
            own.messages_per_week,
            "",
            f"<= {MESSAGES:g}",
            own.messages_per_week <= MESSAGES,
            {name: each.messages_per_week for name, each in found.items()},
            note=note,
        ),
        harness.Row(
            "real episodes that are caught",
            own.caught,
            "share",
            f">= {CAUGHT:g}",
            own.caught >= CAUGHT,
            {name: each.caught for name, each in found.items()},
        ),
    ]


if __name__ == "__main__":
    main()
