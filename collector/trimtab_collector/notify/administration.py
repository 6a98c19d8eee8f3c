"""What the API asks for of channels: list, make, change, remove, test."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from trimtab_collector.contract.alertconfigs import Removed
from trimtab_collector.contract.body import wire_name
from trimtab_collector.contract.channels import (
    CHANNEL,
    ChannelBody,
    ChannelFailing,
    ChannelList,
    ChannelTest,
    SettingValue,
)
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.parameters import Parameters
from trimtab_collector.notify.channels import ChannelBook, ChannelEntry, parse_channel
from trimtab_collector.notify.log import DeliveryLog
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.sender import Sender
from trimtab_core.errors import SettingsError

__all__ = [
    "ChannelDesk",
    "add_channel",
    "change_channel",
    "channels",
    "one_channel",
    "remove_channel",
    "test_channel",
]

#: what an answer shows of a secret; sent back, it changes nothing
_SET: Final = "set"
#: settings that say where a secret goes: with another one it must be given again
_PLACES: Final = ("url", "host", "port", "security")


@dataclass(frozen=True, slots=True)
class ChannelDesk:
    """The channels, what they may send to, and how that went."""

    book: ChannelBook
    outbound: Outbound
    log: DeliveryLog


def channels(desk: ChannelDesk, _parameters: Parameters) -> ChannelList:
    """Return all channels, without their secrets."""
    failing = desk.log.failing(time.time())
    return ChannelList(channels=[_body(desk, entry, failing) for entry in desk.book.all()])


def one_channel(desk: ChannelDesk, parameters: Parameters) -> ChannelBody:
    """Return one channel, without its secrets."""
    return _body(desk, _found(desk.book, parameters[CHANNEL]))


def add_channel(desk: ChannelDesk, parameters: Parameters) -> ChannelBody:
    """Make a channel."""
    book, new = desk.book, parameters.body
    if book.get(new.name) is not None:
        raise ApiError(
            409,
            "name_taken",
            f"expected a new name, got {new.name!r:.80}: change that channel by PUT, or remove it",
        )
    entry = _parsed(new.name, {"kind": new.kind, **_snake(new.settings)})
    _put(desk, entry, parameters)
    return _body(desk, entry)


def change_channel(desk: ChannelDesk, parameters: Parameters) -> ChannelBody:
    """Replace the settings of a channel; secrets that are left out stay as they are."""
    before = _own(desk.book, parameters[CHANNEL])
    values = _snake(parameters.body.settings)
    entry = _parsed(before.name, {"kind": before.kind, **_with_secrets(before, values)})
    _put(desk, entry, parameters)
    return _body(desk, entry)


def remove_channel(desk: ChannelDesk, parameters: Parameters) -> Removed:
    """Remove a channel; what it has pending is given up."""
    entry = _own(desk.book, parameters[CHANNEL])
    desk.book.remove(entry.name, parameters.caller)
    return Removed(id=entry.name)


async def test_channel(sender: Sender, parameters: Parameters) -> ChannelTest:
    """Send a test message by a channel now, and return whether it was delivered."""
    entry = await sender.find(parameters[CHANNEL])
    if entry is None:
        raise _unknown(parameters[CHANNEL])
    begun = time.monotonic()
    delivered, error = await sender.test(entry)
    spent_ms = (time.monotonic() - begun) * 1000
    return ChannelTest(delivered=delivered, error=error or None, milliseconds=round(spent_ms, 1))


def _found(book: ChannelBook, name: str) -> ChannelEntry:
    entry = book.get(name)
    if entry is None:
        raise _unknown(name)
    return entry


def _unknown(name: str) -> ApiError:
    return ApiError(404, "not_found", f"expected the name of a channel, got {name!r:.80}")


def _own(book: ChannelBook, name: str) -> ChannelEntry:
    """Return a channel that the API may change."""
    entry = _found(book, name)
    if entry.origin == "file":
        raise ApiError(
            409, "read_only", f"channel {name!r:.80} is set in alerts.toml: change it there"
        )
    return entry


def _parsed(name: str, table: Mapping[str, Any]) -> ChannelEntry:
    try:
        return parse_channel(name, table, origin="api")
    except SettingsError as error:
        raise ApiError(422, "bad_channel", str(error)) from error


def _put(desk: ChannelDesk, entry: ChannelEntry, parameters: Parameters) -> None:
    obstacle = entry.settings.obstacle(desk.outbound) if entry.enabled else ""
    if obstacle:
        raise ApiError(422, "bad_channel", f"channel {entry.name!r:.80}: {obstacle}")
    try:
        desk.book.put(entry, parameters.caller)
    except SettingsError as error:
        raise ApiError(409, "too_many", str(error)) from error


def _with_secrets(before: ChannelEntry, values: dict[str, Any]) -> dict[str, Any]:
    """Return settings with the secrets that were left out, or sent back as they were shown.

    A secret never goes to a place that whoever set it did not name: then it is asked for again.
    """
    kept = {
        name: before.values[name]
        for name, secret in before.secrets.items()
        if secret and values.get(name, _SET) == _SET and name in before.values
    }
    moved = [name for name in _PLACES if name not in kept and _differs(before, values, name)]
    lost = [name for name in kept if name != "url"] if moved else []
    if lost:
        raise ApiError(
            422,
            "bad_channel",
            f"{moved[0]}: expected {' and '.join(lost)} with it, got none: a secret that was set "
            "for one place is not sent to another",
        )
    return {name: value for name, value in values.items() if name not in kept} | kept


def _differs(before: ChannelEntry, values: Mapping[str, Any], name: str) -> bool:
    return bool(before.value(name) != values.get(name, before.defaults.get(name)))


def _body(
    desk: ChannelDesk, entry: ChannelEntry, failing: Mapping[str, ChannelFailing] | None = None
) -> ChannelBody:
    if failing is None:
        failing = desk.log.failing(time.time())
    try:
        target = entry.settings.target
        trouble = entry.settings.obstacle(desk.outbound) or None
    except SettingsError as error:
        target, trouble = "", str(error)
    settings: dict[str, SettingValue] = {
        wire_name(name): list(value) if isinstance(value, tuple) else value
        for name, value in entry.shown().items()
    }
    return ChannelBody(
        name=entry.name,
        kind=entry.kind,
        origin=entry.origin,
        target=target,
        settings=settings,
        trouble=trouble,
        failing=failing.get(entry.name),
    )


def _snake(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        re.sub(r"[A-Z]", lambda found: "_" + found[0].lower(), name): value
        for name, value in settings.items()
    }
