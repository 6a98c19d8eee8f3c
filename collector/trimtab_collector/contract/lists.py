"""Kinds of parameters that are lists of names: of metrics, of labels, of labels with a value."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from trimtab_collector.contract.errors import bad_parameter
from trimtab_collector.contract.kinds import Moment, Parameter

__all__ = ["Labels", "Names", "Pairs"]


@dataclass(frozen=True, slots=True)
class Names(Parameter[tuple[str, ...]]):
    """Names with commas between, from one up to a limit; a request without any is refused."""

    #: what they are the names of
    noun: str
    most: int

    def read(self, text: str, moment: Moment) -> tuple[str, ...]:
        """Return the names, each once."""
        names = tuple(dict.fromkeys(name for name in text.split(",") if name))
        if not 0 < len(names) <= self.most:
            expected = f"1 to {self.most} names of {self.noun}, with commas between"
            raise bad_parameter(self.name, expected, text)
        return names

    @property
    def absent(self) -> tuple[str, ...]:
        """Refuse a request without it."""
        return self.read("", Moment(0.0, UTC))

    def schema(self) -> dict[str, Any]:
        """Return the schema of the list."""
        items = {"type": "string", "minLength": 1}
        return {"type": "array", "items": items, "minItems": 1, "maxItems": self.most}

    @property
    def required(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class Labels(Parameter[tuple[str, ...]]):
    """Any names with commas between, each at most once; none where it is not given."""

    most: int

    def read(self, text: str, moment: Moment) -> tuple[str, ...]:
        """Return the names; of an empty text none."""
        names = tuple(text.split(",")) if text else ()
        if "" in names or len(set(names)) < len(names) or len(names) > self.most:
            expected = f"up to {self.most} names with commas between, each once"
            raise bad_parameter(self.name, expected, text)
        return names

    @property
    def absent(self) -> tuple[str, ...]:
        """No names."""
        return ()

    def schema(self) -> dict[str, Any]:
        """Return the schema of the list."""
        items = {"type": "string", "pattern": "^[^,]*$"}
        return {"type": "array", "items": items, "maxItems": self.most, "uniqueItems": True,
                "default": []}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pairs(Parameter[Mapping[str, str]]):
    """Names with a value each, as name=value; the parameter is repeated for several."""

    most: int

    def read(self, text: str, moment: Moment) -> Mapping[str, str]:
        """Return the values by name."""
        pairs = [each.partition("=") for each in text.split(self.between)]
        found = {name: value for name, _, value in pairs}
        if (
            not all(name and sign for name, sign, _ in pairs)
            or not len(found) == len(pairs) <= self.most
        ):
            expected = f"name=value, for up to {self.most} names, each once"
            raise bad_parameter(self.name, expected, text.replace(self.between, " and "))
        return found

    @property
    def absent(self) -> Mapping[str, str]:
        """Nothing."""
        return {}

    @property
    def between(self) -> str:
        """A character that no value has: a value may well have a comma."""
        return "\0"

    def schema(self) -> dict[str, Any]:
        """Return the schema of the list."""
        items = {"type": "string", "pattern": "^[^=]+="}
        return {"type": "array", "items": items, "maxItems": self.most}
