"""What bodies of requests hold while they are being read: bounded for all, and for each sender."""

from collections import Counter

__all__ = ["ReadingBudget"]


class ReadingBudget:
    """Bytes of bodies that have not come as a whole; one sender has a part of them; loop only.

    Bodies that never end are held until their time is over, so that whoever could fill all of it
    would keep everybody else out.
    """

    def __init__(self, most_bytes: int, senders: int, body_bytes: int) -> None:
        """Allow most_bytes for all, of which one sender has one in so many parts.

        A body of body_bytes always fits, else it could never be read.
        """
        self._most_bytes = max(most_bytes, body_bytes)
        self._share_bytes = max(most_bytes // senders, body_bytes)
        self._held: Counter[str] = Counter()
        self._all_bytes = 0

    def take(self, sender: str, size: int) -> bool:
        """Count bytes that have come; False when they are too many, which counts them as well."""
        self._all_bytes += size
        self._held[sender] += size
        return self._all_bytes <= self._most_bytes and self._held[sender] <= self._share_bytes

    def give(self, sender: str, size: int) -> None:
        """Take back what was counted: the body has come, or was given up."""
        self._all_bytes -= size
        self._held[sender] -= size
        if not self._held[sender]:
            del self._held[sender]
