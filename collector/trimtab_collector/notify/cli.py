"""The subcommand `trimtab channel`: list, add, test and remove channels of notifications.

It changes the files of a data directory, while the collector runs and while it does not.
"""

import argparse
import asyncio
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from trimtab_collector import settings as collector_settings
from trimtab_collector.asking import add_asking, asker_of
from trimtab_collector.auth.cli import console, opened
from trimtab_collector.notify.addresses import AllowedHosts
from trimtab_collector.notify.channels import ChannelBook, ChannelEntry, parse_channel
from trimtab_collector.notify.kinds import KINDS
from trimtab_collector.notify.options import Sending
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.outbox import Outbox
from trimtab_collector.notify.sender import Sender
from trimtab_collector.settings import CollectorSettings
from trimtab_collector.statefile import StateFile
from trimtab_core.claim import is_claimed
from trimtab_core.console import EXIT_FAILED, EXIT_OK, show_table, warn
from trimtab_core.errors import SettingsError

__all__ = ["channel"]

_OTHERS = (
    "a collector runs on this data directory, and its settings may be others: this test is sent "
    "from here, with allow_hosts {hosts}; --user NAME --password-file FILE has the collector do it"
)


def channel(arguments: list[str]) -> int:
    """Run `trimtab channel list|add|test|remove`; returns the exit code."""
    options = _parser().parse_args(arguments)
    if options.command == "test" and (options.url or options.user or options.token_file):
        asked = asker_of(options).post(f"/channels/{quote(options.name, safe='')}/test", {}).data
        return _tested(options, asked["delivered"], asked["error"] or "")
    settings, warnings = collector_settings.load(options.config, {"data_dir": options.data_dir})
    warn("channel", warnings)
    with opened(settings.directory) as state:
        book = ChannelBook(state)
        if options.command == "list":
            rows = [_row(entry) for entry in book.all()]
            if options.json:
                print(json.dumps({"channels": rows}))
            else:
                show_table(_lines(rows))
            return EXIT_OK
        if options.command == "test":
            return _test(settings, state, book, options)
        if options.command == "add":
            entry = _added(book, options)
            row = _row(entry)
            outbound = Outbound(AllowedHosts.of(settings.allow_hosts))
            if obstacle := entry.settings.obstacle(outbound):
                warn("channel", [f"by the settings of this call nothing is sent: {obstacle}"])
            done = f"added {entry.name}: {row['target']}; try it: trimtab channel test {entry.name}"
        else:
            row = _row(_found(book, options.name))
            if row["origin"] == "file":
                raise SettingsError(
                    f"channel {options.name!r:.80} is set in alerts.toml: remove it there"
                )
            book.remove(options.name, console())
            done = f"removed {options.name}; what it had pending is given up"
        print(json.dumps({"channel": row}) if options.json else done)
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trimtab channel",
        description="List, add, test and remove the channels that notifications are sent by.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", metavar="FILE", help="settings file (default: trimtab.toml)")
    shared.add_argument("--data-dir", metavar="VALUE", help="directory of the collector's data")
    shared.add_argument("--json", action="store_true", help="answer in JSON")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("list", parents=[shared], help="list channels, without their secrets")
    add = commands.add_parser("add", parents=[shared], help="add a channel")
    add.add_argument("name", metavar="NAME")
    add.add_argument("kind", metavar="KIND", help=f"one of {', '.join(KINDS)}")
    add.add_argument(
        "settings",
        metavar="KEY=VALUE",
        nargs="*",
        help="a setting; of a secret, KEY_file=FILE names a file with it, - is standard input",
    )
    add.add_argument("--replace", action="store_true", help="in place of one of the same name")
    test = commands.add_parser(
        "test",
        parents=[shared],
        help="send a test message now",
        description="Send a test message now: with the rights of an admin by the collector that "
        "runs, else from here, with the settings that this call finds.",
    )
    test.add_argument("name", metavar="NAME")
    add_asking(test)
    commands.add_parser("remove", parents=[shared], help="remove a channel").add_argument(
        "name", metavar="NAME"
    )
    return parser


def _added(book: ChannelBook, options: argparse.Namespace) -> ChannelEntry:
    table: dict[str, Any] = {"kind": options.kind}
    for text in options.settings:
        key, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"expected KEY=VALUE, got {text!r:.80}")
        table[key] = "/dev/stdin" if key.endswith("_file") and value == "-" else value
    secrets = ChannelEntry(options.name, options.kind, {}).secrets
    shown = [key for key in table if secrets.get(key)]
    if shown:
        raise SettingsError(
            f"{shown[0]}: expected {shown[0]}_file=FILE, as everybody on this machine can see the "
            "arguments of a command; - reads it from standard input"
        )
    before = book.get(options.name)
    if before is not None and (before.origin == "file" or not options.replace):
        what = "set in alerts.toml" if before.origin == "file" else "there: say --replace"
        raise SettingsError(f"expected a new name, channel {options.name!r} is {what}")
    # The operator's own, as if from the file; the API may change it later.
    entry = replace(parse_channel(options.name, table), origin="api")
    book.put(entry, console())
    return entry


def _test(
    settings: CollectorSettings, state: StateFile, book: ChannelBook, options: argparse.Namespace
) -> int:
    entry = _found(book, options.name)
    allowed = AllowedHosts.of(settings.allow_hosts)
    outbound = Outbound(allowed, settings.outbound_ca_file, settings.outbound_proxy)

    async def send() -> tuple[bool, str]:
        sender = Sender(Outbox(state, book), book, Sending(outbound, settings.public_url))
        try:
            return await sender.test(entry)
        finally:
            await sender.stop()

    if is_claimed(settings.directory):
        hosts = ", ".join(settings.allow_hosts) or "none"
        warn("channel", [_OTHERS.format(hosts=hosts)])
    return _tested(options, *asyncio.run(send()))


def _tested(options: argparse.Namespace, delivered: bool, text: str) -> int:
    if options.json:
        print(json.dumps({"delivered": delivered, "error": text or None}))
    elif delivered:
        print(f"delivered by {options.name}" + (f"; {text}" if text else ""))
    else:
        print(f"not delivered by {options.name}: {text}")
    return EXIT_OK if delivered else EXIT_FAILED


def _found(book: ChannelBook, name: str) -> ChannelEntry:
    entry = book.get(name)
    if entry is None:
        raise SettingsError(
            f"expected the name of a channel, got {name!r:.80}: trimtab channel list shows them"
        )
    return entry


def _row(entry: ChannelEntry) -> dict[str, Any]:
    try:
        target = entry.settings.target
    except SettingsError as error:
        target = f"cannot be used: {error}"
    shown = {k: list(v) if isinstance(v, tuple) else v for k, v in entry.shown().items()}
    return {
        "name": entry.name,
        "kind": entry.kind,
        "origin": entry.origin,
        "target": target,
        "settings": shown,
    }


def _lines(rows: Sequence[dict[str, Any]]) -> list[tuple[str, ...]]:
    lines: list[tuple[str, ...]] = [("NAME", "KIND", "STATE", "FROM", "TARGET")]
    lines += [
        (
            row["name"],
            row["kind"],
            "on" if row["settings"].get("enabled") else "off",
            row["origin"],
            row["target"],
        )
        for row in rows
    ]
    return lines
