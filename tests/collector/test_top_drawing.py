"""Frames of `trimtab top` at many sizes, and with names that want to do something to a terminal."""

import re
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_collector.contract.quantities import DASH
from trimtab_collector.top.drawing import SMALLEST, Surroundings, frame, page
from trimtab_collector.top.names import shown
from trimtab_collector.top.rows import (
    TopAlert,
    TopHost,
    TopOverall,
    TopRoute,
    TopService,
)
from trimtab_collector.top.state import TopState
from trimtab_collector.top.survey import TopRead

AROUND = Surroundings("http://127.0.0.1:8620", "12:00:00", 0.5, 1.0)
HOSTILE = (
    "\x1b[2J\x1b]0;owned\x07",
    "\x9b31m",
    "[bold red]not markup[/]",
    "[link=https://example.com]x[/link]",
    "\u202egnp.exe\u2066",
    "a\nb\r\tc\u2028d",
    "\u200b\u200d\u00ad\ufeff\ue000",
    "z" + "\u0301" * 200,
    "\u2764\ufe0f",
    "한국어 서비스",
    ":smile:",
    "x" * 65_536,
    "\ud800",
    "",
)


def filled(name: str, view: str = "services", rows: int = 3) -> TopState:
    """Return a state whose every name is this one."""
    state = TopState(view=view, environment=name, filter="", trouble="")
    read = TopRead(
        state.question,
        10,
        TopOverall("", "", 1, 12_345.6, 0.0123, 0.171, 12.3, 65_000.0, 0.98),
        services=[
            TopService(name, name, 1.0 * n, 0.5, 0.1, 12.3, 1530.0, n, 0, 4) for n in range(rows)
        ],
        services_left_out=7,
        routes=[
            TopRoute(name, name, name, name, 1.0, 0.0, 0.1, 12.3, None, 4.0, 0.25)
            for _ in range(rows)
        ],
        routes_left_out=7,
        hosts=[
            TopHost(name, name, 0.99, 11.2, 0.5, 1e9, 0.4, 1.2e6, 0.0, 3e9, None)
            for _ in range(rows)
        ],
        alerts=[
            TopAlert(name, "critical", "firing", True, name, "2026-11-21T03:31:05.598Z", name, name,
                     "", "", "", "", acknowledged=True),
            TopAlert(name, name, "pending", False, name, "no time", "", "", name, "", "", "",
                     acknowledged=False),
        ],
        alerts_left_out=3,
    )  # fmt: skip
    for _ in range(12):
        assert state.took(read)
    return state


@pytest.mark.parametrize("view", ["services", "routes", "hosts"])
@pytest.mark.parametrize("kind", ["usual", "typing", "keys", "trouble", "empty", "nothing yet"])
def test_a_frame_fills_terminals_of_every_size_exactly(view: str, kind: str) -> None:
    state = TopState(view=view) if kind == "nothing yet" else filled("shop", view, rows=60)
    state.typing = kind == "typing"
    state.keys_shown = kind == "keys"
    state.trouble = "expected a collector, got nothing" if kind == "trouble" else ""
    state.filter = "none has this" if kind == "empty" else ""
    for width, height in ((80, 24), (50, 12), (100, 30), (200, 60), (49, 24), (5, 1)):
        lines = frame(state, width, height, AROUND)
        assert [line.cell_len for line in lines] == [width] * height


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_no_name_moves_colours_or_turns_anything(name: str) -> None:
    for view in ("services", "routes", "hosts"):
        state = filled(name, view)
        harmless(state, name)


def harmless(state: TopState, name: str) -> None:
    state.trouble = name
    state.focus = (name, name)
    state.filter = name[:100]
    for typing in (False, True):
        state.typing = typing
        for lines in (frame(state, 80, 24, AROUND), page(state, AROUND)):
            for line in lines:
                assert not {each for each in line.plain if category(each)[0] == "C"}
        assert [line.cell_len for line in frame(state, 80, 24, AROUND)] == [80] * 24


