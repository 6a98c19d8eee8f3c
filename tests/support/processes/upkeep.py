"""`trimtab collector backup`, `restore` and `check`, and what they answered."""

import json
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

from support.processes.servers import clean_environment, trimtab
from trimtab_core import console

__all__ = ["answered", "maintain", "maintain_beside"]


class Done(NamedTuple):
    """Exit code and output of a command."""

    code: int
    stdout: str
    stderr: str


def maintain(*words: str, code: int = 0) -> Done:
    """Run `trimtab collector ...` in this process and compare its exit code."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            ended = console.main(["collector", *words])
        except SystemExit as exit_:
            ended = int(exit_.code or 0)
    return _checked(words, code, Done(ended, out.getvalue(), err.getvalue()))


def maintain_beside(*words: str, code: int = 0) -> Done:
    """Do it in a process of its own, as an operator does beside a collector."""
    done = subprocess.run(
        trimtab("collector", *words),
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return _checked(words, code, Done(done.returncode, done.stdout, done.stderr))


def _checked(words: tuple[str, ...], code: int, done: Done) -> Done:
    assert done.code == code, f"{words} ended with {done.code}: {done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def answered(*words: str, code: int = 0, run: Callable[..., Done] = maintain) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*words, "--json", code=code).stdout)
    return found
