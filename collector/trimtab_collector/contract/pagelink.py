"""A link to a page of the dashboard, as answers and messages have it."""

from typing import Final
from urllib.parse import quote, urlencode

from msgspec import field

from trimtab_collector.contract.body import Body
from trimtab_core.addresses import DASHBOARD

__all__ = ["OVERVIEW", "PageLink", "address_of"]

#: the page that is shown first; its address has no name
OVERVIEW: Final = "overview"


class PageLink(Body, kw_only=True):
    """A page of the dashboard, such as `service`, and the parameters in its address."""

    page: str
    params: dict[str, str] = field(default_factory=dict)


def address_of(link: PageLink, base_url: str = "") -> str:
    """Return where a page is, below the collector's own address if that is known."""
    path = DASHBOARD if link.page == OVERVIEW else f"{DASHBOARD}/{link.page}"
    query = urlencode(link.params, quote_via=quote)
    return base_url.rstrip("/") + path + (f"?{query}" if query else "")
