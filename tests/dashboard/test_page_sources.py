"""What the sources of the dashboard keep to: the same texts in each language, text as text only."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

SOURCES: Final = Path(__file__).resolve().parents[2] / "collector" / "dashboard" / "src"
LANGUAGES: Final = ("en", "ko")
_MOST_LINES: Final = 400
_MOST_OF_A_FUNCTION: Final = 60
_FUNCTION: Final = re.compile(
    r"^(?:export )?(?:default )?(?:async )?function (\w+).*?^}", re.M | re.S
)
_PLACE: Final = re.compile(r"\{(\w+)\}")
_TEXT: Final = re.compile(r'"([^"\\\n]+)"|`([^`\n]*)`')
#: what turns a text into markup or a script, or leaves the collector
_FORBIDDEN: Final = (
    r"\b(inner|outer)HTML\b|insertAdjacentHTML|dangerouslySetInnerHTML|createContextualFragment"
    r"|document\.write|DOMParser|srcdoc|javascript:|\beval\(|new Function\("
    r"|set(Timeout|Interval)\(\s*[\"'`]|\son[a-z]+=[\"']|setAttribute\(\s*[\"']on"
    r"|\b(https?|wss?):\/\/|[\"'(]\/\/\w"
)

#: folder -> folders whose files its own may import, from the ground; "" is the sources' own folder
_ARROWS: Final = {
    "": ("",),
    "parts": ("", "parts"),
    "sections": ("", "parts", "sections"),
    "pages": ("", "parts", "sections"),
    # The table of pages loads each when it is asked for.
    "shell": ("", "parts", "shell"),
}
#: they put everything together
_ROOTS: Final = ("main.js", "everywhere.js")
_IMPORT: Final = re.compile(r'^(?:import|export)\b[^;]*?"(\.[^"]+\.js)";', re.M)


class Call(NamedTuple):
    """A call of `t` in the sources: its keys, and the values that it gives (None: not known)."""

    place: str
    keys: list[str]
    values: set[str] | None


def texts_of(language: str) -> dict[str, str]:
    """Return all texts of a language; fails where two files have the same key."""
    found: dict[str, str] = {}
    for path in sorted((SOURCES / "words" / language).glob("*.json")):
        texts = json.loads(path.read_text(encoding="utf-8"))
        assert not found.keys() & texts.keys(), f"{path.name} repeats keys of another file"
        found |= texts
    return found


def sources() -> Iterator[tuple[str, str]]:
    """Yield the name and the text of every file that is written by hand."""
    for path in sorted(SOURCES.rglob("*")):
        if path.suffix in (".js", ".css", ".svg", ".json"):
            yield path.relative_to(SOURCES).as_posix(), path.read_text(encoding="utf-8")


def arguments_of(text: str, start: int) -> list[str]:
    """Return the arguments of a call whose parenthesis opens just before start."""
    found, depth, begun, quote = [], 0, start, ""
    for at in range(start, len(text)):
        letter = text[at]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "\"'":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}" and depth:
            depth -= 1
        elif letter in ",)" and not depth:
            found.append(text[begun:at].strip())
            begun = at + 1
            if letter == ")":
                return found
    raise AssertionError(f"expected the end of a call: {text[start : start + 80]}")


def given_by(argument: str) -> set[str] | None:
    """Return the names of an object literal, None for what is no plain one."""
    if not argument.startswith("{") or "..." in argument:
        return None
    return {part.partition(":")[0].strip() for part in arguments_of(f"{argument[1:-1]})", 0)} - {""}


def calls() -> Iterator[Call]:
    """Yield every call of `t`."""
    for name, text in sources():
        if not name.endswith(".js") or name == "words.js":
            continue
        for match in re.finditer(r"(?<![\w.])t\(", text):
            first, *rest = arguments_of(text, match.end())
            # Of `a === "b" ? "one" : "two"` only what is chosen is a key.
            chosen = re.split(r"\?\s|\s:\s", first)
            parts = chosen[1:] if len(chosen) > 1 else chosen
            keys = [one or f"`{other}" for part in parts for one, other in _TEXT.findall(part)]
            line = text.count("\n", 0, match.start()) + 1
            yield Call(f"{name}:{line}", keys, given_by(rest[0]) if rest else set())


def forms_of(key: str, texts: dict[str, str]) -> list[str]:
    """Return the texts of a key, or of its forms for numbers."""
    return [texts[each] for each in (key, f"{key}.one", f"{key}.other") if each in texts]


def test_each_language_has_the_same_texts() -> None:
    english, *others = map(texts_of, LANGUAGES)
    for other in others:
        assert english.keys() - other.keys() == set()
        assert other.keys() - english.keys() == set()


def test_no_text_is_empty_and_none_is_left_in_english() -> None:
    english, korean = map(texts_of, LANGUAGES)
    assert [key for key, text in (english | korean).items() if not text.strip()] == []
    # What has two English words or more is a sentence, not a name.
    same = [key for key, text in english.items() if " " in text and korean[key] == text]
    assert [key for key in same if re.search(r"[a-z]{3,} [a-z]{3,}", english[key])] == []


def test_a_text_has_the_same_places_in_each_language() -> None:
    english, korean = map(texts_of, LANGUAGES)

    def differ(key: str) -> bool:
        one, other = (set(_PLACE.findall(texts[key])) for texts in (english, korean))
        # "once" needs no number.
        return (
            (one ^ other) - {"count", "number"} != set() if key.endswith(".one") else one != other
        )

    assert [key for key in english if differ(key)] == []


def test_every_text_that_the_page_asks_for_is_there_and_gets_what_it_has_places_for() -> None:
    texts = texts_of("en")
    missing, unfilled = [], []
    for call in calls():
        for key in call.keys:
            if key.startswith("`"):
                pattern = re.escape(re.sub(r"\$\{[^}]*\}+", "\0", key[1:])).replace("\0", ".+")
                known = any(re.fullmatch(f"{pattern}(\\.one|\\.other)?", each) for each in texts)
                forms: list[str] = []
            else:
                forms = forms_of(key, texts)
                known = bool(forms)
            if not known:
                missing.append((call.place, key))
            wanted = {place for form in forms for place in _PLACE.findall(form)}
            if call.values is not None and wanted - call.values:
                unfilled.append((call.place, key, wanted - call.values))
    assert missing == []
    assert unfilled == []


def test_every_group_of_names_has_some() -> None:
    groups = {
        (name, group)
        for name, text in sources()
        for group in re.findall(r'(?<![\w.])named\(\s*"([^"]+)"', text)
    }
    texts = texts_of("en")
    assert [
        each for each in groups if not any(key.startswith(f"{each[1]}.") for key in texts)
    ] == []


def test_files_are_short_enough_to_be_read() -> None:
    long = {name: text.count("\n") for name, text in sources() if text.count("\n") > _MOST_LINES}
    assert long == {}


def test_functions_are_short_enough_to_be_read() -> None:
    assert [
        f"{name}: {found[1]}"
        for name, text in sources()
        for found in _FUNCTION.finditer(text if name.endswith(".js") else "")
        if found[0].count("\n") >= _MOST_OF_A_FUNCTION
    ] == []


@pytest.mark.parametrize("kind", [".js", ".css", ".svg"])
def test_nothing_makes_markup_or_script_of_a_text_and_nothing_leaves_the_collector(
    kind: str,
) -> None:
    found = [
        (name, match[0])
        for name, text in sources()
        if name.endswith(kind)
        for match in re.finditer(_FORBIDDEN, text.replace("http://www.w3.org/2000/svg", ""))
    ]
    assert found == []


def imports() -> dict[str, set[str]]:
    """Return what each file imports at once: names of files of the sources."""
    found = {}
    for name, text in sources():
        if name.endswith(".js"):
            here = (SOURCES / name).parent
            targets = {(here / each).resolve() for each in _IMPORT.findall(text)}
            found[name] = {each.relative_to(SOURCES).as_posix() for each in targets}
    return found


@pytest.mark.parametrize("folder", _ARROWS)
def test_folders_import_only_what_stands_below_them(folder: str) -> None:
    def folder_of(name: str) -> str:
        return name.rpartition("/")[0]

    here = {name: each for name, each in imports().items() if folder_of(name) == folder}
    assert here
    wrong = {
        f"{name} imports {target}"
        for name, targets in here.items()
        for target in targets
        if name not in _ROOTS and folder_of(target) not in _ARROWS[folder]
    }
    assert not wrong


def test_no_file_imports_itself_by_way_of_others() -> None:
    waiting = imports()
    while ground := {name for name, each in waiting.items() if not each & waiting.keys()}:
        waiting = {name: each for name, each in waiting.items() if name not in ground}
    assert not waiting
