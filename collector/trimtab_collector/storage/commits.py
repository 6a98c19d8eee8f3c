"""How an engine tells listeners of new batches, the same for every engine."""

import logging
from collections.abc import Iterable, Sequence

from trimtab_collector.storage.store import CommitListener, Received

__all__ = ["tell"]

logger = logging.getLogger("trimtab.storage")


def tell(listeners: Iterable[CommitListener], new: Sequence[Received]) -> None:
    """Call each listener with new batches; what one raises is logged and stops nothing."""
    for listener in listeners:
        try:
            listener(new)
        except Exception:
            logger.exception("a listener of commits failed, the batches are kept")