@given(st.text(alphabet=st.characters(), max_size=400))
def test_what_is_shown_of_a_name_is_one_line_of_printable_characters(name: str) -> None:
    text = shown(name)
    assert len(text) <= 300
    assert not {each for each in text if category(each)[0] == "C" or category(each) in ("Zl", "Zp")}
    assert text == name or not (name.isascii() and name.isprintable() and len(name) <= 300)


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    lines = frame(filled("[red]x[/red]"), 120, 30, AROUND)
    assert any("[red]x[/red]" in line.plain for line in lines)


def test_a_terminal_of_80_by_24_shows_the_figures_that_matter() -> None:
    state = filled("shop")
    state.environment = ""
    text = [line.plain.rstrip() for line in frame(state, 80, 24, AROUND)]
    assert text[1].startswith(" requests  12,346/s   errors 1.23 %   p50 0.171 ms   p95 12.3 ms")
    assert text[2].startswith(" hosts 3     CPU 99% shop  memory 50% shop  disk 40% shop")
    assert re.match(r"  service +req/s▼ +errors +p95 +p99 +in flight +trend$", text[4])
    assert re.match(r"! shop +2 +50 % +12\.3 ms +1\.53 s +2  +[█▁▅]{10}$", text[5])
    assert text[8] == "  and 7 more; / filters all of them"
    assert text[-4] == " alerts  2 of 5"
    assert re.match(r" ! critical   \d\d:31  shop  \(acknowledged\)$", text[-3])


def test_a_selected_row_far_down_is_on_the_screen() -> None:
    state = filled("shop", rows=0)
    assert state.read is not None
    state.read.services.extend(
        TopService("e", f"service-{n:03}", 1.0, 0, 1, 1, 1, 0, 0, 1) for n in range(200)
    )
    for _ in range(15):
        state.press("page-down")
    assert any("service-150" in line.plain for line in frame(state, 80, 24, AROUND))


def test_a_lost_connection_is_named_and_the_last_figures_stay() -> None:
    state = filled("shop")
    state.failed("expected a collector at http://127.0.0.1:8620, got: connection refused")
    silent = AROUND._replace(age_s=5.0)
    text = [line.plain.rstrip() for line in frame(state, 80, 24, silent)]
    assert text[0] == " NO ANSWER for 5 s from http://127.0.0.1:8620, trying again"
    assert "connection refused" in " ".join(text[-3:])
    assert any("! shop" in line for line in text)


def test_a_collector_that_is_silent_is_mentioned_unless_nobody_asks() -> None:
    state = filled("shop")
    for age_s, interval_s, paused in ((2.9, 1, False), (5, 2, False), (9, 1, True)):
        state.paused = paused
        around = AROUND._replace(age_s=age_s, interval_s=interval_s)
        assert "no answer" not in frame(state, 80, 24, around)[0].plain
    state.paused = False
    line = frame(state, 80, 24, AROUND._replace(age_s=4.0))[0].plain
    assert line.endswith("no answer for 4 s   last 10 s   12:00:00 ")


def test_a_terminal_that_is_too_small_says_so() -> None:
    (line,) = frame(filled("shop"), 60, 1, AROUND)
    assert line.plain.strip() == f"trimtab top needs {SMALLEST[0]} x {SMALLEST[1]}, here are 60 x 1"


def test_without_unicode_everything_of_ours_is_ascii() -> None:
    state = filled("shop")
    around = AROUND._replace(ascii=True)
    text = "".join(line.plain for line in frame(state, 80, 24, around))
    assert set(filter(lambda each: not each.isascii(), text)) <= {DASH}


def test_a_page_cuts_no_name_and_has_every_row() -> None:
    name = "x" * 250
    text = [line.plain for line in page(filled(name, rows=60), AROUND)]
    assert sum(name in line for line in text) >= 60
    assert not [line for line in text if line != line.rstrip()]
