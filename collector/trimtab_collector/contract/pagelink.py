"""A link to a page of the dashboard, as answers and messages have it."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlencode

from msgspec import field

from trimtab_collector.contract.body import Body
from trimtab_core.addresses import DASHBOARD

__all__ = ["LINKED", "OVERVIEW", "RANGE", "PageLink", "address_of"]

#: the page that is shown first; its address has no name
OVERVIEW: Final = "overview"
_OWNER: Final = ("environment", "service")
_PLACE: Final = (*_OWNER, "version", "instance")
#: what every page reads
RANGE: Final = ("from", "to")
#: page that links lead to -> what it reads from its address besides; the page's own sources agree
LINKED: Final[Mapping[str, tuple[str, ...]]] = {
    OVERVIEW: ("environment",),
    "service": _PLACE,
    "route": (*_PLACE, "route", "method"),
    "requests": (*_PLACE, "route", "method", "reason", "trace"),
    "databases": (*_OWNER, "query"),
    "metrics": (*_OWNER, "name"),
    "hosts": ("environment", "instance"),
    "agents": ("agent",),
    "alerts": (*_OWNER, "tab"),
    "alert": ("id",),
    "rule": ("id",),
    "thresholds": ("metric",),
    "objectives": _OWNER,
    "advice": _OWNER,
}


class PageLink(Body, kw_only=True):
    """A page of the dashboard, such as `service`, and the parameters in its address.

    Raises ValueError for a page that no link leads to, and a parameter that the page does not read:
    the link would open and show something else than it says.
    """

    page: str
    params: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.page not in LINKED:
            raise ValueError(f"expected a page of {sorted(LINKED)}, got {self.page!r}")
        read = (*LINKED[self.page], *RANGE)
        unread = self.params.keys() - set(read)
        if unread:
            raise ValueError(f"the page {self.page} reads {read}, got {sorted(unread)}")


def address_of(link: PageLink, base_url: str = "") -> str:
    """Return where a page is, below the collector's own address if that is known."""
    path = DASHBOARD if link.page == OVERVIEW else f"{DASHBOARD}/{link.page}"
    query = urlencode(link.params, quote_via=quote)
    return base_url.rstrip("/") + path + (f"?{query}" if query else "")
