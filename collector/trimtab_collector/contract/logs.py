"""How the log files do."""

from trimtab_collector.contract.body import Body

__all__ = ["LogHealth"]


class LogHealth(Body, kw_only=True):
    """How the log files do; counts are of lines, since the start."""

    #: why lines are not written, null when they are
    trouble: str | None
    written: int
    #: that found no place in the queue or on the disk
    lost: int
    waiting: int
