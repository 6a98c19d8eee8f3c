"""Service level objectives as data: from the API, kept in `state.db`, and from a file."""

import re
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from trimtab_collector.auth.audit import note
from trimtab_collector.checkedrows import add_checksums
from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.mistakes import mistake
from trimtab_collector.contract.slos import SloSettings
from trimtab_collector.statefile import Schema, StateFile
from trimtab_core.errors import SettingsError

__all__ = ["Slo", "SloBook", "check", "parse_slo"]

_MOST: Final = 200
_SCHEMA: Final = Schema(
    "slos",
    (
        """CREATE TABLE slo (
            id TEXT PRIMARY KEY,
            settings TEXT NOT NULL,
            changed_by TEXT NOT NULL,
            changed_s REAL NOT NULL
        ) WITHOUT ROWID""",
        add_checksums("slo"),
    ),
)


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective."""

    id: str
    settings: SloSettings
    #: api or file
    source: str = "api"
    changed_by: str = ""
    changed_s: float = 0.0


class SloBook:
    """All objectives, at most 200; any thread."""

    def __init__(self, state: StateFile, clock: Callable[[], float] = time.time) -> None:
        state.bring(_SCHEMA)
        self._state = state
        self._clock = clock
        self._of_file: dict[str, Slo] = {}

    def use_file(self, slos: Iterable[Slo]) -> None:
        """Take these as the ones of the file, in place of those before."""
        self._of_file = {slo.id: slo for slo in slos}

    def of_file(self, content: Any) -> Callable[[], None]:
        """Check the tables `[[slo]]` of a file; returns what makes them hold.

        Raises ValueError for what is no list of tables, or has a name twice; SettingsError.
        """
        tables = [] if content is None else content
        if not isinstance(tables, list):
            raise ValueError("expected [[slo]] for each objective, got [slo]")
        if len(tables) > _MOST:
            raise ValueError(f"expected at most {_MOST} objectives, got {len(tables)}")
        found = [parse_slo(table) for table in tables]
        if len({slo.id for slo in found}) < len(found):
            raise ValueError("slo: expected a name of its own for each, got one twice")
        taken = {slo.settings.name for slo in self.every() if slo.source == "api"}
        for slo in found:
            if slo.settings.name in taken:
                raise ValueError(
                    f"slo: expected a name of its own, got {slo.settings.name!r:.80}, which is that"
                    " of an objective made by the API: rename one"
                )
        return lambda: self.use_file(found)

    def every(self) -> list[Slo]:
        """Return all objectives, by name."""
        kept = self._state.decoded("SELECT id, settings, changed_by, changed_s FROM slo", (), _kept)
        return sorted([*kept, *self._of_file.values()], key=lambda slo: (slo.settings.name, slo.id))

    def find(self, slo_id: str) -> Slo:
        """Return an objective; raises ApiError 404."""
        for slo in self.every():
            if slo.id == slo_id:
                return slo
        raise ApiError(404, "not_found", f"expected the id of an objective, got {slo_id!r:.40}")

    def add(self, settings: SloSettings, by: Caller) -> Slo:
        """Keep a new objective; raises ApiError 422, 409 for a name taken and one too many."""
        _refuse(settings)
        with self._state.change():
            self._refuse_twice(settings)
            if len(self.every()) >= _MOST:
                raise ApiError(
                    409, "too_many", f"expected at most {_MOST} objectives: delete one first"
                )
            return self._keep(Slo(f"slo-{secrets.token_hex(6)}", settings), None, by)

    def replace(self, slo_id: str, settings: SloSettings, by: Caller) -> Slo:
        """Change an objective; raises ApiError 404, 422, 409 for what a file or a name forbids."""
        _refuse(settings)
        with self._state.change():
            before = self._own(slo_id)
            self._refuse_twice(settings, slo_id)
            return self._keep(replace(before, settings=settings), before, by)

    def delete(self, slo_id: str, by: Caller) -> Slo:
        """Forget an objective, and return it; raises ApiError 404, and 409 for one from a file."""
        with self._state.change() as connection:
            slo = self._own(slo_id)
            connection.execute("DELETE FROM slo WHERE id = ?", (slo_id,))
            note(connection, by, "slo.delete", slo_id, msgspec.to_builtins(slo.settings))
        return slo

    def _refuse_twice(self, settings: SloSettings, slo_id: str = "") -> None:
        """Raise ApiError 409 for a name that another objective has."""
        for slo in self.every():
            if slo.settings.name == settings.name and slo.id != slo_id:
                raise ApiError(
                    409,
                    "name_taken",
                    f"expected a name of its own, got {settings.name!r:.80}, which is that of "
                    f"{slo.id}: messages tell objectives apart by it",
                )

    def _own(self, slo_id: str) -> Slo:
        slo = self.find(slo_id)
        if slo.source != "api":
            raise ApiError(
                409, "read_only", f"objective {slo_id!r:.40} is from a file: change it there"
            )
        return slo

    def _keep(self, slo: Slo, before: Slo | None, by: Caller) -> Slo:
        slo = replace(slo, changed_by=by.name, changed_s=self._clock())
        old = None if before is None else msgspec.to_builtins(before.settings)
        with self._state.change() as connection:
            connection.put(
                "slo",
                (slo.id, msgspec.json.encode(slo.settings).decode(), by.name, slo.changed_s),
                conflict="REPLACE",
            )
            action = "slo.change" if before else "slo.add"
            note(connection, by, action, slo.id, old, msgspec.to_builtins(slo.settings))
        return slo


def check(settings: SloSettings) -> str:
    """Return what contradicts itself in settings, else an empty text."""
    if settings.objective == "latency" and settings.below is None:
        return "expected below (ms) beside objective latency, got none"
    if settings.objective == "errors" and settings.below is not None:
        return "expected no below beside objective errors; for a limit in ms take latency"
    return ""


def parse_slo(table: Mapping[str, Any]) -> Slo:
    """Return the objective of a table of a file; keys are those of the API in snake_case.

    Its id is made of its name. Raises SettingsError.
    """
    fields, keys = SloSettings.__struct_fields__, SloSettings.__struct_encode_fields__
    known = dict(zip(fields, keys, strict=True))
    if not isinstance(table, Mapping):
        raise SettingsError(f"slo: expected a table for each objective, got {table!r:.80}")
    for key in table:
        if key not in known:
            raise SettingsError(
                f"slo: expected some of {', '.join(known)}, got {key!r:.40}: mend the file"
            )
    try:
        settings = msgspec.convert({known[key]: value for key, value in table.items()}, SloSettings)
    except msgspec.ValidationError as error:
        text = mistake(error, dict(table), SloSettings)
        raise SettingsError(f"slo {table.get('name')!r:.80}: {text}") from error
    wrong = check(settings)
    if wrong:
        raise SettingsError(f"slo {settings.name!r:.80}: {wrong}")
    slug = re.sub("[^a-z0-9]+", "-", settings.name.lower()).strip("-") or "objective"
    return Slo(f"file-{slug}", settings, "file")


def _kept(slo_id: str, settings: str, by: str, changed_s: float) -> Slo:
    return Slo(slo_id, msgspec.json.decode(settings, type=SloSettings), "api", by, float(changed_s))


def _refuse(settings: SloSettings) -> None:
    wrong = check(settings)
    if wrong:
        raise ApiError(422, "bad_body", f"body: {wrong}")
