"""The cases that both writers of quantities are held to: the collector's and the page's."""

import json
from pathlib import Path
from typing import Any, Final

__all__ = ["KINDS", "cases"]

KINDS: Final = ("written", "beside", "change", "duration")
_FILE: Final = Path(__file__).resolve().parents[1] / "data" / "quantities.json"


def cases(kind: str) -> list[dict[str, Any]]:
    """Return the cases of a kind: `value`, `unit` and `line` where it has them, and each text."""
    found: list[dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))[kind]
    return found
