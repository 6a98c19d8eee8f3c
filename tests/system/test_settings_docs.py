"""The settings in the docs and in deploy/*.toml are those of the dataclasses, none more or fewer.

    UPDATE_DOCS=1 ./dev test tests/system/test_settings_docs.py

writes the tables and files anew; what a person wrote around them stays.
"""

import json
import os
import re
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

import pytest

from trimtab.settings import AppSettings
from trimtab_agent.settings import AgentSettings
from trimtab_collector.settings import CollectorSettings
from trimtab_core.config import Description, describe, load, setting, variable

ROOT = Path(__file__).resolve().parents[2]
UPDATE = os.environ.get("UPDATE_DOCS") == "1"
END = "<!-- end of settings -->"

#: page -> section and settings of the table in it
PAGES: dict[str, tuple[str, type]] = {
    "docs/instrumenting.md": ("app", AppSettings),
    "docs/agent.md": ("agent", AgentSettings),
    "docs/collector.md": ("collector", CollectorSettings),
}
#: file -> section and settings of its one table
FILES: dict[str, tuple[str, type]] = {
    "deploy/agent.toml": ("agent", AgentSettings),
    "deploy/collector.toml": ("collector", CollectorSettings),
}


def rows(settings: type, section: str) -> list[tuple[Description, str]]:
    """Return the description of each setting, and what values it may have."""
    described = {row.name: row for row in describe(settings, section)}
    found = []
    for field in fields(settings):
        least, most = field.metadata["least"], field.metadata["most"]
        limits = "" if least is None else f"; at least {least}"
        if most is not None:
            limits = f"; {least} to {most}"
        if field.metadata["choices"]:
            limits = f"; {', '.join(field.metadata['choices'])}"
        found.append((described[field.name], limits))
    return found


def table(settings: type, section: str) -> str:
    """Return the Markdown table of a settings class, one row a setting."""
    lines = ["| setting | variable | default | meaning |", "|---|---|---|---|"]
    for row, limits in rows(settings, section):
        default = "" if row.default == "none" else f"`{row.default}`"
        unit = f" {row.unit}" if row.unit else ""
        meaning = (row.doc.removesuffix(".") + limits).replace("|", "\\|")
        lines.append(f"| `{row.name}` | `{row.variable}` | {default}{unit} | {meaning} |")
    return "\n".join(lines) + "\n"


def toml(settings: type, section: str) -> str:
    """Return the table of a settings file with every default; a secret stands as a comment."""
    lines = [f"[{section}]"]
    for field, (row, limits) in zip(fields(settings), rows(settings, section), strict=True):
        unit = f" [{row.unit}]" if row.unit else ""
        lines += ["", f"# {row.doc.removesuffix('.')}{limits}{unit}"]
        # TOML's texts, numbers, booleans and lists of texts are JSON's.
        value = json.dumps(field.default)
        if field.metadata["secret"]:
            lines.append(f"# {row.name} = {value}  # rather by {row.variable}_FILE")
        else:
            lines.append(f"{row.name} = {value}")
    return "\n".join(lines) + "\n"


def parts(text: str, section: str) -> tuple[str, str, str]:
    """Return what is before, between and after the markers of a page."""
    begin = f"<!-- settings {section} -->"
    assert text.count(begin) == 1, f"expected {begin} once"
    before, _, rest = text.partition(f"{begin}\n")
    inside, end, after = rest.partition(END)
    assert end, f"expected {END} behind {begin}"
    return f"{before}{begin}\n", inside, end + after


def show_changed(path: Path, text: str) -> None:
    """Write what changed where that was asked for."""
    if UPDATE and path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_table_of_a_page_has_every_setting_with_its_default(page: str) -> None:
    section, settings = PAGES[page]
    before, _, after = parts((ROOT / page).read_text(encoding="utf-8"), section)
    show_changed(ROOT / page, before + table(settings, section) + after)
    _, inside, _ = parts((ROOT / page).read_text(encoding="utf-8"), section)
    assert inside == table(settings, section), "UPDATE_DOCS=1 writes it anew"


