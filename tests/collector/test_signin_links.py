"""Links that sign somebody in: good once, for ten minutes, for who was meant and as what they are.

And what `trimtab up` does with one: on a terminal, in a service, on a desktop.
"""

import contextlib
import json
import os
import pty
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from support.clock import Clock
from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import (
    Collector,
    Proc,
    clean_environment,
    free_port,
    short_dir,
    trimtab,
    wait_for,
)
from trimtab_collector.auth.audit import AUDIT, AuditTrail
from trimtab_collector.auth.cli import user
from trimtab_collector.auth.links import (
    LINK_S,
    SigninLinks,
    guest_link,
    keep_address,
    kept_address,
)
from trimtab_collector.auth.people import People, Person
from trimtab_collector.auth.sessions import Issued, Sessions
from trimtab_collector.auth.signing import SigningKeys
from trimtab_collector.contract.callers import ITSELF, Role
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.desktop import has_desktop
from trimtab_collector.statefile import StateFile
from trimtab_core.errors import SettingsError

NOON_S = 1_800_000_000.0


class World:
    """A state file with users, and links by a clock that a test moves."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock(NOON_S)
        self.state = StateFile(directory, (AUDIT,))
        self.people = People(self.state, self.clock)
        self.sessions = Sessions(self.state, self.people, SigningKeys(directory), self.clock)
        self.links = SigninLinks(self.state, self.people, self.clock)
        self.ada = self.people.add(ITSELF, "ada", "hash", Role.ADMIN)
        self.paul = self.people.add(ITSELF, "paul", "hash", Role.PLANNER)

    def make(self, person: Person | None = None) -> str:
        return self.links.make(ITSELF, person or self.paul)

    def use(self, token: str) -> Issued:
        return self.links.use(self.sessions, token)

    def refuse(self, token: str) -> None:
        """Fail unless a token is refused as none that signs in."""
        with pytest.raises(ApiError, match="trimtab user link NAME") as caught:
            self.use(token)
        assert (caught.value.status, caught.value.code) == (401, "unauthorized")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.state.close()


# ---------------------------------------------------------------- good for what


def test_a_link_is_good_once_for_its_user(world: World) -> None:
    token = world.make()
    assert re.fullmatch(r"[\w-]{43}", token)
    assert world.use(token).person.name == "paul"
    world.refuse(token)


def test_a_link_is_good_for_ten_minutes(world: World) -> None:
    early, late = world.make(), world.make()
    world.clock.advance_s(LINK_S - 1)
    assert world.use(early).person.name == "paul"
    world.clock.advance_s(1)
    world.refuse(late)


def test_a_clock_that_is_put_back_makes_no_link_good_for_longer(world: World) -> None:
    token = world.make()
    world.clock.advance_s(-3_600)
    world.refuse(token)


@pytest.mark.parametrize("token", ["", "x", "é" * 100, "\ud800", "x" * 256])
def test_another_text_is_refused(world: World, token: str) -> None:
    world.make()
    world.refuse(token)


def test_a_change_of_the_user_ends_the_link(world: World) -> None:
    promoted, disabled = world.make(), world.make(world.ada)
    world.people.change(ITSELF, world.paul.id, role=Role.ADMIN)
    world.people.change(ITSELF, world.ada.id, disabled=True)
    world.refuse(promoted)
    world.refuse(disabled)
    with pytest.raises(ApiError, match="ada is disabled"):
        world.make(world.people.by_name("ada"))
    gone = world.people.find(world.paul.id)
    assert gone is not None
    token = world.make(gone)
    world.people.change(ITSELF, world.ada.id, disabled=False)
    world.people.delete(ITSELF, gone.id)
    world.refuse(token)


def test_making_and_using_a_link_are_in_the_audit_trail_without_the_token(world: World) -> None:
    token = world.make()
    world.use(token)
    entries, _ = AuditTrail(world.state).entries(0, 1e12, 10, action="link")
    assert [(each.action, each.by, each.subject, each.role) for each in entries] == [
        ("link.use", "paul", "paul", "planner"),
        ("link.make", "the collector", "paul", "admin"),
    ]
    held = b"".join(path.read_bytes() for path in world.state.path.parent.glob("state.db*"))
    assert token.encode() not in held


def test_a_hundred_links_are_kept_the_latest_ones(world: World) -> None:
    first = world.make()
    world.clock.advance_s(1)
    others = [world.make() for _ in range(100)]
    world.refuse(first)
    assert world.use(others[0]).person.name == "paul"
    assert world.state.rows("SELECT count(*) FROM signin_link") == [(99,)]


# ---------------------------------------------------------------- a real collector


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with an admin."""
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        yield process.start()


