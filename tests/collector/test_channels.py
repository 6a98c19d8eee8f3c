"""Channels as data: from the API, from alerts.toml and by the console, and their secrets."""

import importlib.util
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.lacking import lack
from support.notices import notice
from support.outboxes import box
from support.processes.api import TOKEN
from support.processes.console import run_command
from support.processes.people import ADMIN as ADMIN_NAME
from support.processes.people import PASSWORD, Client
from support.processes.servers import Collector, short_dir, trimtab, wait_for
from support.processes.stub_collector import Answer, StubCollector
from support.stores.badrows import plant
from trimtab_collector.notify.apprise import AppriseChannel
from trimtab_collector.notify.channel import DeliveryError, Message
from trimtab_collector.notify.channels import MAX_CHANNELS, parse_channel
from trimtab_collector.notify.options import Sending
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.settings import CollectorSettings
from trimtab_core.errors import SettingsError

SECRET = "s3cret-of-the-test"
FILE = """
[channels.from-file]
kind = "webhook"
url = "https://hooks.example.com/T0"
secret_file = "%s"
default = false
"""


class Running:
    """A collector with an admin, a receiver that it may reach, and an alerts.toml."""

    admin: Client

    def __init__(self, directory: Path, stub: StubCollector) -> None:
        self.stub = stub
        secret = directory / "secret"
        secret.write_text(SECRET + "\n", encoding="utf-8")
        self.file = directory / "alerts.toml"
        self.file.write_text(FILE % secret, encoding="utf-8")
        self.collector = Collector(
            directory,
            TRIMTAB_COLLECTOR_ADMIN_NAME=ADMIN_NAME,
            TRIMTAB_COLLECTOR_ADMIN_PASSWORD=PASSWORD,
            TRIMTAB_COLLECTOR_ALERTS_FILE=str(self.file),
            TRIMTAB_COLLECTOR_ALLOW_HOSTS="127.0.0.1",
            TRIMTAB_COLLECTOR_HEARTBEAT_URL=f"{stub.url}/heart",
        )

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        answer = self.admin.ask(method, path, body)
        return answer.status, answer.body

    def console(self, *words: str, text: str = "") -> tuple[int, str]:
        done = subprocess.run(
            trimtab("channel", *words),
            env={**os.environ, **self.collector.env},
            capture_output=True,
            text=True,
            input=text,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with short_dir() as directory, StubCollector(lambda body, number: Answer(200)) as stub:
        made = Running(directory, stub)
        with made.collector:
            made.collector.start()
            made.admin = Client(made.collector.port)
            made.admin.login()
            yield made


def hook(running: Running, **more: Any) -> dict[str, Any]:
    return {"url": f"{running.stub.url}/hook", "secret": SECRET, **more}


def test_a_channel_is_made_shown_changed_tested_and_removed(running: Running) -> None:
    new = {"name": "hook", "kind": "webhook", "settings": hook(running)}
    status, body = running.ask("POST", "/channels", new)
    assert status == 201
    made = body["data"]
    assert made["settings"]["secret"] == made["settings"]["url"] == "set"
    assert made["target"] == f"trimtab at 127.0.0.1:{running.stub.port}"
    # What was shown can be sent back: secrets stay as they are.
    settings = {**made["settings"], "lang": "ko", "ratePerMinute": 3}
    status, body = running.ask("PUT", "/channels/hook", {"settings": settings})
    assert (status, body["data"]["settings"]["lang"]) == (200, "ko")
    status, body = running.ask("POST", "/channels/hook/test")
    assert body["data"]["delivered"] is True
    request = next(each for each in running.stub.asked if each.path == "/hook")
    assert "x-trimtab-signature" in request.headers
    status, body = running.ask("GET", "/deliveries?channel=hook")
    (row,) = body["data"]["deliveries"]
    assert (row["state"], row["kind"], row["attempts"]) == ("sent", "test", 1)
    status, body = running.ask("DELETE", "/channels/hook")
    assert (status, body["data"]) == (200, {"id": "hook"})
    assert running.ask("GET", "/channels/hook")[0] == 404
    assert SECRET not in running.collector.output()


def test_a_planner_sees_channels_and_deliveries_and_changes_nothing(running: Running) -> None:
    planner = Client(running.collector.port, TOKEN)
    for path in ("/channels", "/channels/from-file", "/deliveries"):
        answer = planner.ask("GET", path)
        assert answer.status == 200
        assert SECRET not in json.dumps(answer.body)
    for method, path in (("POST", "/channels/from-file/test"), ("DELETE", "/channels/from-file")):
        assert planner.ask(method, path).status == 403


def test_channels_of_the_file_are_there_and_changed_only_there(running: Running) -> None:
    status, body = running.ask("GET", "/channels/from-file")
    assert (status, body["data"]["origin"]) == (200, "file")
    assert body["data"]["settings"]["secret"] == "set"
    for method, sent in (("PUT", {"settings": {}}), ("DELETE", None)):
        status, body = running.ask(method, "/channels/from-file", sent)
        assert (status, body["error"]["code"]) == (409, "read_only")


@pytest.mark.parametrize(
    ("name", "kind", "settings", "text"),
    [
        ("x", "smoke", {}, "kind: expected one of smtp, slack"),
        ("x", "slack", {}, "url: expected an address"),
        ("x", "slack", {"url": "https://x/", "colour": "red"}, "colour is unknown"),
        ("X y", "slack", {"url": "https://x/"}, "expected a name of up to 63 small letters"),
        ("heartbeat", "slack", {"url": "https://x/"}, "other than heartbeat and live"),
        ("x", "apprise", {"urls": ["json://127.0.0.1"]}, "whose connections can be checked"),
        ("x", "slack", {"url_file": "/etc/passwd"}, "url_file is unknown"),
        ("from-file", "slack", {"url": "https://x/"}, "expected a new name"),
        ("x", "slack", {"url": "https://x/" + "y" * 3000}, "at most 2000"),
    ],
)
def test_what_is_wrong_with_a_channel_is_said(
    running: Running, name: str, kind: str, settings: dict[str, Any], text: str
) -> None:
    sent = {"name": name, "kind": kind, "settings": settings}
    status, body = running.ask("POST", "/channels", sent)
    assert status in (409, 422)
    assert text in body["error"]["message"]
    assert running.ask("GET", "/channels/x")[0] == 404


@pytest.mark.parametrize(
    ("kind", "settings", "place"),
    [
        ("smtp", {"host": "10.0.0.25", "port": 39025}, "10.0.0.25:39025"),
        ("smtp", {"host": "localhost", "security": "none"}, "localhost:25"),
        ("smtp", {"host": "::1", "security": "none"}, "[::1]:25"),
        ("webhook", {"url": "https://169.254.169.254/latest"}, "169.254.169.254:443"),
        ("slack", {"url": "http://hooks.example.com/T0"}, "hooks.example.com:80"),
        ("alertmanager", {"url": "https://192.168.1.9:9093"}, "192.168.1.9:9093"),
    ],
)
def test_an_address_that_the_settings_never_allow_is_refused_when_it_is_saved(
    running: Running, kind: str, settings: dict[str, Any], place: str
) -> None:
    more = {"sender": "t@x.org", "to": ["o@x.org"]} if kind == "smtp" else {}
    sent = {"name": "x", "kind": kind, "settings": {**settings, **more}}
    status, body = running.ask("POST", "/channels", sent)
    assert (status, body["error"]["code"]) == (422, "bad_channel")
    assert f"TRIMTAB_COLLECTOR_ALLOW_HOSTS={place} " in body["error"]["message"]
    assert running.ask("GET", "/channels/x")[0] == 404


def test_a_name_that_leads_nowhere_yet_is_taken_and_its_channel_shows_what_fails(
    running: Running,
) -> None:
    settings = {"host": "mail.invalid", "sender": "t@x.org", "to": ["o@x.org"]}
    status, body = running.ask(
        "POST", "/channels", {"name": "later", "kind": "smtp", "settings": settings}
    )
    assert (status, body["data"]["trouble"], body["data"]["failing"]) == (201, None, None)
    error = running.ask("POST", "/channels/later/test")[1]["data"]["error"]
    shown = running.ask("GET", "/channels/later")[1]["data"]
    assert shown["failing"]["error"] == error
    rows = running.ask("GET", "/channels")[1]["data"]["channels"]
    assert [row["name"] for row in rows if row["failing"]] == ["later"]
    # What never worked may still be switched off by whoever cannot allow it.
    off = {**settings, "host": "127.0.0.2", "enabled": False}
    assert running.ask("PUT", "/channels/later", {"settings": off})[0] == 200
    assert "127.0.0.2:587" in running.ask("GET", "/channels/later")[1]["data"]["trouble"]
    running.ask("DELETE", "/channels/later")


def test_the_console_says_at_once_that_an_address_is_not_allowed(running: Running) -> None:
    words = ("host=10.0.0.25", "sender=t@x.org", "to=o@x.org")
    code, text = running.console("add", "relay", "smtp", *words)
    assert code == 0
    assert "nothing is sent: expected a public address of '10.0.0.25'" in text
    assert running.console("remove", "relay")[0] == 0


def test_a_secret_is_not_sent_to_another_place_than_it_was_set_for(running: Running) -> None:
    new = {"name": "moved", "kind": "webhook", "settings": hook(running)}
    running.ask("POST", "/channels", new)
    moved = {"settings": {"url": "https://evil.example/"}}
    status, body = running.ask("PUT", "/channels/moved", moved)
    assert status == 422
    assert "url: expected secret with it" in body["error"]["message"]
    mail = {"host": "mail.example.com", "sender": "t@x.org", "username": "u", "password": SECRET}
    running.ask("POST", "/channels", {"name": "mail", "kind": "smtp", "settings": mail})
    for change in ({"host": "evil.example"}, {"security": "none", "username": ""}, {"port": 2525}):
        sent = {"settings": {**mail, "password": "set", **change}}
        assert running.ask("PUT", "/channels/mail", sent)[0] == 422
    sent = {"settings": {**mail, "host": "new.example.com", "password": "another"}}
    assert running.ask("PUT", "/channels/mail", sent)[0] == 200
    for name in ("moved", "mail"):
        running.ask("DELETE", f"/channels/{name}")


def test_changes_are_in_the_audit_trail_without_secrets(running: Running) -> None:
    running.ask("POST", "/channels", {"name": "a", "kind": "webhook", "settings": hook(running)})
    running.ask("DELETE", "/channels/a")
    rows = running.ask("GET", "/audit?action=channel")[1]["data"]["entries"]
    mine = [row for row in rows if row["subject"] == "a"]
    assert [row["action"] for row in mine] == ["channel.remove", "channel.set"]
    assert mine[0]["by"] == ADMIN_NAME
    assert SECRET not in json.dumps(rows)


def test_the_console_adds_lists_tests_and_removes(running: Running) -> None:
    url = f"url={running.stub.url}/console"
    code, text = running.console("add", "desk", "webhook", url)
    assert code == 2
    assert "expected url_file=FILE" in text
    words = ("add", "desk", "webhook", "url_file=-", "tz=Asia/Seoul")
    code, text = running.console(*words, text=url[4:] + "\n")
    assert code == 0, text
    assert "trimtab channel test desk" in text
    assert running.console(*words, text=url[4:])[0] == 2
    # The running collector has it.
    assert running.ask("POST", "/channels/desk/test")[1]["data"]["delivered"] is True
    code, text = running.console("test", "desk", "--json")
    answer, warning = text.splitlines()
    assert (code, json.loads(answer)) == (0, {"delivered": True, "error": None})
    assert "a collector runs on this data directory" in warning
    assert "with allow_hosts 127.0.0.1; --user NAME" in warning
    code, text = running.console("list", "--json")
    names = [row["name"] for row in json.loads(text)["channels"]]
    assert {"desk", "from-file"} <= set(names)
    code, text = running.console("remove", "from-file")
    assert code == 2
    assert "alerts.toml" in text
    assert running.console("remove", "desk")[0] == 0
    assert "desk" not in running.console("list")[1]


def test_an_admin_has_the_collector_send_the_test_with_its_own_settings(
    running: Running, tmp: Path
) -> None:
    (tmp / "password").write_text(PASSWORD)
    made = {"name": "its-own", "kind": "webhook", "settings": hook(running)}
    assert running.ask("POST", "/channels", made)[0] == 201
    as_admin = ("--user", ADMIN_NAME, "--password-file", str(tmp / "password"))
    words = ("test", "its-own", "--url", running.collector.url, *as_admin)
    done = run_command("notify.cli:channel", *words)
    assert (done.returncode, done.stdout, done.stderr) == (0, "delivered by its-own\n", "")
    assert running.ask("DELETE", "/channels/its-own")[0] == 200


def test_the_heartbeat_comes_from_the_judging_of_a_running_collector(running: Running) -> None:
    def beats() -> list[Any]:
        return [each for each in running.stub.asked if each.path == "/heart"]

    wait_for(beats, "a heartbeat", 40)
    assert json.loads(beats()[0].body)["kind"] == "heartbeat"
    health = running.ask("GET", "/health")[1]["data"]["notifications"]
    assert health["trouble"] is None
    assert "heartbeat" in health["channels"]


def test_a_file_that_is_wrong_changes_nothing_and_says_what() -> None:
    with box() as made:
        made.channel("mine")
        hold = made.channels.of_file({"theirs": {"kind": "slack", "url": "https://x.org/"}})
        assert made.channels.get("theirs") is None
        hold()
        for content, text in (
            ({"mine": {"kind": "slack", "url": "https://x.org/"}}, "made by API or console"),
            ({"other": {"kind": "slack"}}, "channel 'other': url: expected an address"),
            ({"other": 1}, r"expected \[channels.NAME\]"),
            ([], r"expected \[channels.NAME\]"),
            ({f"c{n}": {} for n in range(MAX_CHANNELS)}, f"at most {MAX_CHANNELS} channels"),
        ):
            with pytest.raises(ValueError, match=text):
                made.channels.of_file(content)
        assert [each.name for each in made.channels.all()] == ["mine", "theirs"]
        made.channels.of_file(None)()
        assert [each.name for each in made.channels.all()] == ["mine"]


@pytest.mark.parametrize(
    ("settings", "error"), [('{"beam": 1}', "beam is unknown"), ("{", "(unreadable) is unknown")]
)
def test_a_channel_that_cannot_be_read_costs_no_other_a_notice(settings: str, error: str) -> None:
    with box() as made:
        made.channel("bad")
        made.channel("good")
        with made.state.change() as connection:
            plant(connection, "UPDATE channel SET settings = ? WHERE name = 'bad'", (settings,))
        made.add(notice())
        assert made.states("bad") == {"incident:1": "dead"}
        assert error in made.errors("bad")[0]
        assert made.states("good") == {"incident:1": "pending"}


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"base_url": "https://t.example.com/x"}, "https://t.example.com/x"),
        ({}, "http://127.0.0.1:8620"),
        ({"host": "::1", "tls_cert": "cert.pem"}, "https://[::1]:8620"),
        ({"host": "0.0.0.0"}, ""),
        ({"port": 0}, ""),
    ],
)
def test_links_lead_to_where_people_reach_the_collector(settings: dict[str, Any], url: str) -> None:
    assert CollectorSettings(**settings).public_url == url


def test_there_are_at_most_a_hundred_channels() -> None:
    with box() as made:
        for number in range(MAX_CHANNELS):
            made.channel(f"c{number}")
        with pytest.raises(SettingsError, match="at most 100"):
            made.channel("more")


# Its plug-ins import modules that Python is going to drop.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.asyncio
async def test_apprise_sends_what_has_no_channel_of_its_own() -> None:
    if importlib.util.find_spec("apprise") is None:
        lack("apprise is not installed: pip install trimtab[notify]")
    with StubCollector(lambda body, number: Answer(200 if number == 0 else 500)) as stub:
        urls = [f"json://127.0.0.1:{stub.port}/"]
        entry = parse_channel("chat", {"kind": "apprise", "urls": urls})
        channel = AppriseChannel(entry.settings, Sending(Outbound()))  # type: ignore[arg-type]
        message = Message("k", (notice(),), notice().at_s)
        assert await channel.send(message) == ""
        assert "[critical] checkout" in json.loads(stub.asked[0].body)["title"]
        with pytest.raises(DeliveryError, match="could not deliver"):
            await channel.send(message)
        await channel.close()
