"""The subcommands `trimtab user` and `trimtab token`: they change the files of a data directory.

They work while the collector runs, which notices at the next request, and while it does not.
"""

import argparse
import getpass
import json
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from trimtab_collector import settings as collector_settings
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.auth.links import LINK_S, SigninLinks, kept_address, link_address
from trimtab_collector.auth.passwords import check_password, hash_password
from trimtab_collector.auth.people import People, Person, check_name
from trimtab_collector.auth.signing import ACCESS_S, SigningKeys
from trimtab_collector.auth.tokens import ServiceToken, ServiceTokens
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.errors import ApiError, instant
from trimtab_collector.settings import CollectorSettings
from trimtab_collector.statefile import StateFile, unusable
from trimtab_core.addresses import web_address
from trimtab_core.console import show_table, warn
from trimtab_core.errors import SettingsError

__all__ = ["console", "opened", "token", "user"]

_MAX_FILE: Final = 4_096


def user(arguments: list[str]) -> int:
    """Run `trimtab user add|list|link|role|disable|enable|reset|delete|rotate-key`."""
    options = _user_options(arguments)
    settings = _settings("user", options)
    if options.command == "rotate-key":
        return _rotate(settings.directory, options)
    with opened(settings.directory) as state:
        people = People(state)
        if options.command == "list":
            rows = [_person_row(person) for person in people.list()]
            _show(options, {"users": rows}, rows)
            return 0
        if options.command == "link":
            return _link(state, people, settings, options)
        person, did = _changed(people, options)
    row = _person_row(person)
    print(json.dumps({"user": row}) if options.json else f"{did} {person.name}")
    return 0


