"""The subcommands `trimtab collector`, `trimtab key` and `trimtab up`."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trimtab_collector import settings as collector_settings
from trimtab_collector.companion import UpAgent, say
from trimtab_collector.contract.errors import instant
from trimtab_collector.settings import CollectorSettings
from trimtab_collector.storage.sqlite.upkeep import cli as upkeep
from trimtab_core import logs
from trimtab_core.addresses import DASHBOARD
from trimtab_core.console import show_table, warn
from trimtab_core.errors import StartupError
from trimtab_core.flags import add_flags
from trimtab_core.ownfiles import read_own, write_own

__all__ = ["collector", "key", "up"]


def collector(arguments: list[str]) -> int:
    """Run `trimtab collector` until a signal, or a subcommand of it; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="trimtab collector",
        description="Take batches from agents and serve the API; or, with a subcommand, look after "
        "the data of a collector.",
    )
    upkeep.add_commands(parser)
    read, options = _settings(parser, arguments)
    if options.command:
        return upkeep.run(read(), options)
    return _collector(read, as_json=options.json)


def up(arguments: list[str]) -> int:
    """Run `trimtab up`: the collector here, the agent as a child; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="trimtab up",
        description="Run collector and agent together, for one machine. The agent takes its "
        "settings from TRIMTAB_AGENT_* and the settings file; a key is made for it. If it ends "
        "by itself it is started again.",
    )
    parser.add_argument(
        "--no-browser", action="store_true", help="do not open the dashboard on a desktop"
    )
    read, options = _settings(parser, arguments)
    agent = UpAgent(options.config)
    opens = not (options.no_browser or options.json)
    return _collector(read, as_json=options.json, agent=agent, opens=opens) or agent.code


def key(arguments: list[str]) -> int:
    """Run `trimtab key new|list|rebind|revoke`; returns the exit code."""
    from trimtab_collector.auth.administration import make_key, rebind_key, revoke_key
    from trimtab_collector.auth.cli import console, opened
    from trimtab_collector.auth.keys import KeyFile

    options = _key_options(arguments)
    settings, warnings = collector_settings.load(options.config, {"data_dir": options.data_dir})
    warn("key", warnings)
    keys = KeyFile(settings.directory)
    if options.command == "new":
        with opened(settings.directory) as state:
            text, made = make_key(
                *(state, keys, console(), options.name, options.environment, options.service),
                options.agent,
                probes=options.probes,
            )
        if options.json:
            print(json.dumps({"key": text, **_shown(made)}))
        else:
            print(text)
            print(
                f"trimtab key: kept as {made.id}; it is not shown again: "
                "give it to the agent as TRIMTAB_AGENT_KEY",
                file=sys.stderr,
            )
    elif options.command == "list":
        rows = [_shown(row) for row in keys.list()]
        if options.json:
            print(json.dumps({"keys": rows}))
        else:
            _table(rows)
    elif options.command == "rebind":
        with opened(settings.directory) as state:
            bound = rebind_key(state, keys, console(), options.id, options.agent)
        whose = ", ".join(bound.agents) or "the next agent that writes with it"
        print(json.dumps(_shown(bound)) if options.json else f"{bound.id} is for {whose}")
    else:
        with opened(settings.directory) as state:
            revoked = revoke_key(state, keys, console(), options.id)
        print(json.dumps({"revoked": revoked.id}) if options.json else f"revoked {revoked.id}")
    return 0


def _key_options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="trimtab key", description="Make, list and revoke the keys that agents write with."
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--config", metavar="FILE", help="settings file (default: trimtab.toml)")
    shared.add_argument("--data-dir", metavar="VALUE", help="directory of the collector's data")
    shared.add_argument("--json", action="store_true", help="answer in JSON")
    names = argparse.ArgumentParser(add_help=False)
    names.add_argument(
        "--agent",
        action="append",
        default=[],
        help="the agent it is for, or a pattern such as 'web-*'; may be repeated (default: the "
        "first one that writes with it)",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    new = commands.add_parser("new", parents=[shared, names], help="make a key and show it once")
    new.add_argument("--name", default="", help="what it is for")
    new.add_argument(
        "--environment", action="append", default=[], help="allow this one only; may be repeated"
    )
    new.add_argument(
        "--service", action="append", default=[], help="allow this one only; may be repeated"
    )
    new.add_argument(
        "--probes",
        action="store_true",
        help="of a key for some environments or services: also allow measures of databases, queues "
        "and services that the agent looks at",
    )
    commands.add_parser("list", parents=[shared], help="list keys, without their secrets")
    rebind = commands.add_parser(
        "rebind", parents=[shared, names], help="give a key to another agent: the host was replaced"
    )
    rebind.add_argument("id", metavar="ID", help="the id that trimtab key list shows")
    revoke = commands.add_parser("revoke", parents=[shared], help="refuse a key from now on")
    revoke.add_argument("id", metavar="ID", help="the id that trimtab key list shows")
    return parser.parse_args(arguments)


def _settings(
    parser: argparse.ArgumentParser, arguments: list[str]
) -> tuple[Callable[[], CollectorSettings], argparse.Namespace]:
    """Return what reads the settings, now and at every SIGHUP, and the options."""
    add_flags(parser, CollectorSettings)
    parser.add_argument("--config", metavar="FILE", help="settings file (default: trimtab.toml)")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON line (url, tokenFile) when ready"
    )
    options = parser.parse_args(arguments)
    flags: dict[str, Any] = vars(options)

    def read() -> CollectorSettings:
        settings, warnings = collector_settings.load(options.config, flags)
        warn(parser.prog.removeprefix("trimtab "), warnings)
        return settings

    return read, options


def _collector(
    read: Callable[[], CollectorSettings],
    *,
    as_json: bool,
    agent: UpAgent | None = None,
    opens: bool = False,
) -> int:
    from trimtab_collector.auth.links import openable
    from trimtab_collector.running import Ready, run

    settings = read()
    logs.configure(settings.log_level)

    def ready(found: Ready) -> None:
        token, link = found.app.accounts.token, found.app.accounts.setup
        base = settings.base_url.rstrip("/") or openable(found.url)
        if token.new:
            print(
                f"trimtab collector: read token {token.text} (kept in {token.path}, "
                "not shown again)",
                file=sys.stderr,
            )
        if link.token:
            if lost := found.app.companions.trouble:
                print(f"trimtab collector: {lost}", file=sys.stderr)
            print(
                f"trimtab collector: no user yet; add the first admin within an hour at "
                f"{base}/setup#{link.token}",
                file=sys.stderr,
            )
        if as_json:
            line = {"url": found.url, "tokenFile": str(token.path) if token.path else None}
            print(json.dumps(line), flush=True)
        print(f"trimtab collector listening on {found.url}", file=sys.stderr, flush=True)
        if agent is not None:
            agent.start(found.inner_url, _own_key(settings.directory))
            _lead(base, found.app.accounts, opens=opens)

    return run(settings, read, ready, agent)


def _lead(base: str, accounts: Any, *, opens: bool) -> None:
    """Say where the dashboard is, and open it if that is asked for.

    What signs in is shown on a terminal alone: anything else keeps what is printed.
    """
    from trimtab_collector.auth.links import link_address
    from trimtab_collector.desktop import has_desktop, show

    is_terminal = sys.stderr.isatty()
    address = f"{base}{DASHBOARD}"
    if accounts.setup.token:
        address = f"{base}/setup#{accounts.setup.token}"
    elif not is_terminal:
        say(f"the dashboard is at {address}; trimtab user link NAME prints a link that signs in")
    elif token := accounts.admin_link():
        address = link_address(base, token)
        say(f"the dashboard, signed in once within 10 minutes: {address}")
    else:
        say(f"the dashboard is at {address}")
    if opens and has_desktop(os.environ, sys.platform, is_terminal=is_terminal):
        show(address)


def _own_key(directory: Path) -> str:
    """Return the key of the agent of `trimtab up`, made at the first call and kept 0600."""
    from trimtab_collector.auth.keys import ANY_AGENT, KeyFile

    path = directory / "agent-key"
    try:
        if found := read_own(path):
            return found
        # Whoever may start an agent here may read the key: it is for any of them.
        text, _ = KeyFile(directory).new("trimtab up", agents=(ANY_AGENT,))
        write_own(path, text + "\n")
    except OSError as error:
        raise StartupError(
            f"expected a file for the agent's key at {path}, got: {error.strerror}"
        ) from error
    return text


def _shown(row: Any) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "environments": list(row.environments),
        "services": list(row.services),
        "agents": list(row.agents),
        "agent": row.agent or None,
        "probes": row.probes or not row.is_scoped,
        "created": instant(row.created_s),
        "revoked": None if row.revoked_s is None else instant(row.revoked_s),
    }


def _table(rows: list[dict[str, Any]]) -> None:
    lines = [("ID", "CREATED", "STATE", "ENVIRONMENTS", "SERVICES", "AGENT", "NAME")]
    lines += [
        (
            row["id"],
            row["created"],
            "revoked" if row["revoked"] else "active",
            ",".join(row["environments"]) or "all",
            ",".join(row["services"]) or "all",
            row["agent"] or ",".join(row["agents"]) or "(the first to write)",
            row["name"],
        )
        for row in rows
    ]
    show_table(lines)
