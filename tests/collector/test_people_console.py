"""trimtab user and trimtab token, and what a running collector makes of it at once.

And the first start: the link, its page, the admin of the settings.
"""

import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, Proc, clean_environment, short_dir, trimtab

ANOTHER = "another horse battery"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector without users."""
    with short_dir() as directory, Collector(directory) as process:
        yield process.start()


def console(
    collector: Collector, *words: str, stdin: str = "", code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run the console on the data of a collector."""
    done = subprocess.run(
        trimtab(*words, "--data-dir", str(collector.data)),
        input=stdin,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    return done


def answered(collector: Collector, *words: str, stdin: str = "") -> Any:
    return json.loads(console(collector, *words, "--json", stdin=stdin).stdout)


def add(collector: Collector, name: str, *more: str) -> None:
    console(collector, "user", "add", name, *more, "--password-file", "-", stdin=f"{PASSWORD}\n")


# ---------------------------------------------------------------- the first start


def link_of(collector: Collector) -> str:
    """Return the token of the link that the collector printed."""
    line = collector.wait_line("no user yet")
    found = re.search(rf"{collector.url}/setup#([\w-]{{43}})$", line)
    assert found is not None, line
    return found[1]


def test_the_link_adds_one_admin_and_is_not_printed_again(collector: Collector) -> None:
    token = link_of(collector)
    client = Client(collector.port, address="127.0.0.2")
    body = {"token": token, "name": ADMIN, "password": PASSWORD}
    wrong = client.ask("POST", "/auth/setup", {**body, "token": "x"})
    assert (wrong.status, wrong.code) == (401, "unauthorized")
    weak = client.ask("POST", "/auth/setup", {**body, "password": "short"})
    assert (weak.status, weak.code) == (422, "bad_password")
    found = client.ask("POST", "/auth/setup", body)
    assert found.status == 201
    client.token = found.data["accessToken"]
    assert client.ask("GET", "/auth/me").data["role"] == "admin"
    assert client.ask("POST", "/auth/setup", {**body, "name": "eve"}).status == 401
    entries = client.ask("GET", "/audit?action=user.add").data["entries"]
    assert [(each["by"], each["subject"]) for each in entries] == [(ADMIN, ADMIN)]
    assert collector.stop() == 0
    collector.start()
    assert "no user yet" not in collector.output()
    assert client.ask("GET", "/auth/me").status == 200  # sessions outlive a restart


def test_the_page_behind_the_link_loads_nothing_from_elsewhere(collector: Collector) -> None:
    import urllib.request

    files = {"": "html", ".js": "javascript", ".css": "css", ".svg": "svg+xml"}
    for ending, kind in files.items():
        path = f"/setup{ending}"
        with urllib.request.urlopen(f"{collector.url}{path}", timeout=10) as answer:
            text = answer.read().decode()
            assert kind in answer.headers["content-type"]
            policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
        assert "innerHTML" not in text


def test_the_admin_of_the_settings_logs_in_and_is_not_in_the_arguments(tmp: Path) -> None:
    (tmp / "secret").write_text(f"{PASSWORD}\n")
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": "grace",
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD_FILE": str(tmp / "secret"),
    }
    with Collector(tmp, **settings) as process:
        process.start()
        assert "no user yet" not in process.output()
        assert PASSWORD not in process.output()
        assert PASSWORD not in " ".join(psutil.Process(process.pid).cmdline())
        assert Client(process.port).login("grace").data["user"]["role"] == "admin"


def test_a_password_of_the_settings_that_cannot_be_one_is_exit_2(tmp: Path) -> None:
    with Collector(tmp, TRIMTAB_COLLECTOR_ADMIN_PASSWORD="short") as process:
        Proc.start(process)
        assert process.wait_exit() == 2
        assert "admin_password: expected a password of 10" in process.output()
        assert "short" not in process.output().replace("cut short", "")


# ---------------------------------------------------------------- users


