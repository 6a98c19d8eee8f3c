"""`alerts.toml`: thresholds, rules and whatever else parts of the collector read from it.

It is read again when it changes, as a whole: if anything in it is wrong, its last good content
holds, and what is wrong is said. At the start a wrong file is an error.
"""

import logging
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from trimtab_collector.alerts.configs import refuse_new, rule_of
from trimtab_collector.contract.alertconfigs import NewAlertConfig, ThresholdPair
from trimtab_collector.contract.body import wire_name
from trimtab_collector.contract.channels import Recipients
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.mistakes import mistake
from trimtab_core.errors import SettingsError, StartupError

__all__ = ["AlertsFile", "configs_in"]

logger = logging.getLogger("trimtab.alerts")

_Kind = TypeVar("_Kind")

#: checks the content of a section and takes it; raises ApiError or ValueError
Take = Callable[[Any], Callable[[], None]]

_OWN: Final = ("rule", "thresholds")
#: as many as the API takes
_MOST_RULES: Final = 2_000
_MOST_BYTES: Final = 1024 * 1024


class AlertsFile:
    """The file and its last good content; read by one thread at a time."""

    def __init__(
        self, path: Path | None, recipients: Callable[[Any], Recipients] | None = None
    ) -> None:
        """Take a path, which need not be there yet; None for no file at all.

        recipients tells who can be told once the given section `channels` holds; without it,
        nobody is refused.
        """
        self.path = path
        self._recipients = recipients
        #: what is wrong with the file as it is, else empty
        self.error = ""
        self._seen: object = ""
        self._configs: dict[str, NewAlertConfig] = {}
        self._thresholds: dict[str, ThresholdPair] = {}
        self._sections: dict[str, Take] = {}
        self._listeners: list[Callable[[], None]] = []

    def section(self, name: str, take: Take) -> None:
        """Let a part read a section: take checks it and returns what makes it hold."""
        self._sections[name] = take

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a listener after other content has come to hold."""
        self._listeners.append(listener)

    def configs(self) -> Mapping[str, NewAlertConfig]:
        """Return the rules of the file by id."""
        return self._configs

    def thresholds(self) -> Mapping[str, ThresholdPair]:
        """Return the thresholds of the file by metric."""
        return self._thresholds

    def start(self) -> None:
        """Read the file; raises StartupError for a wrong one.

        A recipient that is missing is none here: a channel that somebody has removed must not
        keep a collector from its work.
        """
        known, self._recipients = self._recipients, None
        self.refresh()
        self._recipients = known
        if self.error:
            raise StartupError(self.error)

    def refresh(self) -> bool:
        """Read the file if it has changed; returns whether other content holds now."""
        if self.path is None:
            return False
        try:
            found = self.path.stat()
            if not stat.S_ISREG(found.st_mode):
                self.error = f"expected {self.path} to be a file: move away what is there"
                self._seen = ""
                return False
            seen: object = (found.st_mtime_ns, found.st_size, found.st_ino)
        except FileNotFoundError:
            seen = None
        except OSError as error:
            self.error = f"expected to read {self.path}, got: {error.strerror}"
            return False
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            holds = self._read(self._text() if seen else "")
        except (ApiError, ValueError, OSError, SettingsError, RecursionError) as error:
            self.error = f"{self.path}: {error}; what it held before goes on holding"
            logger.warning("alerts file is not used: %s", self.error)
            return False
        self.error = ""
        for each in holds:
            each()
        for listener in self._listeners:
            listener()
        return True

    def _text(self) -> str:
        assert self.path is not None  # noqa: S101 - refresh looked
        # Without waiting, should it have become a pipe since it was looked at.
        with open(self.path, "rb", opener=_without_waiting) as stream:
            data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise ValueError(f"expected up to {_MOST_BYTES} bytes, got more")
        return data.decode()

    def _read(self, text: str) -> list[Callable[[], None]]:
        """Check the whole text; returns what makes it hold."""
        content = tomllib.loads(text)
        for name in content:
            if name not in (*_OWN, *self._sections):
                known = ", ".join((*_OWN, *self._sections))
                raise ValueError(f"expected sections {known}, got {name!r:.40}")
        recipients = None
        if self._recipients is not None:
            recipients = self._recipients(content.get("channels", {}))
        configs = configs_in(content, recipients)
        pairs = _thresholds_in(content)

        def hold() -> None:
            self._configs, self._thresholds = configs, pairs

        return [hold, *(take(content.get(name)) for name, take in self._sections.items())]


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def configs_in(
    content: Mapping[str, Any], known: Recipients | None = None
) -> dict[str, NewAlertConfig]:
    """Return the rules of a file by id; raises ValueError or ApiError that names the rule.

    known is who can be told; None refuses nobody.
    """
    found: dict[str, NewAlertConfig] = {}
    tables = content.get("rule", [])
    if not isinstance(tables, list):
        raise ValueError("expected [[rule]] for each rule, got [rule]")
    if len(tables) > _MOST_RULES:
        raise ValueError(f"expected at most {_MOST_RULES} rules, got {len(tables)}")
    for place, table in enumerate(tables, 1):
        name = table.get("name", "") if isinstance(table, dict) else ""
        label = f"rule {place}" + (f" ({name})" if name else "")
        try:
            config = _converted(_camel(table), NewAlertConfig)
            if not config.name:
                raise ValueError("expected a name, got none")
            rule_id = "file." + (re.sub(r"\W+", "-", config.name.lower()).strip("-") or str(place))
            refuse_new(rule_of(rule_id, config, "file"), known)
        except (ApiError, ValueError) as error:
            raise ValueError(f"{label}: {error}") from error
        if rule_id in found:
            raise ValueError(f"{label}: expected a name of its own, got one twice")
        found[rule_id] = config
    return found


def _thresholds_in(content: Mapping[str, Any]) -> dict[str, ThresholdPair]:
    pairs = {}
    tables = content.get("thresholds", {})
    if not isinstance(tables, dict):
        raise ValueError("expected [thresholds.METRIC] for each metric")
    if len(tables) > _MOST_RULES:
        raise ValueError(f"expected at most {_MOST_RULES} thresholds, got {len(tables)}")
    for metric, table in tables.items():
        try:
            pair = _converted(table, ThresholdPair)
            if pair.warning is not None or pair.critical is not None:
                config = NewAlertConfig(metric=metric, warning=pair.warning, critical=pair.critical)
                refuse_new(rule_of(metric, config, "file"))
        except (ApiError, ValueError) as error:
            raise ValueError(f"thresholds.{metric}: {error}") from error
        pairs[metric] = pair
    return pairs


def _converted(table: Any, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.convert(table, kind)
    except msgspec.ValidationError as error:
        raise ValueError(mistake(error, table, kind)) from error


def _camel(table: Any) -> Any:
    """Return a table with keys as the API has them: files have keep_firing_for."""
    if not isinstance(table, dict):
        return table
    return {wire_name(key): value for key, value in table.items()}
