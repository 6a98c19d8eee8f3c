"""Time in a proxy's queue, from X-Request-Start or X-Queue-Start.

A proxy sets the header on each request or on none. Looking through the headers costs 0.3 us, so a
process looks at its first LOOKS requests and then at one per send interval; once one has carried
the header, it looks at every request from then on.
"""

from time import time
from typing import Final

__all__ = ["FOREVER", "LOOKS", "look_for_queue", "queue_time_us"]

#: Requests of a process that are looked at in any case.
LOOKS: Final = 1000
#: More requests than a process will see.
FOREVER: Final = 1 << 60
#: Older values are a clock that is wrong, not a queue.
_STALE_S: Final = 3600
_NAMES: Final = {b"x-request-start", b"x-queue-start"}


def look_for_queue(headers: object) -> int:
    """Return us in a queue, 0 when the header is there but useless, -1 when it is missing."""
    # Anything else may be an iterator that the app has yet to go through.
    if type(headers) is not list and type(headers) is not tuple:
        return -1
    try:
        for name, value in headers:
            if name in _NAMES:
                return max(0, queue_time_us(value))
    except Exception:  # noqa: BLE001, S110 - malformed headers are the app's to refuse
        pass
    return -1


def queue_time_us(value: bytes | str) -> int:
    """Return us since the time in the header, -1 when the value is useless.

    Accepts `t=` before it, and seconds, ms, us or ns since the epoch, told apart by their size.
    A time in the future counts as no wait up to a second (two clocks), and as useless beyond.
    """
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    try:
        stamp = float(text.strip().removeprefix("t="))
    except (ValueError, AttributeError):
        return -1
    for scale in (1.0, 1e3, 1e6, 1e9):
        seconds = stamp / scale
        if 1e9 <= seconds < 1e10:
            waited = time() - seconds
            return max(0, int(waited * 1e6)) if -1 <= waited <= _STALE_S else -1
    return -1