def test_what_the_console_changes_counts_at_the_next_request(collector: Collector) -> None:
    add(collector, "paul")
    client = Client(collector.port)
    assert client.login("paul").data["user"]["role"] == "planner"
    assert client.ask("GET", "/users").status == 403
    console(collector, "user", "role", "paul", "admin")
    assert client.ask("GET", "/auth/me").status == 401
    client.login("paul")
    assert client.ask("GET", "/users").status == 200
    console(collector, "user", "disable", "paul")
    assert client.ask("GET", "/auth/me").status == 401
    console(collector, "user", "enable", "paul")
    console(collector, "user", "reset", "paul", "--password-file", "-", stdin=ANOTHER)
    assert client.login("paul", ANOTHER).status == 200
    console(collector, "user", "rotate-key")
    assert client.ask("GET", "/auth/me").status == 200
    console(collector, "user", "rotate-key", "--at-once")
    assert client.ask("GET", "/auth/me").status == 401
    client.login("paul", ANOTHER)
    console(collector, "user", "delete", "paul")
    assert client.ask("GET", "/auth/me").status == 401


def test_the_list_of_users_is_a_table_or_json(collector: Collector) -> None:
    add(collector, "lin", "--admin")
    table = console(collector, "user", "list").stdout.splitlines()
    assert table[0].split() == ["ID", "NAME", "ROLE", "DISABLED", "CREATED", "LAST", "LOGIN"]
    (row,) = [line for line in table if " lin " in line]
    assert row.split()[1:4] == ["lin", "admin", "no"]
    (found,) = [
        each for each in answered(collector, "user", "list")["users"] if each["name"] == "lin"
    ]
    assert (found["role"], found["disabled"], found["lastLogin"]) == ("admin", False, None)


