"""The clients of docs/live.md run as they stand there."""

import os
import re
import sys
from pathlib import Path

import pytest

from support.processes.api import TOKEN
from support.processes.nodeclient import installed
from support.processes.servers import Collector, Proc

PAGE = Path(__file__).resolve().parents[2] / "docs" / "live.md"


def example(beginning: str) -> str:
    """Return the first code block of the page that begins so, without its indentation."""
    blocks = re.findall(
        r"(?:^    .*\n|^\n(?=    ))+", PAGE.read_text(encoding="utf-8"), re.MULTILINE
    )
    (found,) = [each for each in blocks if each.strip().startswith(beginning)]
    return re.sub(r"^    ", "", found, flags=re.MULTILINE)


@pytest.mark.parametrize("language", ["node", "python"])
def test_the_client_of_the_page_hears_updates(
    collector: Collector, tmp: Path, language: str
) -> None:
    if language == "node":
        # Its packages are found from where it lies.
        path = installed() / f"page-{os.getpid()}.mjs"
        text, command = example("import { io }"), ["node", str(path)]
    else:
        path = tmp / "page.py"
        text, command = example("import os"), [sys.executable, str(path)]
    path.write_text(text.replace("http://127.0.0.1:8620", collector.url), encoding="utf-8")
    try:
        with Proc("client", command, tmp, {"TRIMTAB_TOKEN": TOKEN}) as client:
            client.start()
            client.wait_line("Z 0" if language == "node" else "Z 0.0")
    finally:
        path.unlink()
