"""Processes that are odd answer every request as without trimtab, and hear one line of it at most.

What is odd, and the app that is served there, is in `support/apps/odd.py`.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.apps.odd import ODD
from support.processes.peer import Peer, running_peer
from support.processes.servers import clean_environment

TESTS = Path(__file__).parents[1]
#: where the thread that sends cannot be started
WITHOUT_THREAD = {"no_files", "no_threads"}


def serve(kind: str, how: str, peer: Peer, *options: str) -> tuple[dict[str, Any], list[str]]:
    """Run an odd process; return what it told, and the lines on its standard error."""
    environ = clean_environment() | {"TRIMTAB_AGENT": peer.address, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(
        [sys.executable, *options, "-m", "support.apps.odd", kind, how],
        capture_output=True, text=True, check=False, timeout=60, env=environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told, done.stderr.splitlines()


@pytest.mark.parametrize("how", ["measured", "running"])
@pytest.mark.parametrize("kind", ["ordinary", *ODD])
def test_an_odd_process_answers_as_it_does_unmeasured(kind: str, how: str) -> None:
    with running_peer() as peer:
        bare, bare_lines = serve(kind, "bare", peer)
        told, lines = serve(kind, how, peer)
    assert told["answers"] == bare["answers"]
    said = [line for line in lines if line not in bare_lines]
    assert len(said) <= 1, lines
    assert all(line.startswith("trimtab: ") for line in said), lines
    assert told["dropped"] == told["in_flight"] == 0
    if kind in WITHOUT_THREAD and how == "measured":
        assert told["threads"] == ["MainThread"]
        assert said
    else:
        assert "trimtab-emitter" in told["threads"]
        assert told["sent"] >= len(told["answers"])


def test_no_warning_is_an_error_from_the_first_import_to_the_end() -> None:
    with running_peer() as peer:
        told, lines = serve("strict_warnings", "measured", peer, "-W", "error", "-X", "dev")
    assert told["sent"]
    assert [line for line in lines if "trimtab" in line] == []