@pytest.mark.parametrize(
    ("words", "stdin", "text"),
    [
        (["user", "add", "zoe"], "", "--password-file"),
        (["user", "add", "zoe", "--password-file", "-"], "short", "10 to 256 characters"),
        (["user", "add", "z o", "--password-file", "-"], PASSWORD, "1 to 64 letters"),
        (["user", "add", "zoe", "--password-file", "/nowhere"], "", "cannot read '/nowhere'"),
        (["user", "disable", "zoe"], "", "trimtab user list shows them"),
        (["user", "role", "zoe", "king"], "", "invalid choice"),
        (["user", "add", "zoe", "--password", "x"], "", "unrecognized arguments"),
        (["token", "revoke", "zoe"], "", "trimtab token list"),
        (["token", "new", "--name", "x", "--days", "0"], "", "1 to 3650"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_said_in_a_sentence_and_is_exit_2(
    collector: Collector, words: Sequence[str], stdin: str, text: str
) -> None:
    done = console(collector, *words, stdin=stdin, code=2)
    assert text in done.stderr
    assert "Traceback" not in done.stderr


# ---------------------------------------------------------------- tokens and keys


def test_a_service_token_reads_until_it_is_revoked(collector: Collector) -> None:
    made = answered(collector, "token", "new", "--name", "grafana", "--days", "30")
    client = Client(collector.port, made["token"])
    assert client.ask("GET", "/services").status == 200
    assert client.ask("GET", "/auth/me").data == {
        "name": "token grafana",
        "role": "planner",
        "kind": "token",
    }
    assert client.ask("POST", "/users", {}).status == 403
    (row,) = [
        each for each in answered(collector, "token", "list")["tokens"] if each["name"] == "grafana"
    ]
    assert (row["origin"], row["revoked"]) == ("console", None)
    assert row["expires"] is not None
    assert "token" not in row
    console(collector, "token", "revoke", row["id"])
    assert client.ask("GET", "/services").body["error"]["details"] == {"reason": "revoked"}


def test_the_last_use_of_a_token_is_kept_over_a_stop(collector: Collector) -> None:
    made = answered(collector, "token", "new", "--name", "script")
    assert Client(collector.port, made["token"]).ask("GET", "/services").status == 200
    assert collector.stop() == 0
    rows = {each["name"]: each for each in answered(collector, "token", "list")["tokens"]}
    assert rows["script"]["lastUsed"] is not None
    assert rows["settings"]["origin"] == "settings"
    collector.start()


def test_keys_and_tokens_are_made_and_revoked_through_the_api_too(collector: Collector) -> None:
    add(collector, "kay", "--admin")
    admin = Client(collector.port)
    admin.login("kay")
    made = admin.ask(
        "POST", "/agent-keys", {"name": "web", "environments": ["live"], "services": ["shop"]}
    )
    assert made.status == 201
    key = made.data["agentKey"]
    assert (key["environments"], key["services"], key["revoked"]) == (["live"], ["shop"], None)
    assert made.data["key"].startswith(f"ttk_{key['id']}_")
    assert key in admin.ask("GET", "/agent-keys").data["keys"]
    assert made.data["key"] not in json.dumps(admin.ask("GET", "/agent-keys").body)
    assert (key["agents"], key["agent"], key["probes"]) == ([], None, False)
    path = f"/agent-keys/{key['id']}"
    moved = admin.ask("PUT", path, {"agents": ["web-*"]})
    assert moved.data == key | {"agents": ["web-*"]}
    assert admin.ask("PUT", path, {"agents": [""]}).code == "bad_body"
    assert admin.ask("PUT", path, {"agents": ["a\u0007"]}).code == "bad_body"
    assert admin.ask("PUT", "/agent-keys/nobody", {"agents": []}).code == "not_found"
    assert admin.ask("PUT", path, {"agents": []}).data == key
    revoked = admin.ask("DELETE", path)
    assert revoked.data["revoked"] is not None
    assert admin.ask("DELETE", "/agent-keys/nobody").code == "not_found"

    token = admin.ask("POST", "/tokens", {"name": "board"})
    assert token.status == 201
    reader = Client(collector.port, token.data["token"])
    assert reader.ask("GET", "/services").status == 200
    token_id = token.data["serviceToken"]["id"]
    assert admin.ask("DELETE", f"/tokens/{token_id}").data["revoked"] is not None
    assert reader.ask("GET", "/services").status == 401

    console(collector, "key", "new", "--name", "by hand")
    entries = admin.ask("GET", "/audit?limit=7").data["entries"]
    assert [each["action"] for each in entries] == [
        *("key.new", "token.revoke", "token.new", "key.revoke"),
        *("key.rebind", "key.rebind", "key.new"),
    ]
    assert entries[5]["after"]["agents"] == ["web-*"]
    assert entries[0]["by"].startswith("console (")
    assert {each["by"] for each in entries[1:]} == {"kay"}
    assert token.data["token"] not in json.dumps(entries)


def test_the_console_shows_and_changes_whose_a_key_is(collector: Collector) -> None:
    made = answered(
        *(collector, "key", "new", "--name", "fleet", "--service", "shop", "--probes"),
        *("--agent", "web-*", "--agent", "db-1"),
    )
    assert (made["agents"], made["agent"], made["probes"]) == (["web-*", "db-1"], None, True)
    assert re.search(
        rf"{made['id']} .* web-\*,db-1 +fleet", console(collector, "key", "list").stdout
    )
    # Given as its text, a key is not shown again.
    said = console(collector, "key", "rebind", made["key"])
    assert said.stdout == f"{made['id']} is for the next agent that writes with it\n"
    assert re.search(rf"{made['id']} .*first to write", console(collector, "key", "list").stdout)
    said = console(collector, "key", "revoke", made["key"])
    assert said.stdout == f"revoked {made['id']}\n"
    wrong = console(collector, "key", "rebind", made["key"] + "0", code=2)
    assert made["key"][18:] not in wrong.stdout + wrong.stderr
    wrong = console(collector, "key", "new", "--agent", "", code=2)
    assert "expected the name of an agent or a pattern" in wrong.stderr


def test_what_an_admin_sends_is_checked(collector: Collector) -> None:
    add(collector, "uma", "--admin")
    admin = Client(collector.port)
    admin.login("uma")
    for method, path, body, status, code in (
        ("POST", "/users", {"name": "x y", "password": PASSWORD}, 422, "bad_name"),
        ("POST", "/users", {"name": "x", "password": "short"}, 422, "bad_password"),
        ("POST", "/users", {"name": "x", "password": PASSWORD, "role": "king"}, 422, "bad_body"),
        ("POST", "/users", {"name": "UMA", "password": PASSWORD}, 409, "name_taken"),
        ("POST", "/users", {"name": "x"}, 422, "bad_body"),
        ("PUT", "/users/nobody", {"role": "admin"}, 404, "not_found"),
        ("DELETE", "/users/nobody", None, 404, "not_found"),
        ("POST", "/tokens", {"name": ""}, 422, "bad_body"),
        ("POST", "/tokens", {"name": "x", "days": 0}, 422, "bad_body"),
        ("POST", "/agent-keys", {"services": ["x" * 201]}, 422, "bad_body"),
        ("POST", "/agent-keys", {"services": ["x"] * 101}, 422, "bad_body"),
    ):
        found = admin.ask(method, path, body)
        assert (found.status, found.code) == (status, code), found.body
        assert PASSWORD not in json.dumps(found.body)
