"""Agent and collector in a terminal: SIGHUP reads settings again, a closed terminal ends them."""

import fcntl
import os
import pty
import signal
import subprocess
import termios
from pathlib import Path

import pytest

from support.processes.servers import clean_environment, free_port, trimtab, wait_for


def environment(tmp: Path) -> dict[str, str]:
    return clean_environment() | {
        "TRIMTAB_COLLECTOR_PORT": str(free_port()),
        "TRIMTAB_COLLECTOR_DATA_DIR": str(tmp / "c"),
        "TRIMTAB_AGENT_SOCKET": f"unix://{tmp}/a.sock",
        "TRIMTAB_AGENT_DATA_DIR": str(tmp / "a"),
        "TRIMTAB_AGENT_HTTP": f"127.0.0.1:{free_port()}",
    }


def read_until(terminal: int, text: bytes) -> None:
    """Read what the terminal shows until a text is in it."""
    shown = b""

    def found() -> bool:
        nonlocal shown
        shown += os.read(terminal, 65536)
        return text in shown

    wait_for(found, f"{text!r} on the terminal", 40)


@pytest.mark.parametrize("part", ["collector", "agent"])
def test_a_signal_reads_settings_again_and_a_closed_terminal_ends_in_order(
    tmp: Path, part: str
) -> None:
    outer, inner = pty.openpty()
    child = subprocess.Popen(
        trimtab(part),
        env=environment(tmp),
        stdin=inner,
        stdout=inner,
        stderr=inner,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    try:
        os.close(inner)
        read_until(outer, b"listening on")
        child.send_signal(signal.SIGHUP)
        read_until(outer, b"settings read again")
        os.close(outer)
        assert child.wait(20) == 0
    finally:
        child.kill()
        child.wait()
