"""The page writes quantities as the collector does: its own code, run by node."""

import json
import shutil
import subprocess
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest

from support.lacking import lack
from support.quantitycases import KINDS, cases
from support.stores.alertworld import add, alert_world
from trimtab_collector.contract.alerts import AlertBody
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.notice import Notice
from trimtab_collector.notify.texts import Texts

PAGE: Final = Path(__file__).resolve().parents[2] / "collector" / "dashboard" / "src"
_SCRIPT: Final = """
import { readFileSync } from "node:fs";
const { page, language, asked } = JSON.parse(readFileSync(0, "utf-8"));
const { CLOCK, zoned } = await import(`${page}/clocks.js`);
const { Quantities } = await import(`${page}/quantities.js`);
const words = JSON.parse(readFileSync(`${page}/words/${language}/parts.json`, "utf-8"));
const say = (name, values = {}) =>
  words[`unit.${name}`].replace(/\\{(\\w+)\\}/g, (whole, place) => values[place] ?? whole);
const shown = new Quantities(language, say);
const texts = asked.map(([name, ...values]) => {
  if (name === "clock") return zoned(language, ...values, CLOCK);
  const found = shown[name](...values);
  return typeof found === "string" ? found : `${found.text}|${found.unit}`;
});
process.stdout.write(JSON.stringify(texts));
"""


def written(language: str, asked: list[list[Any]]) -> list[str]:
    """Return what the page writes; asked are names of functions and what they are given."""
    node = shutil.which("node")
    if node is None:
        lack("node is not installed")
    done = subprocess.run(
        [node, "--no-warnings", "--input-type=module", "-e", _SCRIPT],
        input=json.dumps({"page": PAGE.as_posix(), "language": language, "asked": asked}),
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-800:]
    found: list[str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("language", ["en", "ko"])
def test_the_page_writes_quantities_as_messages_and_reports_do(language: str) -> None:
    every = [(kind, case) for kind in KINDS for case in cases(kind)]
    asked = [
        [kind, *(case[name] for name in ("value", "line", "unit") if name in case)]
        for kind, case in every
    ]
    found = zip(every, written(language, asked), strict=True)
    assert [(case, text) for (_, case), text in found if text != case[language]] == []


def test_the_unit_stands_apart_beside_a_figure() -> None:
    asked = [(0.9999, "ratio"), (90, "s"), (12, "perSecond"), (1234567, "bytes/s"), (3, "widgets")]
    figures: list[list[Any]] = [["figure", *each] for each in asked]
    assert written("en", figures) == ["99.99|%", "1 min 30|s", "12|/s", "1.23|MB/s", "3|widgets"]
    assert written("ko", figures) == ["99.99|%", "1분 30|초", "12|/s", "1.23|MB/s", "3|widgets"]


def test_labels_of_an_axis_stay_short() -> None:
    asked: list[list[Any]] = [
        ["short", *each] for each in ((90, "s"), (5400000, "ms"), (500, "ms"))
    ]
    assert written("en", asked) == ["1.5 min", "1.5 h", "500 ms"]


def fired(directory: Path) -> tuple[AlertBody, Notice]:
    """Return an alert a little above its line, whose time is far into a minute, and its notice."""
    with alert_world(directory) as world:
        world.clock.advance_s(20)
        add(world, "slow", metric="responseTime", threshold=5000, for_=20)
        world.pass_windows(2, 20)
        world.pass_windows(4, 5000.3)
        (alert,) = (each for each in world.book.open() if each.rule_id == "slow")
        (notice,) = (each for each in world.sink.taken if each.rule_id == "slow")
        return alert, notice


@pytest.mark.parametrize(("language", "apart"), [("en", "Now"), ("ko", "현재 값")])
def test_the_page_of_an_alert_and_a_mail_say_the_same(
    tmp_path: Path, language: str, apart: str
) -> None:
    alert, notice = fired(tmp_path)
    zone = "Asia/Seoul"
    facts = dict(
        Texts(language, ZoneInfo(zone), "").write(Message("k", (notice,), notice.at_s)).facts
    )
    since = alert.severity_since or alert.since
    # The minute is the one that has begun, however much of it has passed.
    assert datetime.fromisoformat(since).second >= 30
    value, line, clock = written(
        language,
        [
            ["beside", alert.value, alert.threshold, alert.unit],
            ["written", alert.threshold, alert.unit],
            ["clock", zone, since],
        ],
    )
    names = {"en": ("Threshold", "Since"), "ko": ("임계값", "시작")}[language]
    assert value != line
    assert [facts[apart], facts[names[0]]] == [value, line]
    assert facts[names[1]].split()[0] == clock
