"""What `trimtab top` reads, sorts and filters, and what its keys do; nothing is asked or drawn."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab_collector.top.columns import COLUMNS, VIEWS
from trimtab_collector.top.glyphs import ASCII, GLYPHS
from trimtab_collector.top.keys import KeyDecoder
from trimtab_collector.top.rows import (
    AnswerError,
    TopOverall,
    TopService,
    alerts_in,
    hosts_in,
    overall_in,
    routes_in,
    services_in,
)
from trimtab_collector.top.state import TREND_POINTS, TopState, TrendBook
from trimtab_collector.top.survey import TopRead


def service(name: str, rps: float | None, **fields: Any) -> TopService:
    made = TopService("test", name, rps, 0.0, 1.0, 2.0, 3.0, 0, 0, 1)
    return replace(made, **fields)


def state_of(*services: TopService) -> TopState:
    state = TopState()
    assert state.took(TopRead(state.question, 10, TopOverall(), services=list(services)))
    return state


def names(state: TopState) -> list[str]:
    return [row.service for row in state.rows if isinstance(row, TopService)]


def press(state: TopState, *keys: str) -> TopState:
    for key in keys:
        assert state.press(key)
    return state


# ---------------------------------------------------------------- answers


@pytest.mark.parametrize("read", [overall_in, services_in, routes_in, hosts_in, alerts_in])
@pytest.mark.parametrize("answer", [None, [], "text", {}, {"services": {}, "overall": 5}])
def test_an_answer_without_its_list_is_refused(read: Any, answer: object) -> None:
    with pytest.raises(AnswerError):
        read(answer)


def test_fields_of_another_kind_are_unknown_and_never_zero() -> None:
    row = {"service": 5, "requestsPerSecond": "12", "p95": True, "p99": float("nan")}
    ((found,), left_out) = services_in({"services": [row, "no row"]})
    assert (found.service, found.requests_per_second, found.p95, found.p99) == (
        "",
        None,
        None,
        None,
    )
    assert (found.in_flight, found.instances, left_out) == (None, 0, 0)


def test_a_routes_time_is_shown_as_its_share() -> None:
    rows = [{"route": "/a", "totalTime": 30.0}, {"route": "/b", "totalTime": 10.0}, {}]
    (found, left_out) = routes_in({"routes": rows, "routesLeftOut": 7})
    assert [row.time_share for row in found] == [0.75, 0.25, None]
    assert left_out == 7


# ---------------------------------------------------------------- sorting, filter, selection


def test_figures_are_sorted_the_largest_first_and_unknown_ones_come_last_either_way() -> None:
    state = state_of(service("b", 1.0), service("none", None), service("a", 1.0), service("c", 5.0))
    assert names(state) == ["c", "a", "b", "none"]
    assert names(press(state, "r")) == ["a", "b", "c", "none"]


@pytest.mark.parametrize("view", VIEWS)
def test_the_sort_keys_lead_through_all_columns_and_back(view: str) -> None:
    state = TopState(view=view)
    first = state.sorts[view]
    seen = [press(state, "s").sorts[view] for _ in COLUMNS[view]]
    assert (set(seen), seen[-1]) == ({column.key for column in COLUMNS[view]}, first)
    press(state, "right", "S", "left", "s")
    assert state.sorts[view] == first


def test_a_filter_is_words_in_any_order_and_case() -> None:
    state = state_of(service("Shop", 1.0), service("shipping", 2.0), service("other", 3.0))
    press(state, "/", *"TEST sh")
    assert (state.typing, names(state)) == (True, ["shipping", "Shop"])
    press(state, "o", "enter")
    assert (state.typing, names(state), state.question.filtered) == (False, ["Shop"], True)
    press(state, "escape")
    assert (state.filter, len(names(state))) == ("", 3)


def test_while_a_filter_is_typed_keys_are_letters_and_it_is_bounded() -> None:
    state = press(state_of(), "/", *"q?p/", "up", "tab")
    assert (state.filter, state.view, state.paused) == ("q?p/", "services", False)
    press(state, "backspace", "ctrl-u", *("x" * 300))
    assert len(state.filter) == 100
    assert not state.press("ctrl-c")


def test_the_selection_stays_with_its_row_when_the_order_changes() -> None:
    state = state_of(service("a", 3.0), service("b", 2.0), service("c", 1.0))
    press(state, "down", "down", "up")
    assert state.place_in(state.rows) == 1
    state.took(
        TopRead(state.question, 10, TopOverall(), services=[service("b", 9.0), service("a", 3.0)])
    )
    assert (names(state), state.place_in(state.rows)) == (["b", "a"], 0)
    press(state, "end", "page-down")
    assert state.place_in(state.rows) == 1


def test_enter_opens_the_routes_of_a_service_and_escape_goes_back() -> None:
    state = press(state_of(service("a", 2.0), service("b", 1.0)), "down", "enter")
    asked = state.question
    assert (asked.view, asked.environment, asked.service) == ("routes", "test", "b")
    assert not state.answered
    press(state, "escape")
    assert (state.view, state.question.service, state.answered) == ("services", "", True)


def test_an_answer_to_a_former_question_is_not_shown() -> None:
    state = state_of(service("a", 1.0))
    former = state.question
    press(state, "tab")
    assert not state.took(TopRead(former, 10, TopOverall()))
    assert state.rows == []


def test_while_paused_nothing_moves_but_another_view_is_read_once() -> None:
    state = press(state_of(service("a", 1.0)), "p")
    assert not state.took(TopRead(state.question, 10, TopOverall()))
    assert names(state) == ["a"]
    press(state, "2")
    assert state.took(TopRead(state.question, 10, TopOverall()))
    assert not state.took(TopRead(state.question, 10, TopOverall()))


def test_only_q_and_interrupts_end_it() -> None:
    state = state_of(service("a", 1.0))
    for key in ("x", "é", "enter", "1", "2", "3", "?", "x", " ", "home", "ctrl-l"):
        assert state.press(key)
    assert not state.press("q")
    assert not press(state, "?").press("q")


def test_an_alert_marks_its_service_its_route_and_its_host() -> None:
    labels = {"method": "GET"}
    base = {"severity": "critical", "told": True, "environment": "test", "labels": labels}
    answer = {"alerts": [{**base, "service": "a", "route": "/x"}, {**base, "instance": "web-1"}]}
    ((of_route, of_host), _) = alerts_in(answer)
    route_rows = [
        {"environment": "test", "service": "a", "route": path, "method": method}
        for path, method in (("/x", "GET"), ("/x", "POST"), ("/y", "GET"))
    ]
    found, _ = routes_in({"routes": route_rows})
    assert [of_route.concerns(row) for row in found] == [True, False, False]
    assert [of_route.concerns(service(name, 1.0)) for name in "ab"] == [True, False]
    hosts = hosts_in({"hosts": [{"host": "web-1"}, {"host": "web-2", "agent": "x"}]})
    assert [of_host.concerns(host) for host in hosts] == [True, False]
    assert not replace(of_route, told=False).concerns(service("a", 1.0))


# ---------------------------------------------------------------- trends and figures


def test_trends_are_bounded_in_rows_and_points_and_forget_the_longest_unseen() -> None:
    book = TrendBook(most=2)
    for value in range(TREND_POINTS + 5):
        book.add(("a",), value)
    assert list(book.of(("a",))) == list(range(5, TREND_POINTS + 5))
    book.add(("b",), 1)
    book.add(("a",), 1)
    book.add(("c",), 1)
    assert [len(book.of((name,))) > 0 for name in "abc"] == [True, False, True]


@given(
    st.lists(st.none() | st.floats(min_value=0, allow_nan=False, allow_infinity=False)),
    st.integers(-1, 70),
)
def test_a_trend_has_its_width_and_its_largest_value_the_highest_level(
    values: list[float | None], cells: int
) -> None:
    for glyphs in (GLYPHS, ASCII):
        drawn = glyphs.trend(values, cells)
        assert len(drawn) == max(0, cells)
        last = values[-cells:] if cells > 0 else []
        for value, glyph in zip(reversed(last), reversed(drawn), strict=False):
            if value is None or not value:
                assert glyph == (" " if value is None else glyphs.levels[0])
            elif value == max(each for each in last if each is not None):
                assert glyph == glyphs.levels[-1]


@pytest.mark.parametrize("view", VIEWS)
def test_titles_and_figures_fit_their_columns(view: str) -> None:
    values = [0, 1e-9, 0.0004, 0.0123, 0.99996, 1, 9.999, 59_999.9, 60_000, 3.6e6 * 30, 1_234_567.8]
    for column in COLUMNS[view][1:]:
        assert len(column.title) < column.width
        shares = column.field in ("error_rate", "time_share", "cpu", "memory", "disk")
        for value in [each for each in values if each <= 1] if shares else values:
            text = column.text(value).replace(" ", "").replace(",", "")
            assert len(text) <= column.width, f"{column.key} {value}"


def test_a_share_that_is_not_nothing_and_not_all_does_not_look_like_it() -> None:
    (errors,) = (column for column in COLUMNS["services"] if column.key == "errors")
    shares = (0, 1e-6, 0.5, 0.99999, 1)
    assert [errors.text(share) for share in shares] == ["0 %", "<0.1 %", "50 %", "99.9 %", "100 %"]


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"q/?1", ["q", "/", "?", "1"]),
        (b"\r\n\t\x7f\x08\x03\x0c\x15", [*["enter"] * 2, "tab", *["backspace"] * 2,
                                        "ctrl-c", "ctrl-l", "ctrl-u"]),
        (b"\x1b[A\x1bOB\x1b[C\x1b[D\x1b[Z", ["up", "down", "right", "left", "shift-tab"]),
        (b"\x1b[5~\x1b[6~\x1b[1~\x1b[4~\x1b[1;5A", ["page-up", "page-down", "home", "end", "up"]),
        ("é한".encode(), ["é", "한"]),
        (b"\xff\x00\x01", ["\N{REPLACEMENT CHARACTER}"]),
        (b"\x1b[99~\x1b[?1;2c", []),
        (b"\x1bx", ["escape", "x"]),
    ],
)  # fmt: skip
def test_bytes_become_keys_in_one_read_and_in_many(data: bytes, keys: list[str]) -> None:
    assert KeyDecoder().feed(data) == keys
    decoder = KeyDecoder()
    found = [key for byte in data for key in decoder.feed(bytes([byte]))]
    assert found == keys
    assert not decoder.waits


def test_an_escape_alone_is_a_key_once_nothing_follows() -> None:
    decoder = KeyDecoder()
    assert (decoder.feed(b"\x1b"), decoder.waits) == ([], True)
    assert (decoder.flush(), decoder.waits, decoder.flush()) == (["escape"], False, [])


@given(st.lists(st.binary(max_size=80), max_size=20))
def test_no_bytes_break_the_decoder_or_make_it_hold_much(chunks: list[bytes]) -> None:
    decoder = KeyDecoder()
    state = state_of(service("a", 1.0))
    for chunk in chunks:
        for key in decoder.feed(chunk):
            state.press(key)
        assert len(decoder._held) <= 32
