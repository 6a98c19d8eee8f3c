"""The subcommand `trimtab alert`: what fires, what a file of rules would have done, silences."""

import argparse
import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from trimtab_collector.alerts.file import configs_in
from trimtab_collector.asking import Asker, add_asking, asker_of, with_times
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.quantities import QUANTITIES
from trimtab_core.console import show_table
from trimtab_core.errors import SettingsError

__all__ = ["alert"]

#: labels from the widest to the narrowest; any others after these
_ORDER = (
    *("environment", "service", "version", "method", "route", "status_class"),
    *("instance", "agent", "part", "slo", "window"),
)
_KINDS = ("firing", "escalated", "updated", "reminder", "resolved", "expired", "flapping")


def alert(arguments: list[str]) -> int:
    """Run `trimtab alert list|preview|silence|acknowledge` or the like; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="trimtab alert",
        description="Show what fires, try rules on what is stored, and keep alerts silent.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--json", action="store_true", help="answer in JSON")
    add_asking(shared)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    listed = commands.add_parser("list", parents=[shared], help="list alerts")
    listed.add_argument(
        "--state", default="open", choices=("open", "ended", "all"), help="which (default: open)"
    )
    listed.add_argument("--service", default="", metavar="NAME", help="only of this service")
    tried = commands.add_parser(
        "preview",
        parents=[shared],
        help="say when the rules of a file would have fired, and how many messages that is",
    )
    tried.add_argument("file", metavar="FILE", help="a file like alerts.toml; nothing is changed")
    tried.add_argument("--from", dest="begin", default="-7d", metavar="TIME", help="(default: -7d)")
    tried.add_argument("--to", dest="end", default="now", metavar="TIME", help="(default: now)")
    silent = commands.add_parser("silence", parents=[shared], help="tell nobody for a while")
    silent.add_argument(
        "matchers", nargs="+", metavar="NAME=TEXT", help="such as service=shop or route=/api/*"
    )
    silent.add_argument("--for", dest="duration", required=True, metavar="2h", help="how long")
    silent.add_argument("--comment", required=True, metavar="TEXT", help="why, for the others")
    quiet = commands.add_parser("silences", parents=[shared], help="list silences")
    quiet.add_argument("--all", action="store_true", help="also those that are over")
    loud = commands.add_parser("unsilence", parents=[shared], help="end a silence now")
    loud.add_argument("id", metavar="ID", help="the id that trimtab alert silences shows")
    seen = commands.add_parser(
        "acknowledge", parents=[shared], help="say that you look after it: no more reminders"
    )
    seen.add_argument("id", metavar="ID", help="the id that trimtab alert list shows")
    options = parser.parse_args(with_times(arguments))
    run: Callable[[Asker, argparse.Namespace], int] = {
        "list": _list,
        "preview": _preview,
        "silence": _silence,
        "silences": _silences,
        "unsilence": _unsilence,
        "acknowledge": _acknowledge,
    }[options.command]
    return run(asker_of(options), options)


def _list(asker: Asker, options: argparse.Namespace) -> int:
    found = asker.get("/alerts", {"state": options.state, "service": options.service}).data
    if options.json:
        print(json.dumps(found))
        return 0
    rows = [
        (each["id"], each["severity"], each["state"], each["since"], _where(each["labels"]),
         each["ruleName"], _value(each))
        for each in found["alerts"]
    ]  # fmt: skip
    if rows:
        show_table([("ID", "SEVERITY", "STATE", "SINCE", "WHERE", "RULE", "VALUE"), *rows])
    else:
        print("nothing fires" if options.state == "open" else "no alerts")
    return 0


def _preview(asker: Asker, options: argparse.Namespace) -> int:
    path = Path(options.file)
    try:
        configs = configs_in(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ApiError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if not configs:
        raise SettingsError(f"{path}: expected [[rule]] at least once, got none")
    found: dict[str, Any] = {}
    for config in configs.values():
        query = urlencode({"from": options.begin, "to": options.end})
        found[config.name] = asker.post(
            f"/alert-configs/preview?{query}", msgspec.to_builtins(config)
        ).data
    if options.json:
        print(json.dumps(found))
        return 0
    for name, one in found.items():
        _told(name, one)
    return 0


def _told(name: str, found: Mapping[str, Any]) -> None:
    kinds = ", ".join(f"{found['messages'][kind]} {kind}" for kind in _KINDS
                      if kind in found["messages"])  # fmt: skip
    print(f"{name}: {found['from']} to {found['to']}, steps of {found['step']} s, "
          f"{found['series']} series")  # fmt: skip
    weekly = found["messagesPerWeek"]
    messages = "1 message" if found["messagesTotal"] == 1 else f"{found['messagesTotal']} messages"
    times = "once" if found["fired"] == 1 else f"{found['fired']} times"
    print(f"  fires {times}, {_hours(found['firingSeconds'])} in all; "
          f"{messages}{f' ({kinds})' if kinds else ''}"
          f"{'' if weekly is None else f', {weekly:.1f} per week'}")  # fmt: skip
    rows = [
        (each["fired"], _hours(each["duration"]), each["severity"], _where(each["labels"]),
         "" if each["worst"] is None else f"{each['worst']:.4g}")
        for each in found["alerts"]
    ]  # fmt: skip
    if rows:
        show_table([("FIRED", "FOR", "SEVERITY", "WHERE", "WORST"), *rows], "  ")
    if found["alertsLeftOut"]:
        print(f"  and {found['alertsLeftOut']} more")
    for note in found["notes"]:
        print(f"  note: {note}")


def _silence(asker: Asker, options: argparse.Namespace) -> int:
    matchers = {}
    for text in options.matchers:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingsError(f"expected NAME=TEXT such as service=shop, got {text!r:.80}")
        matchers[name] = value
    body = {"matchers": matchers, "duration": options.duration, "comment": options.comment}
    made = asker.post("/silences", body).data
    print(json.dumps(made) if options.json else f"silent until {made['endsAt']} as {made['id']}")
    return 0


def _silences(asker: Asker, options: argparse.Namespace) -> int:
    found = asker.get("/silences", {}).data["silences"]
    shown = [each for each in found if options.all or each["state"] != "expired"]
    if options.json:
        print(json.dumps({"silences": shown}))
        return 0
    rows = [
        (each["id"], each["state"], each["startsAt"], each["endsAt"],
         " ".join(f"{name}={text}" for name, text in each["matchers"].items()),
         each["createdBy"], each["comment"])
        for each in shown
    ]  # fmt: skip
    if rows:
        show_table([("ID", "STATE", "STARTS", "ENDS", "WHAT", "BY", "COMMENT"), *rows])
    else:
        print("no silences")
    return 0


def _unsilence(asker: Asker, options: argparse.Namespace) -> int:
    found = asker.delete(f"/silences/{quote(options.id, safe='')}").data
    print(json.dumps(found) if options.json else f"ended silence {found['id']}")
    return 0


def _acknowledge(asker: Asker, options: argparse.Namespace) -> int:
    found = asker.post(f"/alerts/{quote(options.id, safe='')}/acknowledge", {}).data
    by = found["acknowledgedBy"]
    print(json.dumps(found) if options.json else f"{found['title']}: looked after by {by}")
    return 0


def _where(labels: Mapping[str, str]) -> str:
    """Return labels in an order that does not depend on the rule."""
    named = [*_ORDER, *sorted({*labels} - {*_ORDER})]
    return " ".join(labels[name] for name in named if labels.get(name)) or "everything"


def _value(alert_: Mapping[str, Any]) -> str:
    if alert_["value"] is None:
        return "unknown"
    value, line = QUANTITIES["en"].pair(alert_["value"], alert_["threshold"], alert_["unit"])
    return f"{value} (line {line})"


def _hours(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes >= 60:
        return f"{minutes // 60}h{minutes % 60:02}m"
    return f"{minutes}m{rest:02}s" if minutes and rest else f"{minutes}m" if minutes else f"{rest}s"
