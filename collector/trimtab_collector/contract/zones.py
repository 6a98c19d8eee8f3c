"""Time zones by their names: the one place that knows where they come from.

The table of the machine comes first, since its operator keeps it up to date. What it lacks comes
from the package `tzdata`: slim images have no table at all, and several systems install the older
names (Asia/Calcutta, Europe/Kiev), which browsers still report, apart from the others.
"""

from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

__all__ = ["ZONE_EXPECTED", "zone_of"]

#: what a refusal says was expected
ZONE_EXPECTED = "a time zone such as Europe/Berlin"


def zone_of(name: str) -> tzinfo:
    """Return the time zone of an IANA name; raises LookupError when there is none."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError) as error:
        # A name that is none of a file, or that of a folder, such as Asia.
        raise LookupError(name) from error
