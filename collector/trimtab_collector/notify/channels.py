"""The channels that there are: from the API and from `alerts.toml`, kept in `state.db`."""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trimtab_collector.auth.audit import AUDIT, note
from trimtab_collector.checkedrows import CheckedConnection, add_checksums
from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.channels import Recipients
from trimtab_collector.notify.heartbeat import HEARTBEAT
from trimtab_collector.notify.kinds import KINDS
from trimtab_collector.notify.options import ChannelSettings
from trimtab_collector.statefile import Schema, StateFile
from trimtab_core.config import from_table
from trimtab_core.errors import SettingsError

__all__ = ["LIVE", "MAX_CHANNELS", "ChannelBook", "ChannelEntry", "parse_channel"]

MAX_CHANNELS: Final = 100
#: the recipient of what is shown live and sent nowhere
LIVE: Final = "live"
_RESERVED: Final = (HEARTBEAT, LIVE)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_MAX_TEXT: Final = 2000
_MAX_SECRET_FILE: Final = 64 * 1024

_SCHEMA: Final = Schema(
    "channels",
    (
        """CREATE TABLE channel (
            name TEXT PRIMARY KEY,
            kind TEXT NOT NULL,
            origin TEXT NOT NULL,
            settings TEXT NOT NULL
        ) WITHOUT ROWID""",
        add_checksums("channel"),
    ),
)


@dataclass(frozen=True, slots=True)
class ChannelEntry:
    """One channel as it is kept."""

    name: str
    kind: str
    #: what was set, by the names of the settings; secrets too
    values: Mapping[str, Any] = dataclasses.field(repr=False)
    #: "api", or "file": made by alerts.toml, and only changed there
    origin: str = "api"

    @property
    def settings(self) -> ChannelSettings:
        """The settings; raises SettingsError when another version wrote what this one refuses."""
        return _known(self.kind, json.dumps(dict(self.values), sort_keys=True), self.name)

    @property
    def secrets(self) -> dict[str, bool]:
        """Whether each setting of its kind is a secret."""
        return {field.name: field.metadata["secret"] for field in self._fields()}

    @property
    def defaults(self) -> dict[str, Any]:
        """The default of each setting of its kind."""
        return {field.name: field.default for field in self._fields()}

    @property
    def enabled(self) -> bool:
        """Whether it is in use, also where other settings are refused."""
        return bool(self.value("enabled"))

    @property
    def renews(self) -> bool:
        """Whether its receiver forgets alerts that are not sent again."""
        return self.kind in KINDS and KINDS[self.kind].renews

    @property
    def takes_addresses(self) -> bool:
        """Whether messages may go to mail addresses that a rule names."""
        return self.kind in KINDS and KINDS[self.kind].takes_addresses

    def value(self, name: str) -> Any:
        """Return what a setting is, by default if it is not set."""
        return self.values.get(name, self.defaults.get(name))

    def shown(self) -> dict[str, Any]:
        """Return every setting; of a secret "set" or "", never more."""
        found: dict[str, Any] = {}
        for field in self._fields():
            value = self.values.get(field.name, field.default)
            secret = field.metadata["secret"]
            found[field.name] = ("set" if value else "") if secret else value
        return found

    def _fields(self) -> tuple["dataclasses.Field[Any]", ...]:
        return dataclasses.fields(KINDS[self.kind].settings) if self.kind in KINDS else ()


def parse_channel(
    name: str, table: Mapping[str, Any], *, origin: str = "file", where: str = ""
) -> ChannelEntry:
    """Return the channel of a table: `kind`, and the settings of that kind.

    For any secret NAME, `NAME_file` names a file that holds it, but not from the API. Raises
    SettingsError that begins with `where` and names key, what was expected and what came.
    """
    where = where or f"channel {name!r:.80}:"
    if not _NAME.fullmatch(name) or name in _RESERVED:
        raise SettingsError(
            f"{where} expected a name of up to 63 small letters, digits, '.', '_' and '-', other "
            f"than {' and '.join(_RESERVED)}, got {name!r:.80}"
        )
    values = dict(table)
    kind = values.pop("kind", None)
    if not isinstance(kind, str) or kind not in KINDS:
        raise SettingsError(f"{where} kind: expected one of {', '.join(KINDS)}, got {kind!r:.40}")
    if origin == "api" and not KINDS[kind].guarded:
        raise SettingsError(
            f"{where} kind: expected one whose connections can be checked, got {kind!r}: write it "
            "in alerts.toml, or use trimtab channel add"
        )
    if origin != "api":
        values = _with_files(kind, values, where)
    entry = ChannelEntry(name, kind, from_table(KINDS[kind].settings, values, where), origin)
    _ = _checked(kind, entry.values, where)
    return entry


