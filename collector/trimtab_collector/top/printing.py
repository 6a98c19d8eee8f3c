"""Lines of rich text as text for a terminal, a file or a pipe; writes nothing itself."""

import sys
import time
from collections.abc import Callable
from typing import Final

from rich.console import Console
from rich.text import Text

from trimtab_collector.top.drawing import Surroundings, page
from trimtab_collector.top.state import TopState

__all__ = ["page_lines", "painter", "shows_unicode"]

#: characters of ours that ASCII lacks
_PLAINER: Final = str.maketrans(
    {"\N{EN DASH}": "-", "\N{MINUS SIGN}": "-", "\N{HORIZONTAL ELLIPSIS}": "."}
)


def shows_unicode() -> bool:
    """Return whether standard output takes more than ASCII."""
    return (sys.stdout.encoding or "").lower().startswith("utf")


def painter() -> Callable[[Text], str]:
    """Return what makes a line of a text, in the colours that standard output has.

    NO_COLOR leaves bold and reverse; where output is no terminal, there is no control code.
    """
    console = Console(markup=False, highlight=False, emoji=False)
    encoding = sys.stdout.encoding or "ascii"
    unicode = shows_unicode()

    def paint(line: Text) -> str:
        with console.capture() as captured:
            console.print(line, end="", soft_wrap=True)
        text = captured.get()
        text = text if unicode else text.translate(_PLAINER)
        return text.encode(encoding, "replace").decode(encoding)

    return paint


def page_lines(state: TopState, address: str) -> list[str]:
    """Return one frame as lines that need as much room as they need."""
    clock = time.strftime("%H:%M:%S")
    around = Surroundings(address, clock, 0.0, 1.0, ascii=not shows_unicode())
    paint = painter()
    return [paint(line) for line in page(state, around)]