def linked(collector: Collector, name: str) -> str:
    """Return what `trimtab user link` prints."""
    done = subprocess.run(
        trimtab("user", "link", name, "--data-dir", str(collector.data)),
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "within 10 minutes" in done.stderr
    return done.stdout.strip()


def token_of(address: str) -> str:
    parts = urlsplit(address)
    assert parts.path.endswith("/performance/dashboard")
    assert not parts.query, "a query is in the logs of proxies"
    return parts.fragment.removeprefix("signin=")


def test_the_console_prints_a_link_that_signs_in_while_the_collector_runs(
    collector: Collector,
) -> None:
    address = linked(collector, "ADA")
    assert address.startswith(f"{collector.url}/performance/dashboard#signin=")
    client, body = Client(collector.port), {"token": token_of(address), "cookie": True}
    found = client.ask("POST", "/auth/link", body)
    assert found.data["user"]["name"] == ADMIN
    assert found.data["refreshToken"] is None
    cookie = found.headers["set-cookie"]
    assert "HttpOnly; SameSite=Strict" in cookie
    client.token = found.data["accessToken"]
    assert client.ask("GET", "/auth/me").data["role"] == "admin"
    page = {"Cookie": cookie.partition(";")[0], "X-Trimtab-Request": "1"}
    assert Client(collector.port).ask("POST", "/auth/refresh", {}, page).status == 200
    again = client.ask("POST", "/auth/link", body)
    assert (again.status, again.code) == (401, "unauthorized")
    entries = client.ask("GET", "/audit?action=link").data["entries"]
    assert [each["action"] for each in entries] == ["link.use", "link.make"]
    assert entries[1]["by"].startswith("console (")


def test_a_link_begins_where_people_reach_the_collector(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def printed(*words: str, **environ: str) -> str:
        with monkeypatch.context() as patch:
            for name, value in environ.items():
                patch.setenv(f"TRIMTAB_COLLECTOR_{name}", value)
            assert user(["link", *words, "--data-dir", str(collector.data)]) == 0
        return capsys.readouterr().out.strip()

    base = printed(ADMIN, BASE_URL="https://m.example/below/")
    assert base.startswith("https://m.example/below/performance/dashboard#signin=")
    given = json.loads(printed(ADMIN, "--url", "http://10.0.0.5:99", "--json"))
    assert given["url"].startswith("http://10.0.0.5:99/performance/dashboard#signin=")
    assert given["seconds"] == 600
    # Whatever these settings say: the collector was started with others, by an option perhaps.
    for other in ({"HOST": "0.0.0.0"}, {"PORT": "1"}, {"PORT": "0"}):
        assert printed(ADMIN, **other).startswith(f"{collector.url}/performance")
    with pytest.raises(SettingsError, match="--url: expected https://HOST"):
        printed(ADMIN, "--url", "m.example")
    with pytest.raises(SettingsError, match="expected the name of a user, got 'eve'"):
        printed("eve")


@pytest.mark.parametrize(
    ("listens", "expected"),
    [
        ("http://127.0.0.1:9", "http://127.0.0.1:9"),
        ("https://0.0.0.0:8620", "https://127.0.0.1:8620"),
        ("http://[::]:8620", "http://[::1]:8620"),
        ("http://10.0.0.5:8620", "http://10.0.0.5:8620"),
    ],
)
def test_where_a_collector_listens_is_kept_for_the_console(
    tmp_path: Path, listens: str, expected: str
) -> None:
    keep_address(tmp_path, listens)
    assert kept_address(tmp_path) == expected
    keep_address(tmp_path / "missing", listens)
    assert kept_address(tmp_path / "missing") == ""


@pytest.mark.parametrize(
    "text", ["", "x", "http://", "http://a:0", "caf\N{LATIN SMALL LETTER E WITH ACUTE}"]
)
def test_without_a_known_address_the_console_asks_for_one(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path)
    world.state.close()
    (tmp_path / "address").write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match="give --url URL"):
        user(["link", "ada", "--data-dir", str(tmp_path)])
    assert not capsys.readouterr().out


def test_who_guesses_is_held_up(collector: Collector) -> None:
    client = Client(collector.port, address="127.0.0.9")
    tries = [client.ask("POST", "/auth/link", {"token": f"guess {n}"}) for n in range(22)]
    assert {each.status for each in tries[:19]} == {401}
    assert tries[-1].status == 429
    assert "retry-after" in tries[-1].headers


def test_a_script_gets_a_link_for_a_guest_who_is_added_once(collector: Collector) -> None:
    for _ in range(2):
        address = guest_link(collector.data, collector.url, "guest")
        client = Client(collector.port)
        found = client.ask("POST", "/auth/link", {"token": token_of(address)})
        assert found.data["user"]["role"] == "planner"
        assert found.data["refreshToken"].startswith("ttf_")


# ---------------------------------------------------------------- trimtab up


def starting(tmp: Path, **more: str) -> Mapping[str, str]:
    """Return the environment of a `trimtab up` whose collector has an admin."""
    return {
        "TRIMTAB_COLLECTOR_PORT": str(free_port()),
        "TRIMTAB_COLLECTOR_DATA_DIR": str(tmp / "c"),
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
        "TRIMTAB_AGENT_SOCKET": f"unix://{tmp}/a.sock",
        "TRIMTAB_AGENT_DATA_DIR": str(tmp / "a"),
        "TRIMTAB_AGENT_HTTP": f"127.0.0.1:{free_port()}",
        "HOME": str(tmp),
        "CI": "",
        "SSH_CONNECTION": "",
        **more,
    }


def test_in_a_service_it_prints_where_the_dashboard_is_and_no_token(tmp: Path) -> None:
    with Proc("up", trimtab("up"), tmp, starting(tmp, DISPLAY=":1")) as process:
        process.start()
        line = process.wait_line("the dashboard is at")
        assert line.endswith("trimtab user link NAME prints a link that signs in")
        assert "#signin=" not in process.output()


def test_on_a_desktop_it_opens_a_link_that_no_argument_shows(tmp: Path) -> None:
    browser = tmp / "browser"
    # Takes what a browser would read, and ends as one that has handed its address on.
    browser.write_text(f'#!/bin/sh\necho "$@" >{tmp}/arguments\ncp "${{1#file://}}" {tmp}/page\n')
    browser.chmod(0o755)
    env = starting(tmp, DISPLAY=":1", BROWSER=f"{browser} %s")
    process = Proc("up", trimtab("up"), tmp, env)
    text = ""
    terminal, its = pty.openpty()
    child = subprocess.Popen(process.command, env=process.env, stderr=its, stdin=subprocess.DEVNULL)
    os.close(its)
    os.set_blocking(terminal, False)

    def opened() -> bool:
        nonlocal text
        with contextlib.suppress(BlockingIOError):
            text += os.read(terminal, 65_536).decode()
        return (tmp / "page").exists() and "#signin=" in text

    try:
        wait_for(opened, "the browser to be opened", 40)
        (address,) = re.findall(r"http://\S+#signin=\S+", text)
        assert f'content="0; url={address}"' in (tmp / "page").read_text()
        assert "signin" not in (tmp / "arguments").read_text()
        (file,) = tmp.glob("trimtab-*.html")
        assert file.stat().st_mode & 0o777 == 0o600
        port = int(env["TRIMTAB_COLLECTOR_PORT"])
        found = Client(port).ask("POST", "/auth/link", {"token": token_of(address)})
        assert found.data["user"]["name"] == ADMIN
    finally:
        child.terminate()
        child.wait(20)
        os.close(terminal)
    assert list(tmp.glob("trimtab-*.html")) == []


@pytest.mark.parametrize(
    ("environ", "platform", "is_terminal", "expected"),
    [
        ({"DISPLAY": ":0"}, "linux", True, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True, True),
        ({}, "darwin", True, True),
        ({}, "linux", True, False),
        ({"DISPLAY": ":0"}, "linux", False, False),
        ({"DISPLAY": ":0", "CI": "true"}, "linux", True, False),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}, "linux", True, False),
    ],
)
def test_a_browser_is_for_somebody_who_sits_there(
    environ: dict[str, str], platform: str, is_terminal: bool, expected: bool
) -> None:
    assert has_desktop(environ, platform, is_terminal=is_terminal) is expected
