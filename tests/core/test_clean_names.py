"""Names from outside: nothing in them is obeyed, on the wire, in logs, in what commands print."""

import io
import logging
import sys
from pathlib import Path

import msgpack
import pytest

from trimtab_collector.storage.catalogue import rows_of
from trimtab_core import console
from trimtab_core.batches import (
    Batch,
    GaugeRow,
    ProcessAccounting,
    SeriesKey,
    decode,
    decode_series,
    encode,
    pack_series,
)
from trimtab_core.deltas import Events
from trimtab_core.logs import app_logger
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.messages import MAX_TEMPLATE, Hello, MeasureNames, Routes, parse
from trimtab_core.names import OBEYED, clean_name
from trimtab_core.rows import EventRow, MeasureRow, pack_rows, unpack_rows

REPOSITORY = Path(__file__).parents[2]
#: a name, and what is stored for it
NAMES = {
    "C0": ("a\x00b\x1b[31mc\x08", "a\ufffdb\ufffd[31mc\ufffd"),
    "white space": ("a\nb\rc\td\x0be", "a b c d e"),
    "DEL and C1": ("a\x7fb\x9b31mc\x85d", "a\ufffdb\ufffd31mc d"),
    "separators of lines": ("a\u2028b\u2029c", "a b c"),
    "direction": ("a\u202eb\u2066c\u2069\u200f\u061c", "a\ufffdb\ufffdc\ufffd\ufffd\ufffd"),
    "no width": ("a\u200bb\ufeffc\u2060", "a\ufffdb\ufffdc\ufffd"),
    "tags": ("a\U000e0041b", "a\ufffdb"),
    "letters": ("Größe 한국어 \u0645\u06cc\u200c\u062e 👩\u200d👧", None),
    "plain": ("/orders/{id}", None),
}
CASES = pytest.mark.parametrize(
    ("name", "stored"),
    [(name, stored or name) for name, stored in NAMES.values()],
    ids=[*NAMES],
)


@CASES
def test_a_name_is_cleaned_character_by_character(name: str, stored: str) -> None:
    assert clean_name(name) == stored
    assert clean_name(stored) == stored
    assert len(stored) == len(name)


def test_lone_surrogates_and_64_kb_are_cleaned_in_a_moment() -> None:
    assert clean_name("a\udcff\ud800b") == "a\ufffd\ufffdb"
    text = "\x1b\u202e" * 32_768
    assert clean_name(text) == "\ufffd" * 65_536


def _event(name: str) -> dict[str, object]:
    """Return an event with a name wherever a text may stand."""
    return {
        "kind": name,
        "at_us": 1,
        "route": name,
        f"key {name}": [1, None, name, [name, 0.5], {name: [name]}],
        "spans": [["db", 1, 2, name], [name, 3, 4, "SELECT ?"]],
    }


@CASES
def test_the_agent_cleans_what_an_app_says(name: str, stored: str) -> None:
    hello = parse(Hello(name, name, name, name, 1, b"p" * 8, facts={name: name}).frame())
    assert isinstance(hello, Hello)
    assert {hello.environment, hello.service, hello.version, hello.host} == {stored}
    assert dict(hello.facts) == {stored: stored}
    assert parse(Routes({1: name}).frame()) == Routes({1: stored})
    key = MeasureKey(name, COUNTER, name, ((name, name),))
    cleaned = MeasureKey(stored, COUNTER, stored, ((stored, stored),))
    assert parse(MeasureNames({1: key}).frame()) == MeasureNames({1: cleaned})
    assert parse(Events([_event(name)]).frame()) == Events([_event(stored)])


