"""What loops of the agent caught and did not expect: counted by loop, and logged. Loop only."""

import logging
import traceback
from collections import Counter

from trimtab_core.logs import RateLimited

__all__ = ["Faults"]


class Faults:
    """Each loop ends in one `except Exception`, tells this, and goes on."""

    def __init__(self) -> None:
        #: faults since the start, by loop
        self.by_loop: Counter[str] = Counter()
        self._log = RateLimited(logging.getLogger("trimtab.faults"))

    def note(self, loop: str) -> None:
        """Note the exception that is being handled."""
        self.by_loop[loop] += 1
        self._log.warning(loop, "%s raised, and goes on:\n%s", loop, traceback.format_exc())
