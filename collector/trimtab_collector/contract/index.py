"""What there is in the API."""

from trimtab_collector.contract.body import Body

__all__ = ["ApiIndex", "IndexEntry"]


class IndexEntry(Body, kw_only=True):
    """One thing that can be asked: where, what role it takes, and what it answers."""

    method: str
    path: str
    #: anyone, planner or admin
    role: str
    summary: str


class ApiIndex(Body, kw_only=True):
    """Every path of the API, and where its OpenAPI document is."""

    name: str
    version: str
    document: str
    endpoints: list[IndexEntry]
