"""The demo's fault: everybody who listens hears of it, once each and in order."""

import sys
from pathlib import Path

from support.processes.servers import Proc


def test_a_slow_shop_is_told_by_live_stream_mail_and_webhook(tmp: Path) -> None:
    report = tmp / "report.html"
    # A few requests tell as well as many what is slow.
    words = ["--fault", "latency", "--check", "--report", str(report), "--rate", "40"]
    command = [sys.executable, "-m", "examples.demo", *words]
    with Proc("demo", command, tmp, {"TMPDIR": str(tmp)}) as run:
        code = run.start().wait_exit(timeout_s=330)
        said = run.output()
    assert code == 0, said + run.stderr.read_text()
    for place in ("live", "mail", "webhook"):
        lines = [line for line in said.splitlines() if line.startswith(f"demo: {place} ")]
        assert len(lines) == 3, lines
    assert "[critical] shop: response time p95" in said
    assert "a warning, a critical and a resolution came once each, in order" in said
    page = report.read_text()
    assert page.startswith("<!doctype html>")
    assert "<svg" in page
    assert "shop" in page
    # It is the report of today, so that the fault is in it.
    assert "Daily report (so far)" in page
    assert "No requests arrived." not in page
    assert "Shop is slow" in page
