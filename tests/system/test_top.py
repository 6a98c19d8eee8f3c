"""`trimtab top` as a person runs it: in a terminal, against a running collector with data."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.processes.api import TOKEN
from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.screens import TerminalProgram
from support.processes.servers import (
    Collector,
    clean_environment,
    free_port,
    short_dir,
    wait_for,
)
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from trimtab_collector.top.cli import top as top_command
from trimtab_core.batches import GaugeRow
from trimtab_core.errors import TrimtabError

CLEAR = "\x1b[2J\x1b]0;owned\x07"
#: what the agent's and the collector's doors make of it
CLEANED = "\ufffd[2J\ufffd]0;owned\ufffd"
#: as the console runs it, in a process that first does something else
_AFTER = """
import sys
{first}
from importlib.metadata import EntryPoint
from trimtab_core.console import _run
point = EntryPoint("top", "trimtab_collector.top.cli:top", "trimtab.commands")
code = _run(point, sys.argv[1:])
{then}
sys.exit(code)
"""


class Fleet:
    """A collector, and who sends it batches of two services and a host."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.collector = Collector(directory, **settings)
        self._seq = 0
        self._key = ""

    def send(self) -> None:
        """Send requests of the last window and gauges of now."""
        self._key = self._key or self.collector.new_key()
        gauges = [
            GaugeRow("", "", "web-1", name, value)
            for name, value in (
                ("system.cpu.utilization", 0.71),
                ("system.memory.utilization", 0.5),
                ("system.filesystem.utilization", 0.25),
                ("system.network.receive.rate", 1.5e6),
            )
        ]
        points = {
            key_of("/orders/{id}", "shop"): point_of([20_000] * 40),
            key_of("/health", "shop"): point_of([1_000] * 80),
            key_of("/pay", "billing", "5xx"): point_of([90_000] * 30, 30),
            key_of(f"/{CLEAR}", "billing"): point_of([1_000] * 5),
        }
        self._seq += 1
        with Sender(self.collector.port, self._key) as sender:
            sender.insist(a_batch(self._seq, points, gauges=gauges))

    def send_live(self) -> None:
        """Send one-second summaries of the last seconds."""
        self._key = self._key or self.collector.new_key()
        points = {key_of(environment="live"): point_of([2_000] * 7)}
        with Sender(self.collector.port, self._key) as sender:
            for back in (4, 3, 2, 1):
                self._seq += 1
                second = window(back, step_s=1)
                sender.insist(a_batch(self._seq, points, window_s=second, step_s=1, live=True))

    def open(self, *words: str, size: tuple[int, int] = (80, 24), **env: str) -> TerminalProgram:
        """Return `trimtab top` in a terminal."""
        self.send()
        command = [sys.executable, "-c", _AFTER.format(first="", then=""), *words]
        return TerminalProgram(command, self.environment | env, size)

    def run(
        self, *words: str, first: str = "", then: str = "", **env: str
    ) -> subprocess.CompletedProcess[str]:
        """Run it without a terminal."""
        return subprocess.run(
            [sys.executable, "-c", _AFTER.format(first=first, then=then), *words],
            env=clean_environment() | self.environment | env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {"TRIMTAB_URL": self.collector.url, "TRIMTAB_TOKEN": TOKEN}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory:
        found = Fleet(directory, **settings)
        with found.collector.start():
            yield found


def end(top: TerminalProgram, code: int) -> None:
    """Expect it to end with a code, and the terminal to be as it was."""
    assert top.wait_exit() == code
    assert top.attributes == top.before
    wait_for(lambda: top.written.count(b"\x1b[?1049l") == 1, "the screen to be left")
    assert top.written.count(b"\x1b[?1049h") == 1
    assert not top.cursor_hidden


def screen_row(top: TerminalProgram, text: str) -> int:
    """Return the line on which a text stands."""
    (found,) = (place for place, line in enumerate(top.lines) if text in line)
    return found


# ---------------------------------------------------------------- one frame


def test_once_as_json_has_services_routes_hosts_and_alerts(fleet: Fleet) -> None:
    fleet.send()
    loaded = "print([n for n in ('rich', 'msgspec', 'numpy', 'starlette') if n in sys.modules])"
    done = fleet.run("--once", "--json", "--environment", "test", then=loaded)
    assert (done.returncode, done.stderr) == (0, "")
    answer, modules = done.stdout.splitlines()
    assert modules == "[]"
    found = json.loads(answer)
    assert found["collector"] == fleet.collector.url
    assert [row["service"] for row in found["services"]] == ["shop", "billing"]
    assert found["services"][1]["p95"] == pytest.approx(90, rel=0.02)
    first, *others = found["routes"]
    assert (first["route"], first["service"], first["errorRate"]) == ("/pay", "billing", 1.0)
    assert first["timeShare"] > 0.5
    assert [row["route"] for row in others] == ["/orders/{id}", "/health", f"/{CLEANED}"]
    (host,) = found["hosts"]
    assert (host["host"], host["cpu"], host["diskRead"]) == ("web-1", 0.71, None)
    assert found["overall"]["requestsPerSecond"] > 0
    # Those of the host are of every environment.
    assert {alert["service"] for alert in found["alerts"]} <= {"billing", ""}


def test_once_as_json_sorts_and_filters_as_the_view_does(fleet: Fleet) -> None:
    fleet.send()
    words = ("--json", "--view", "routes", "--sort", "name", "--filter", "SHOP")
    found = json.loads(fleet.run(*words).stdout)
    assert [row["route"] for row in found["routes"]] == ["/health", "/orders/{id}"]
    assert [row["service"] for row in found["services"]] == ["shop"]
    found = json.loads(fleet.run("--json", "--service", "billing").stdout)
    assert {row["service"] for row in found["routes"]} == {"billing"}


def test_without_a_terminal_it_prints_one_plain_table(fleet: Fleet) -> None:
    fleet.send()
    done = fleet.run("--view", "routes", FORCE_COLOR="", TTY_COMPATIBLE="")
    assert (done.returncode, done.stderr) == (0, "")
    assert not re.search(r"[^\n -~\u2013\u25bc\ufffd]", done.stdout)
    assert re.search(r"^  GET  /pay  billing +[\d.]+   100 %  ", done.stdout, re.MULTILINE)
    assert f"GET  /{CLEANED}  billing" in done.stdout


def test_without_unicode_the_table_is_ascii(fleet: Fleet) -> None:
    done = fleet.run(PYTHONIOENCODING="ascii", FORCE_COLOR="")
    assert (done.returncode, done.stdout.isascii()) == (0, True)
    assert "req/sv" in done.stdout


def test_without_rich_one_sentence_says_what_to_install(fleet: Fleet) -> None:
    done = fleet.run(first="sys.modules['rich'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "trimtab top: the table needs the package rich: "
        'pip install "trimtab[cli]"; --json does without it\n'
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sort", "depth"), "--sort: expected a column of services (name, rps, "),
        (("--interval", "0.1"), "--interval: expected 0.5 to 60 seconds, got 0.1"),
        (("--interval", "nan"), "--interval: expected 0.5 to 60 seconds, got nan"),
        (("--filter", "x" * 101), "--filter: expected up to 100 characters"),
        (("--token-file", "/no/such/file"), "--token-file: cannot read"),
        (("--url", f"http://127.0.0.1:{free_port()}"), "expected a collector at http://"),
    ],
    ids=lambda words: words[0],
)
def test_what_goes_wrong_is_said_in_one_sentence(words: tuple[str, ...], says: str) -> None:
    with pytest.raises(TrimtabError) as refused:
        top_command([*words])
    assert str(refused.value).startswith(says)
    assert "\n" not in str(refused.value)


# ---------------------------------------------------------------- live


def test_keys_switch_views_sort_filter_open_and_quit(fleet: Fleet) -> None:
    with fleet.open() as top:
        top.wait_text("billing")
        assert screen_row(top, "shop ") < screen_row(top, "billing ")
        assert "hosts 1     CPU 71%  memory 50%  disk 25%" in top.lines[2]
        top.press("s")
        top.wait_text("errors▼")
        assert screen_row(top, "billing ") < screen_row(top, "shop ")
        top.press("r")
        top.wait_text("errors▲")
        top.press("\r")
        top.wait_text("of shop in test")
        top.wait_text("GET  /orders/{id}")
        assert not top.line_with("/pay")
        top.press("\x1b")
        top.wait_text("billing ")
        top.press("\t/PAY\r")
        top.wait_text("filter: PAY")
        top.wait_text("GET  /pay")
        assert not top.line_with("/orders")
        top.press("\x1b3")
        top.wait_text("1.5 MB/s")
        top.press("?")
        top.wait_text("Ctrl-L")
        top.press("x")
        top.wait_gone("Ctrl-L")
        assert top.wait_text("billing: errorRate").startswith((" ! ", "   pending"))
        top.press("pq")
        end(top, 0)


def test_a_name_cannot_act_on_the_terminal(fleet: Fleet) -> None:
    with fleet.open("--view", "routes") as top:
        top.wait_text("GET  /\ufffd[2J\ufffd]0;owne")
        assert (top.written.count(b"\x1b[2J"), b"\x1b]" in top.written) == (2, False)


def test_only_lines_that_change_are_written_and_colours_only_if_wanted(fleet: Fleet) -> None:
    with fleet.open("--interval", "60", NO_COLOR="1") as top:
        top.wait_text("q quit")
        begun = len(top.written)
        clocks = {top.lines[0]}

        def ticked() -> bool:
            clocks.add(top.lines[0])
            return len(clocks) > 2

        wait_for(ticked, "the clock to go on", 20)
        later = top.written[begun:]
        assert [word for word in (b"req/s", b"q quit", b"\x1b[2J") if word in later] == []
        colours = [each for each in re.findall(rb"\x1b\[([\d;]+)m", top.written) if each != b"0"]
        assert {each.decode() for each in colours} <= {"1", "2", "7", "1;7", "2;7"}


def test_it_takes_the_whole_terminal_when_that_grows_and_shrinks(fleet: Fleet) -> None:
    with fleet.open() as top:
        top.wait_text("q quit")
        for size in ((132, 43), (60, 16), (80, 24)):
            top.resize(*size)
            wait_for(lambda: "q quit" in top.lines[-1], f"a frame of {size}")
            wait_for(lambda: re.search(r"\d\d:\d\d:\d\d$", top.lines[0]), "the clock at the right")
            assert len(top.lines[0]) == size[0] - 1


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
def test_a_signal_restores_the_terminal(fleet: Fleet, number: int, code: int) -> None:
    with fleet.open() as top:
        top.wait_text("billing")
        # Ctrl-C as the terminal sends it.
        top.press("\x03") if number == signal.SIGINT else top.signal(number)
        end(top, code)


def test_a_crash_restores_the_terminal_and_is_shown(fleet: Fleet) -> None:
    fleet.send()
    first = """
import trimtab_collector.top.session as session
frames = iter([session.frame] * 2)
session.frame = lambda *given: next(frames)(*given)
"""
    command = [sys.executable, "-c", _AFTER.format(first=first, then="")]
    with TerminalProgram(command, fleet.environment) as top:
        end(top, 1)
        top.wait_text("StopIteration")


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(fleet: Fleet) -> None:
    with fleet.open() as top:
        top.wait_text("billing")
        top.signal(signal.SIGTSTP)
        wait_for(top.stopped, "it to stop")
        assert top.attributes == top.before
        wait_for(lambda: b"\x1b[?1049l" in top.written, "the screen to be left")
        top.resume()
        wait_for(lambda: top.written.count(b"\x1b[?1049h") == 2, "it to go on")
        top.wait_text("billing")
        top.press("q")
        assert top.wait_exit() == 0
        assert top.attributes == top.before


def test_a_lost_collector_is_said_and_found_again(fleet: Fleet) -> None:
    with fleet.open() as top:
        top.wait_text("billing")
        fleet.collector.freeze()
        top.wait_text("no answer for")
        fleet.collector.thaw()
        top.wait_gone("no answer for")
        fleet.collector.kill9()
        top.wait_text("NO ANSWER for")
        top.wait_text("got: [Errno 111]")
        assert top.line_with("billing ")
        fleet.collector.start()
        top.wait_gone("NO ANSWER", 40)
        assert top.line_with("last 60 s")


def test_a_token_that_is_revoked_and_replaced_in_its_file_is_read_again(
    fleet: Fleet, tmp: Path
) -> None:
    admin = Client(fleet.collector.port)
    assert admin.login().status == 200
    file = tmp / "token"

    def new_token(name: str) -> Any:
        made = admin.ask("POST", "/tokens", {"name": name}).data
        file.write_text(made["token"])
        return made

    former = new_token("first")
    with fleet.open("--token-file", str(file), TRIMTAB_TOKEN="") as top:
        top.wait_text("billing")
        assert admin.ask("DELETE", f"/tokens/{former['serviceToken']['id']}").status == 200
        top.wait_text("NO ANSWER")
        top.wait_text("the collector refused (401)")
        new_token("second")
        top.wait_gone("NO ANSWER", 40)


# ---------------------------------------------------------------- last: they answer for a while


def test_one_second_summaries_are_shown_as_soon_as_agents_send_them(fleet: Fleet) -> None:
    fleet.send_live()
    found = json.loads(fleet.run("--json", "--environment", "live").stdout)
    assert (found["seconds"], found["resolution"]) == (10, 1)
    (row,) = found["services"]
    assert row["service"] == "shop"
    # Seven in each of four seconds; a busy machine may ask some seconds later.
    over_s = 28 / row["requestsPerSecond"]
    assert 4 <= round(over_s) <= 10
    assert over_s == pytest.approx(round(over_s), abs=0.01)
