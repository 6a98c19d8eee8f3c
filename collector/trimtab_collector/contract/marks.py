"""Marks: moments that charts, alerts and reports carry, such as deploys."""

from typing import Annotated, Final

from msgspec import Meta

from trimtab_collector.contract.body import Body, RangeBody
from trimtab_collector.contract.kinds import Filter, PathName

__all__ = ["DEPLOY", "KIND", "MARK_ID", "MarkBody", "MarkList", "NewMark"]

#: the kind of marks that new versions make by themselves
DEPLOY: Final = "deploy"
MARK_ID: Final = PathName("id", "The id of a mark.")
KIND: Final = Filter("kind", "Only marks of this kind, such as deploy.")


class NewMark(Body, kw_only=True, forbid_unknown_fields=True):
    """A mark to set: of one service, of an environment, or of everything."""

    #: what happened, in a few words; of a deploy the version
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    kind: Annotated[str, Meta(pattern="^[a-z][a-z0-9-]{0,39}$")] = "note"
    environment: Annotated[str, Meta(max_length=256)] = ""
    service: Annotated[str, Meta(max_length=256)] = ""
    #: as `from` of a read; without it, now
    at: Annotated[str, Meta(max_length=40)] = ""
    detail: Annotated[str, Meta(max_length=2000)] = ""


class MarkBody(Body, kw_only=True):
    """One moment. Without environment or service it is one of everything."""

    id: int
    kind: str
    name: str
    environment: str
    service: str
    at: str
    #: who set it; null for a version that showed up by itself
    by: str | None
    detail: str


class MarkList(RangeBody, kw_only=True):
    """The marks of a range, the latest first."""

    marks: list[MarkBody]
    marks_left_out: int
