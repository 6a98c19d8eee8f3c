"""Runs a command of the collector's console as a person does."""

import subprocess
import sys

from support.processes.servers import clean_environment

__all__ = ["run_command"]

#: as the console runs a subcommand, without asking which ones are installed
_RUN = """
import sys
from importlib.metadata import EntryPoint
from trimtab_core.console import _run
name = sys.argv[1].rpartition(":")[2]
point = EntryPoint(name, f"trimtab_collector.{sys.argv[1]}", "trimtab.commands")
sys.exit(_run(point, sys.argv[2:]))
"""


def run_command(point: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run an entry point such as `reports.cli:mark` with its words, and variables besides."""
    return subprocess.run(
        [sys.executable, "-c", _RUN, point, *words],
        env=clean_environment() | environ,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