class ChannelBook:
    """The channels in `state.db`; any thread, and the console while the collector runs."""

    def __init__(self, state: StateFile) -> None:
        self._state = state
        state.bring(_SCHEMA)
        state.bring(AUDIT)

    def all(self) -> list[ChannelEntry]:
        """Return every channel, by name."""
        sql = "SELECT name, kind, settings, origin FROM channel ORDER BY name"
        return self._state.decoded(sql, (), _entry)

    def get(self, name: str) -> ChannelEntry | None:
        """Return a channel, None when there is none of that name."""
        sql = "SELECT name, kind, settings, origin FROM channel WHERE name = ?"
        return next(iter(self._state.decoded(sql, (name,), _entry)), None)

    def recipients(self, content: Any = None) -> Recipients:
        """Return who can be told.

        content is that of the section `channels` of a file that is about to hold, whose channels
        count in place of those that the file has now; None counts those.
        """
        sql = "SELECT name, kind, origin FROM channel ORDER BY name"
        rows = self._state.decoded(sql, (), lambda *row: row)
        kinds = {name: kind for name, kind, origin in rows if content is None or origin != "file"}
        if isinstance(content, dict):
            kinds |= {
                name: str(table.get("kind"))
                for name, table in content.items()
                if isinstance(table, dict)
            }
        mail = any(kind in KINDS and KINDS[kind].takes_addresses for kind in kinds.values())
        return Recipients((*sorted(kinds), LIVE), mail)

    def put(self, entry: ChannelEntry, by: Caller) -> None:
        """Keep a channel, new or changed, with a line in the audit trail.

        Raises SettingsError when there are too many.
        """
        before = self.get(entry.name)
        with self._state.change() as connection:
            _put(connection, entry)
            old = None if before is None else {"kind": before.kind, **before.shown()}
            new = {"kind": entry.kind, **entry.shown()}
            note(connection, by, "channel.set", entry.name, old, new)

    def remove(self, name: str, by: Caller) -> bool:
        """Forget a channel, with a line in the audit trail; return whether there was one."""
        with self._state.change() as connection:
            done = connection.execute("DELETE FROM channel WHERE name = ?", (name,))
            if done.rowcount:
                note(connection, by, "channel.remove", name)
            return bool(done.rowcount)

    def of_file(self, content: Any) -> Callable[[], None]:
        """Check the section `channels` of `alerts.toml`; return what makes it hold.

        It is None, or a table with a table for each channel. Raises ValueError, and changes
        nothing, for one that is wrong, or has the name of a channel that the API or the console
        made.
        """
        tables = {} if content is None else content
        if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in tables.values()):
            raise ValueError("expected [channels.NAME] for each channel")
        own = {each.name for each in self.all() if each.origin != "file"}
        if len(own) + len(tables) > MAX_CHANNELS:
            raise ValueError(f"expected at most {MAX_CHANNELS} channels, got {len(tables)}")
        try:
            entries = [parse_channel(name, table) for name, table in tables.items()]
        except SettingsError as error:
            raise ValueError(str(error)) from error
        for entry in entries:
            if entry.name in own:
                raise ValueError(
                    f"channel {entry.name!r}: expected a name of its own, got that of a channel "
                    f"made by API or console: rename it, or run trimtab channel remove {entry.name}"
                )

        def hold() -> None:
            with self._state.change() as connection:
                connection.execute("DELETE FROM channel WHERE origin = 'file'")
                for entry in entries:
                    _put(connection, entry)

        return hold


def _put(connection: CheckedConnection, entry: ChannelEntry) -> None:
    (others,) = connection.execute(
        "SELECT count(*) FROM channel WHERE name <> ?", (entry.name,)
    ).fetchone()
    if others >= MAX_CHANNELS:
        raise SettingsError(f"expected at most {MAX_CHANNELS} channels, got one more")
    connection.put(
        "channel",
        (entry.name, entry.kind, entry.origin, json.dumps(dict(entry.values))),
        conflict="REPLACE",
    )


def _entry(name: str, kind: str, settings: str, origin: str) -> ChannelEntry:
    return ChannelEntry(name, kind, _values(settings), origin)


@functools.lru_cache(maxsize=2 * MAX_CHANNELS)
def _known(kind: str, text: str, name: str) -> ChannelSettings:
    """Return settings that were checked before at once: every notice asks for those of all."""
    return _checked(kind, _values(text), f"channel {name!r}:")


def _values(text: str) -> dict[str, Any]:
    """Return what a row holds; what cannot be read is refused like an unknown setting."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return {"(unreadable)": ""}
    # JSON has no tuples.
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


def _checked(kind: str, values: Mapping[str, Any], where: str) -> ChannelSettings:
    if kind not in KINDS:
        raise SettingsError(f"{where} kind: expected one of {', '.join(KINDS)}, got {kind!r:.40}")
    settings = KINDS[kind].settings(**from_table(KINDS[kind].settings, values, where))
    for name, value in values.items():
        texts = value if isinstance(value, tuple) else (value,)
        if len(texts) > MAX_CHANNELS or any(len(str(each)) > _MAX_TEXT for each in texts):
            raise SettingsError(f"{where} {name}: expected at most {_MAX_TEXT} characters")
    try:
        settings.check()
    except SettingsError as error:
        raise SettingsError(f"{where} {error}") from None
    return settings


def _with_files(kind: str, values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a table with the content of the files that its `NAME_file` keys name."""
    secrets = {
        f"{field.name}_file": field.name
        for field in dataclasses.fields(KINDS[kind].settings)
        if field.metadata["secret"]
    }
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key not in secrets:
            found[key] = value
            continue
        try:
            with Path(value).open(encoding="utf-8") as stream:
                found[secrets[key]] = stream.read(_MAX_SECRET_FILE).strip()
        except (OSError, TypeError, ValueError) as error:
            raise SettingsError(
                f"{where} {key}: expected a file that can be read, got {value!r:.200}: {error}"
            ) from error
    return found