def _user_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="trimtab user", description="Add, list and change the people who may log in."
    )
    shared = _shared()
    secret = argparse.ArgumentParser(add_help=False)
    secret.add_argument(
        "--password-file",
        metavar="FILE",
        help="read the password from a file, - for standard input (default: ask for it)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # Not abbreviated: who writes --password SECRET must not be taken for naming a file.
    add = commands.add_parser(
        "add", parents=[shared, secret], help="add somebody", allow_abbrev=False
    )
    add.add_argument("name", metavar="NAME")
    add.add_argument("--admin", action="store_true", help="as an admin (default: a planner)")
    commands.add_parser("list", parents=[shared], help="list everybody")
    link = commands.add_parser(
        "link", parents=[shared], help="print a link that signs somebody in, good once"
    )
    link.add_argument("name", metavar="NAME")
    link.add_argument(
        "--url", help="address of the collector (default: base_url, else where it listens)"
    )
    role = commands.add_parser("role", parents=[shared], help="make somebody admin or planner")
    role.add_argument("name", metavar="NAME")
    role.add_argument("role", choices=("admin", "planner"))
    reset = commands.add_parser(
        "reset", parents=[shared, secret], help="set another password", allow_abbrev=False
    )
    reset.add_argument("name", metavar="NAME")
    for word, text in (
        ("disable", "let somebody in no longer"),
        ("enable", "let somebody in again"),
        ("delete", "delete somebody"),
    ):
        commands.add_parser(word, parents=[shared], help=text).add_argument("name", metavar="NAME")
    rotate = commands.add_parser(
        "rotate-key", parents=[shared], help="make a new key for access tokens"
    )
    rotate.add_argument(
        "--at-once", action="store_true", help="refuse every access token that there is"
    )
    return parser.parse_args(arguments)


def token(arguments: list[str]) -> int:
    """Run `trimtab token new|list|revoke`."""
    parser = argparse.ArgumentParser(
        prog="trimtab token",
        description="Make, list and revoke tokens for programs that read: scripts, Grafana.",
    )
    shared = _shared()
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser("new", parents=[shared], help="make a token and show it once")
    new.add_argument("--name", required=True, help="what it is for")
    new.add_argument("--days", type=int, help="how long it is good (default: until revoked)")
    commands.add_parser("list", parents=[shared], help="list tokens, without their secrets")
    revoke = commands.add_parser("revoke", parents=[shared], help="refuse a token from now on")
    revoke.add_argument("id", metavar="ID", help="the id that trimtab token list shows")
    options = parser.parse_args(arguments)
    settings = _settings("token", options)
    with opened(settings.directory) as state:
        tokens = ServiceTokens(state)
        if options.command == "list":
            rows = [_token_row(each) for each in tokens.list()]
            _show(options, {"tokens": rows}, rows)
        elif options.command == "revoke":
            revoked = tokens.revoke(console(), options.id)
            row = _token_row(revoked)
            print(json.dumps({"token": row}) if options.json else f"revoked {revoked.id}")
        else:
            _new_token(tokens, options)
    return 0


def _new_token(tokens: ServiceTokens, options: argparse.Namespace) -> None:
    if options.days is not None and not 1 <= options.days <= 3650:
        raise SettingsError(f"--days: expected 1 to 3650, got {options.days}")
    text, made = tokens.new(console(), options.name, "console", options.days)
    if options.json:
        print(json.dumps({"token": text, **_token_row(made)}))
        return
    print(text)
    print(
        f"trimtab token: kept as {made.id}; it is not shown again: send it as "
        "Authorization: Bearer ...",
        file=sys.stderr,
    )


def _changed(people: People, options: argparse.Namespace) -> tuple[Person, str]:
    """Carry out a subcommand about one user; returns the user, and what was done."""
    caller, name = console(), options.name
    if options.command == "add":
        check_name(name)
        if people.by_name(name) is not None:
            raise SettingsError(f"expected a new name, {name!r} is somebody's already")
        role = Role.ADMIN if options.admin else Role.PLANNER
        return people.add(caller, name, _new_password(options), role), f"added {role.value}"
    found = _known(people, name)
    does: dict[str, tuple[Callable[[], Person], str]] = {
        "role": (
            lambda: people.change(caller, found.id, role=Role(options.role)),
            f"made {getattr(options, 'role', '')}:",
        ),
        "disable": (lambda: people.change(caller, found.id, disabled=True), "disabled"),
        "enable": (lambda: people.change(caller, found.id, disabled=False), "enabled"),
        "delete": (lambda: people.delete(caller, found.id), "deleted"),
        "reset": (
            lambda: people.change(caller, found.id, password=_new_password(options)),
            "set another password of",
        ),
    }
    do, did = does[options.command]
    return do(), did


def _known(people: People, name: str) -> Person:
    found = people.by_name(name)
    if found is None:
        raise SettingsError(
            f"expected the name of a user, got {name!r:.80}: trimtab user list shows them"
        )
    return found


def _link(
    state: StateFile, people: People, settings: CollectorSettings, options: argparse.Namespace
) -> int:
    """Print a link that signs a user in."""
    base = options.url or settings.base_url or kept_address(settings.directory)
    if not base:
        raise SettingsError(
            "expected base_url to be set, or a collector that has run with this data directory, "
            "got neither: give --url URL"
        )
    web_address(base, "--url")
    token = SigninLinks(state, people).make(console(), _known(people, options.name))
    address = link_address(base, token)
    if options.json:
        print(json.dumps({"url": address, "seconds": int(LINK_S)}))
        return 0
    print(address)
    print(
        f"trimtab user: it signs {options.name} in once, within {int(LINK_S) // 60} minutes",
        file=sys.stderr,
    )
    return 0


def _rotate(directory: Path, options: argparse.Namespace) -> int:
    keys = SigningKeys(directory)
    try:
        key_id = keys.rotate(at_once=options.at_once)
    except OSError as error:
        raise SettingsError(
            f"expected to write {keys.path}, got: {error.strerror}; run it as the collector's user"
        ) from error
    before = (
        "tokens of earlier keys are refused"
        if options.at_once
        else f"tokens of the one before stay good for up to {ACCESS_S // 60} minutes"
    )
    print(json.dumps({"key": key_id}) if options.json else f"new key {key_id}; {before}")
    return 0


def _new_password(options: argparse.Namespace) -> str:
    """Return the hash of a password that is read from where it was said to be."""
    file = options.password_file
    if file is None:
        if not sys.stdin.isatty():
            raise SettingsError(
                "expected a terminal to ask for the password, there is none: give it with "
                "--password-file FILE, or --password-file - on standard input"
            )
        text = getpass.getpass(f"password of {options.name}: ")
        if getpass.getpass("the same again: ") != text:
            raise SettingsError("expected the same password twice, got two")
    else:
        try:
            data = sys.stdin.buffer.read(_MAX_FILE) if file == "-" else Path(file).read_bytes()
            text = data[:_MAX_FILE].decode("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(f"--password-file: cannot read {file!r}: {error}") from error
    check_password(text, options.name)
    return hash_password(text)


def _shared() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", metavar="FILE", help="settings file (default: trimtab.toml)")
    shared.add_argument("--data-dir", metavar="VALUE", help="directory of the collector's data")
    shared.add_argument("--json", action="store_true", help="answer in JSON")
    return shared


def _settings(command: str, options: argparse.Namespace) -> CollectorSettings:
    settings, warnings = collector_settings.load(options.config, {"data_dir": options.data_dir})
    warn(command, warnings)
    return settings


@contextmanager
def opened(directory: Path) -> Iterator[StateFile]:
    """Open the state file; what the API would refuse is a wrong call here."""
    state = StateFile(directory)
    try:
        state.bring(AUDIT)
        yield state
    except ApiError as error:
        raise SettingsError(error.message) from error
    except sqlite3.DatabaseError as error:
        raise unusable(directory, error) from error
    finally:
        state.close()


def console() -> Caller:
    """Return who the audit trail names for what is done here."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid {os.getuid()}"
    return Caller(f"console ({name})", Role.ADMIN)


def _person_row(person: Person) -> dict[str, Any]:
    return {
        "id": person.id,
        "name": person.name,
        "role": person.role.value,
        "disabled": person.disabled_s is not None,
        "created": instant(person.created_s),
        "lastLogin": None if person.login_s is None else instant(person.login_s),
    }


def _token_row(row: ServiceToken) -> dict[str, Any]:
    times = {
        "created": row.created_s,
        "expires": row.expires_s,
        "revoked": row.revoked_s,
        "lastUsed": row.used_s,
    }
    shown = {name: None if at_s is None else instant(at_s) for name, at_s in times.items()}
    return {"id": row.id, "name": row.name, "origin": row.origin, **shown}


def _show(
    options: argparse.Namespace, document: dict[str, Any], rows: Sequence[dict[str, Any]]
) -> None:
    """Print rows as JSON or as a table."""
    if options.json:
        print(json.dumps(document))
        return
    lines = [[re.sub("([A-Z])", r" \1", key).upper() for key in rows[0]]] if rows else []
    lines += [[_cell(value) for value in row.values()] for row in rows]
    show_table(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
