"""Times that people type: the page reads them as the API does."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from support.lacking import lack
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.kinds import Instant, Moment
from trimtab_collector.contract.zones import zone_of

_SOURCE = Path(__file__).resolve().parents[2] / "collector/dashboard/src/localtime.js"
_READ = """
const { momentOf } = await import(process.argv[1]);
const { texts, zone, now } = JSON.parse(process.argv[2]);
console.log(JSON.stringify(texts.map((text) => momentOf(text, now, zone))));
"""
NOW_S = 1_790_000_000
TEXTS = (
    "now", "-15m", "-1h30m", "-2w", "-1.5h", "-0s", "-15", "-1x", "15m", "--1h", "1764460800",
    "1764460800.5", "0", "20261130", "4294967295", "99999999999999", "1e9", "+5", "2026-11-30",
    "2026-11-30T14", "2026-11-30T14:00", "2026-11-30T14:00:07.250", "2026-11-30 14:00",
    "2026-11-30T14:00Z", "2026-11-30T14:00+09:00", "2026-11-30T14:00-0330",
    "2026-11-30 14:00+05:30", "2026-13-01", "2026-02-30", "2026-11-30T24:00", "2026-11-30T14:60",
    "2026-11-30T", "tomorrow",
    # Twice, never, and around them, where clocks are changed.
    "2026-10-25T01:59", "2026-10-25T02:30", "2026-10-25T03:00", "2026-03-29T02:30",
    "2026-03-29T03:00", "2026-11-01T01:30", "2026-03-08T02:30", "2026-10-04T02:15",
    "2026-04-05T01:45", "2011-12-30T12:00", "1969-12-31T23:00", "1970-01-01",
    "2106-02-07T06:28:14Z", "2107-01-01",
)  # fmt: skip


def _api(text: str, zone: str) -> float | None:
    try:
        found = Instant("from", "").read(text, Moment(NOW_S, zone_of(zone)))
    except ApiError:
        return None
    return None if found is None else round(found * 1000, 3)


@pytest.mark.parametrize(
    "zone",
    [
        *("UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"),
        *("Australia/Lord_Howe", "Pacific/Apia"),
    ],
)
def test_the_page_reads_times_as_the_api_does(zone: str) -> None:
    if shutil.which("node") is None:
        lack("node is not installed")
    asked = json.dumps({"texts": TEXTS, "zone": zone, "now": NOW_S * 1000})
    command = ["node", "--input-type=module", "-e", _READ, _SOURCE.as_uri(), asked]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    found = dict(zip(TEXTS, json.loads(done.stdout), strict=True))
    assert found == {text: _api(text, zone) for text in TEXTS}
