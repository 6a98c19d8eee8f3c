"""The page writes quantities as the collector does: its own code, run by node."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

from support.lacking import lack
from support.quantitycases import KINDS, cases

PAGE: Final = Path(__file__).resolve().parents[2] / "collector" / "dashboard" / "src"
_SCRIPT: Final = """
import { readFileSync } from "node:fs";
const { page, language, asked } = JSON.parse(readFileSync(0, "utf-8"));
const { Quantities } = await import(`${page}/quantities.js`);
const words = JSON.parse(readFileSync(`${page}/words/${language}/parts.json`, "utf-8"));
const say = (name, values = {}) =>
  words[`unit.${name}`].replace(/\\{(\\w+)\\}/g, (whole, place) => values[place] ?? whole);
const shown = new Quantities(language, say);
const texts = asked.map(([name, ...values]) => {
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
