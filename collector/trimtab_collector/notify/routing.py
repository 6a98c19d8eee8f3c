"""Which channels a notice goes to, and how much of it is kept."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Final

from trimtab_collector.checkedrows import CheckedConnection
from trimtab_collector.notify.channels import LIVE, ChannelEntry
from trimtab_collector.notify.kinds import KINDS
from trimtab_collector.notify.notice import Change, Member, Notice, Where, is_address
from trimtab_collector.notify.smtp import MAX_ADDRESSES
from trimtab_core.errors import SettingsError

__all__ = ["ChannelRoute", "bounded", "routes"]

_MAX_MEMBERS: Final = 50
_MAX_CHANGES: Final = 20
_MAX_LINKS: Final = 20
_MAX_RECIPIENTS: Final = 100
_MAX_NAME: Final = 300
_MAX_DESCRIPTION: Final = 4000
_MAX_PATH: Final = 1200


@dataclass(frozen=True, slots=True)
class ChannelRoute:
    """One row of the outbox that a notice becomes."""

    channel: str
    #: mail addresses instead of those of the channel
    addresses: tuple[str, ...] = ()
    state: str = "pending"
    #: why it cannot be sent
    trouble: str = ""


def routes(
    connection: CheckedConnection, channels: Sequence[ChannelEntry], notice: Notice
) -> Iterator[ChannelRoute]:
    """Yield where a notice goes.

    The channels that are on by default take the place of recipients that lead nowhere; those are
    dead letters where there is no such channel, for all to see.
    """
    found = list(_routes(connection, channels, notice))
    yield from found
    if any(route.state == "pending" for route in found):
        return
    for name in sorted(each for each in notice.lost_recipients if "@" not in each):
        yield ChannelRoute(
            name, state="dead", trouble=f"expected a channel, got {name!r}: none has it"
        )
    if any("@" in each for each in notice.lost_recipients):
        kinds = [kind for kind, row in KINDS.items() if row.takes_addresses]
        trouble = f"expected a channel of kind {' or '.join(kinds)} for mail addresses, got none"
        yield ChannelRoute(kinds[0], state="dead", trouble=trouble)


def _routes(
    connection: CheckedConnection, channels: Sequence[ChannelEntry], notice: Notice
) -> Iterator[ChannelRoute]:
    named = {each for each in notice.recipients if "@" not in each} - {LIVE}
    addresses = tuple(dict.fromkeys(each for each in notice.recipients if "@" in each))
    mail = _mail_channel(channels, named) if addresses else None
    by_default = not notice.recipients or bool(notice.lost_recipients)
    for entry in channels:
        try:
            settings = entry.settings
        except SettingsError as error:
            if entry.name in named or by_default:
                yield ChannelRoute(entry.name, state="dead", trouble=str(error))
            continue
        asked = entry.name in named or (by_default and settings.default)
        if not asked and entry is not mail:
            continue
        if not _wanted(connection, entry.name, settings.severity, notice):
            continue
        own = settings.addresses if asked else ()
        extra = addresses if entry is mail else ()
        to = tuple(dict.fromkeys((*own, *extra)))[:MAX_ADDRESSES] if extra else ()
        wrong = [each for each in extra if not is_address(each)]
        if not settings.enabled:
            if entry.name in named or entry is mail:
                yield ChannelRoute(entry.name, to, "skipped", "the channel is switched off")
        elif wrong:
            yield ChannelRoute(
                entry.name, to, "dead", f"expected mail addresses, got {wrong[0]!r:.80}"
            )
        else:
            yield ChannelRoute(entry.name, to)


def _mail_channel(channels: Sequence[ChannelEntry], named: set[str]) -> ChannelEntry | None:
    """Return the channel that sends to addresses: a named one, else one that is on by default."""

    def rank(entry: ChannelEntry) -> tuple[bool, bool, bool, str]:
        named_not = entry.name not in named
        return named_not, not entry.enabled, not entry.value("default"), entry.name

    return min((each for each in channels if each.takes_addresses), key=rank, default=None)


def _wanted(connection: CheckedConnection, channel: str, severity: str, notice: Notice) -> bool:
    """Return whether a channel takes a severity, or had something of this alert already."""
    if severity == "warning" or notice.severity == "critical":
        return True
    found = connection.execute(
        "SELECT 1 FROM standing WHERE channel = ? AND thread = ? UNION ALL"
        " SELECT 1 FROM delivery WHERE state = 'pending' AND channel = ? AND thread = ? LIMIT 1",
        (channel, notice.thread, channel, notice.thread),
    ).fetchone()
    return found is not None


def bounded(notice: Notice) -> Notice:
    """Return a notice with no more of anything than is kept."""
    left_out = len(notice.members[_MAX_MEMBERS:])
    return replace(
        notice,
        key=_cut(notice.key),
        thread=_cut(notice.thread),
        rule_id=_cut(notice.rule_id),
        rule_name=_cut(notice.rule_name),
        metric=_cut(notice.metric),
        unit=_cut(notice.unit),
        where=_where(notice.where),
        members=tuple(map(_member, notice.members[:_MAX_MEMBERS])),
        members_left_out=notice.members_left_out + left_out,
        changes=tuple(map(_change, notice.changes[:_MAX_CHANGES])),
        description=_cut(notice.description, _MAX_DESCRIPTION),
        recipients=tuple(map(_cut, notice.recipients[:_MAX_RECIPIENTS])),
        lost_recipients=tuple(map(_cut, notice.lost_recipients[:_MAX_RECIPIENTS])),
        links=tuple((_cut(a), _cut(b, _MAX_PATH)) for a, b in notice.links[:_MAX_LINKS]),
    )


def _cut(text: str, most: int = _MAX_NAME) -> str:
    # Half of a pair of surrogates is no text that could be sent, or kept.
    return text[:most].encode("utf-8", "replace").decode()


def _where(where: Where) -> Where:
    return Where(*map(_cut, astuple(where)))


def _member(member: Member) -> Member:
    return replace(member, where=_where(member.where))


def _change(change: Change) -> Change:
    return replace(
        change,
        name=_cut(change.name),
        detail=_cut(change.detail),
        mark=_cut(change.mark),
        environment=_cut(change.environment),
        service=_cut(change.service),
    )
