"""Commands killed at a chosen call to the system, by strace, for tests of what is left then."""

import shutil
import subprocess
from collections.abc import Sequence

from support.lacking import lack
from support.processes.servers import clean_environment

__all__ = ["calls_of", "killed_at"]


def _traced(options: Sequence[str], command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    if shutil.which("strace") is None:
        lack("strace is needed to kill a process at a chosen call")
    done = subprocess.run(
        ["strace", "-f", "-qq", *options, *command],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if "ptrace" in done.stderr:
        lack(f"strace may not trace here: {done.stderr[:200]}")
    return done


def killed_at(call: str, when: int, command: Sequence[str]) -> bool:
    """Run a command and kill it as it enters a call for the when-th time; False when it did not.

    A command that is not killed must succeed.
    """
    inject = f"inject={call}:signal=KILL:when={when}"
    options = ["-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
    done = _traced(options, command)
    if done.returncode == -9 or done.returncode == 137:
        return True
    assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr}"
    return False


def calls_of(calls: Sequence[str], command: Sequence[str]) -> list[str]:
    """Return the names of the calls that a command makes, of some, in order."""
    done = _traced(["-o", "/dev/stderr", "-e", f"trace={','.join(calls)}"], command)
    assert done.returncode == 0, done.stderr
    words = [line.split(maxsplit=1)[-1] for line in done.stderr.splitlines()]
    return [word.partition("(")[0] for word in words if word.startswith(tuple(calls))]