@CASES
def test_the_collector_cleans_what_an_agent_says_in_the_same_way(name: str, stored: str) -> None:
    series = pack_series([SeriesKey(*[name] * 7)])
    assert decode_series(series) == [SeriesKey(*[stored] * 7)]
    assert [*rows_of(series)] == [(stored,) * 7]
    whose = (name, name, name)
    key = MeasureKey(name, COUNTER, name, ((name, name),))
    rows = pack_rows(
        [MeasureRow(*whose, key, Delta(1, 1.0, 1.0, 1.0, 1.0))],
        [EventRow(*whose, _event(name))],
    )
    ((measure,), (event,)) = unpack_rows(rows[0])
    assert (*measure[:3], *event[:3]) == (stored,) * 6
    assert measure.key == MeasureKey(stored, COUNTER, stored, ((stored, stored),))
    assert event.event == _event(stored)
    batch = Batch(
        name, b"b" * 8, 1, 10, 10, 1, series, 0, {},
        [ProcessAccounting(b"p" * 8, *whose, [], 0, {name: 1})], [GaugeRow(*whose, name, 1.0)],
    )  # fmt: skip
    found = decode(encode(batch))
    assert found.agent == stored
    assert found.processes[0][1:4] == (stored,) * 3
    assert dict(found.processes[0].dropped) == {stored: 1}
    assert found.gauges == [GaugeRow(stored, stored, stored, stored, 1.0)]


def test_names_with_lone_surrogates_break_no_frame_of_others() -> None:
    frame = msgpack.packb(["routes", [[1, "\udcff"]]], unicode_errors="surrogatepass")
    with pytest.raises(UnicodeDecodeError):
        msgpack.unpackb(frame)
    message = parse(["routes", [[1, "x\udcff" + "y" * 2 * MAX_TEMPLATE]]])
    assert isinstance(message, Routes)
    assert message.routes[1].startswith("x\ufffdy")
    assert len(message.routes[1]) == MAX_TEMPLATE


# ---------------------------------------------------------------- logs and commands

HOSTILE = "shop\n2026-01-01 ERROR forged\x1b[2J\u202e\x9b\u2028\u200b\udcff"


def test_a_line_in_the_log_of_an_app_is_one_line_that_begins_with_our_name() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = app_logger("trimtab.a_test")
    logger.logger.addHandler(handler)
    try:
        logger.warning("cannot reach %s: %d %% of ttk_0123456789ab", HOSTILE, 5)
        try:
            raise ValueError(HOSTILE)
        except ValueError:
            logger.warning("no", exc_info=True)
    finally:
        logger.logger.removeHandler(handler)
    lines = out.getvalue().split("\n")
    assert lines[0].startswith("trimtab: cannot reach shop\\n2026")
    assert "5 % of ttk_..." in lines[0]
    assert lines[1] == "trimtab: no"
    assert all(line.startswith("    ") for line in lines[2:-1])
    assert not OBEYED.search("".join(lines))


def test_every_logger_in_an_app_is_one_of_those() -> None:
    sources = (REPOSITORY / "middleware").rglob("*.py")
    assert [path.name for path in sources if "getLogger(" in path.read_text()] == []


def test_what_any_command_prints_is_plain(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def command(_: list[str]) -> int:
        console.show_table([["NAME", "STATE"], [HOSTILE, "active"]])
        print(HOSTILE, file=sys.stderr)  # noqa: T201 - as a command does
        return 0

    class Point:
        name = "hostile"

        def load(self) -> object:
            return command

    monkeypatch.setattr(console, "entry_points", lambda group: [Point()])
    assert console.main(["hostile"]) == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 2
    assert "shop\\u000a2026-01-01 ERROR forged\\u001b[2J\\u202e\\u009b\\u2028" in out
    assert not OBEYED.search((out + err).replace("\n", ""))


def test_every_command_goes_through_the_console_and_none_past_it() -> None:
    """Only the live table writes to the terminal itself; it has its own way to show names."""
    past = []
    for part in ("core", "agent", "collector/trimtab_collector", "middleware"):
        for path in (REPOSITORY / part).rglob("*.py"):
            text = path.read_text()
            if "sys.__stdout__" in text or "stdout.buffer" in text or "stderr.buffer" in text:
                past.append(path.name)
    assert past == ["worker.py"] or past == []
