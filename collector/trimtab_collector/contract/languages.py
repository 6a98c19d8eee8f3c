"""Languages of texts that people read: how a request chooses one, and texts kept as data.

A part keeps its texts in a folder with one TOML file per language, `en.toml` and so on, with the
placeholders of `str.format`. `Phrases` reads such a folder.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import Any, Final

from trimtab_collector.contract.errors import bad_parameter
from trimtab_collector.contract.kinds import Moment, Parameter
from trimtab_collector.contract.parameters import Parameters

__all__ = ["DEFAULT_LANGUAGE", "LANG", "LANGUAGES", "Phrases", "accepted", "language_of"]

LANGUAGES: Final = ("en", "ko")
DEFAULT_LANGUAGE: Final = "en"
#: ranges of a header that are looked at
_MOST_RANGES: Final = 20
#: what turns the direction of the text around it (UAX 9); a name of an app may have some
_TURNING: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_QUALITY: Final = re.compile(r"(?:0(?:\.\d{0,3})?|1(?:\.0{0,3})?)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Language(Parameter[str | None]):
    """One of the languages; None where it is not given."""

    def read(self, text: str, moment: Moment) -> str | None:
        """Return the language."""
        if text not in LANGUAGES:
            raise bad_parameter(self.name, f"one of {', '.join(LANGUAGES)}", text)
        return text

    @property
    def absent(self) -> str | None:
        """None: the header `Accept-Language` decides."""
        return None

    def schema(self) -> dict[str, Any]:
        """Return the schema of the languages."""
        return {"type": "string", "enum": list(LANGUAGES)}


LANG: Final = _Language(
    "lang", "Language of texts; without it, the best of `Accept-Language`, else English."
)


def language_of(parameters: Parameters) -> str:
    """Return the language of an answer: `lang`, else English.

    The API makes `lang` of the header `Accept-Language` where it is not given.
    """
    chosen = parameters.values.get(LANG.name)
    return chosen if isinstance(chosen, str) else DEFAULT_LANGUAGE


def accepted(header: str) -> str:
    """Return the language that a header `Accept-Language` likes best (RFC 9110, 12.5.4).

    A range such as ko-KR stands for its language (RFC 4647, 3.4). Never raises.
    """
    best, best_quality = DEFAULT_LANGUAGE, 0.0
    for part in header.split(",")[:_MOST_RANGES]:
        tag, _, rest = part.partition(";")
        name, _, text = rest.strip().partition("=")
        quality = 1.0
        if name:
            well_formed = name.strip().lower() == "q" and _QUALITY.fullmatch(text.strip())
            quality = float(text) if well_formed else 0.0
        tag = tag.strip().lower()
        language = DEFAULT_LANGUAGE if tag == "*" else tag.partition("-")[0]
        if language in LANGUAGES and quality > best_quality:
            best, best_quality = language, quality
    return best


class Phrases:
    """The texts of one part in every language."""

    def __init__(self, texts: Mapping[str, Mapping[str, str]]) -> None:
        """Take the texts by language and key; all languages must have the same keys."""
        self._texts = texts

    @classmethod
    def of(cls, folder: Path) -> "Phrases":
        """Return the texts of a folder; the key `do` of the table `issue.x` is `issue.x.do`.

        Raises OSError and tomllib.TOMLDecodeError.
        """
        return cls({
            language: dict(_flat(tomllib.loads((folder / f"{language}.toml").read_text("utf-8"))))
            for language in LANGUAGES
        })  # fmt: skip

    def say(self, language: str, key: str, /, **fields: Any) -> str:
        """Return a text with its placeholders filled; raises KeyError for one that is missing.

        What a field has that would turn the rest of the sentence around is left out.
        """
        straight = {
            name: _TURNING.sub("", field) if isinstance(field, str) else field
            for name, field in fields.items()
        }
        return self._texts[language][key].format(**straight)

    @property
    def keys(self) -> frozenset[str]:
        """The keys of all texts."""
        return frozenset(self._texts[DEFAULT_LANGUAGE])

    def differences(self) -> Iterator[str]:
        """Yield, a sentence each, where the languages do not agree on keys or placeholders."""
        main = self._texts[DEFAULT_LANGUAGE]
        for language in LANGUAGES:
            texts = self._texts.get(language, {})
            for key in sorted(main.keys() ^ texts.keys()):
                yield f"only one of {DEFAULT_LANGUAGE} and {language} has {key}"
            for key in sorted(main.keys() & texts.keys()):
                expected, found = _placeholders(main[key]), _placeholders(texts[key])
                if expected != found:
                    yield f"{key}: expected {sorted(expected)} in {language}, got {sorted(found)}"


def _flat(table: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _placeholders(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}