@pytest.mark.parametrize("name", FILES)
def test_a_settings_file_of_deploy_has_every_setting_with_its_default(name: str) -> None:
    section, settings = FILES[name]
    head, mark, _ = (ROOT / name).read_text(encoding="utf-8").partition(f"[{section}]\n")
    assert mark, f"expected a table [{section}]"
    show_changed(ROOT / name, head + toml(settings, section))
    text = (ROOT / name).read_text(encoding="utf-8")
    assert text == head + toml(settings, section), "UPDATE_DOCS=1 writes it anew"


@pytest.mark.parametrize("name", FILES)
def test_a_settings_file_of_deploy_can_be_used_and_changes_nothing(name: str) -> None:
    section, settings = FILES[name]
    assert load(settings, section, file=ROOT / name, environ={}) == (settings(), [])


def test_the_page_of_the_agent_names_what_takes_effect_without_a_restart() -> None:
    text = (ROOT / "docs/agent.md").read_text(encoding="utf-8")
    sentence = text.partition("**`SIGHUP`**")[2].partition("Changes of ")[2]
    named = re.findall(r"`(\w+)`", sentence.partition("take effect at once")[0])
    assert named == [field.name for field in fields(AgentSettings) if not field.metadata["restart"]]


def test_the_page_about_tls_names_what_a_collector_changes_without_a_restart() -> None:
    text = (ROOT / "docs/tls.md").read_text(encoding="utf-8")
    section = text.partition("## Settings that change at run time")[2]
    named = re.findall(
        r"`(\w+)`", section.partition("take effect at once")[0].rpartition("\n\n")[2]
    )
    changing = {each.name for each in fields(CollectorSettings) if not each.metadata["restart"]}
    assert set(named) == changing


def test_every_variable_that_a_page_names_is_read_by_something() -> None:
    read = {"TRIMTAB_CONFIG", "TRIMTAB_URL", "TRIMTAB_TOKEN"}
    # By the build hook of the wheel.
    read.add("TRIMTAB_DASHBOARD")
    for section, settings in PAGES.values():
        for field in fields(settings):
            name = variable(section, field.name)
            read |= {name, f"{name}_FILE"} if field.metadata["secret"] else {name}
    found = {
        (page.name, name)
        for page in [*ROOT.glob("docs/*.md"), ROOT / "README.md"]
        for name in re.findall(
            r"TRIMTAB_[A-Z0-9_]*[A-Z0-9](?![\w*])", page.read_text(encoding="utf-8")
        )
        if name not in read
    }
    assert found == set()


@pytest.mark.parametrize(("section", "settings"), [*PAGES.values()], ids=[*PAGES])
def test_every_setting_has_a_line_of_doc(section: str, settings: type) -> None:
    described = describe(settings, section)
    assert [row.name for row in described] == [field.name for field in fields(settings)]
    assert [row.name for row in described if not row.doc or "\n" in row.doc] == []


# ---------------------------------------------------------------- the generator


@dataclass(frozen=True, slots=True)
class Planted:
    depth_m: int = setting(3, "Depth | of the water.", unit="m", least=1)
    names: tuple[str, ...] = setting((), "names of boats")
    wind: str = setting("west", "where it blows", choices=("west", "east"))
    password: str = setting("", "word at the gate", secret=True)


def test_the_table_shows_unit_default_and_variable_and_keeps_its_columns() -> None:
    assert table(Planted, "agent").splitlines()[2:] == [
        "| `depth_m` | `TRIMTAB_AGENT_DEPTH_M` | `3` m | Depth \\| of the water; at least 1 |",
        "| `names` | `TRIMTAB_AGENT_NAMES` |  | names of boats |",
        "| `wind` | `TRIMTAB_AGENT_WIND` | `west` | where it blows; west, east |",
        "| `password` | `TRIMTAB_AGENT_PASSWORD` |  | word at the gate |",
    ]


def test_the_file_sets_every_default_but_the_secrets() -> None:
    text = toml(Planted, "agent")
    assert tomllib.loads(text) == {"agent": {"depth_m": 3, "names": [], "wind": "west"}}
    assert '# password = ""  # rather by TRIMTAB_AGENT_PASSWORD_FILE' in text


def test_a_page_without_its_markers_is_an_error() -> None:
    with pytest.raises(AssertionError, match="expected <!-- settings app --> once"):
        parts("no table", "app")
    with pytest.raises(AssertionError, match="end of settings"):
        parts("<!-- settings app -->\n| a |", "app")
