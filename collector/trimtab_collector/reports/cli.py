"""The subcommands `trimtab mark` and `trimtab report`: they ask a collector."""

import argparse
import json
import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from trimtab_collector.asking import add_asking, asker_of, with_times
from trimtab_core.errors import SettingsError

__all__ = ["mark", "report"]


def mark(arguments: list[str]) -> int:
    """Run `trimtab mark`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="trimtab mark",
        description="Set a mark: charts, alerts and reports carry it. It needs the role admin. New "
        "versions of services are marked by themselves.",
    )
    parser.add_argument("name", metavar="TEXT", help="what happened; of a deploy the version")
    parser.add_argument("--kind", default="note", help="such as deploy or config (default: note)")
    parser.add_argument("--service", default="", help="only of this service")
    parser.add_argument("--environment", default="", help="only of this environment")
    parser.add_argument("--at", default="", help="when: ISO 8601, or as in -15m (default: now)")
    parser.add_argument("--detail", default="", help="more text")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    add_asking(parser)
    options = parser.parse_args(with_times(arguments))
    names = ("name", "kind", "service", "environment", "at", "detail")
    found = asker_of(options).post("/marks", {name: getattr(options, name) for name in names}).data
    if options.json:
        print(json.dumps(found))
    else:
        where = " ".join(filter(None, (found["service"], found["environment"]))) or "everything"
        print(f"marked {found['kind']} {found['name']!r} of {where} at {found['at']}")
    return 0


def report(arguments: list[str]) -> int:
    """Run `trimtab report`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="trimtab report",
        description="Write the report of a day or a week: a page of HTML, or JSON.",
    )
    parser.add_argument("--period", choices=("daily", "weekly"), default="daily")
    parser.add_argument("--date", default="", help="a day of it (default: the last that has ended)")
    parser.add_argument("--tz", default="", help="zone of days and times (default: UTC)")
    parser.add_argument("--service", default="", help="only this service")
    parser.add_argument("--environment", default="", help="only this environment")
    parser.add_argument("--lang", choices=("en", "ko"), default="en", help="language")
    parser.add_argument("--json", action="store_true", help="JSON instead of a page")
    parser.add_argument(
        "--output", metavar="FILE", default="-", help="where to; - is standard output (the default)"
    )
    add_asking(parser)
    options = parser.parse_args(with_times(arguments))
    names = ("period", "date", "tz", "service", "environment", "lang")
    query = {name: getattr(options, name) for name in names}
    found = asker_of(options).get(
        "/report", {**query, "format": "json" if options.json else "html"}
    )
    text = json.dumps(found.data, ensure_ascii=False) + "\n" if options.json else found.text
    if options.output == "-":
        sys.stdout.write(text)
    else:
        _write(Path(options.output), text)
        print(f"trimtab report: wrote {options.output}", file=sys.stderr)
    return 0


def _write(path: Path, text: str) -> None:
    """Write a file at once: whoever reads it meanwhile has the old one or the new one."""
    place = ""
    try:
        descriptor, place = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        mask = os.umask(0)
        os.umask(mask)
        Path(place).chmod(0o666 & ~mask)
        Path(place).replace(path)
    except OSError as error:
        if place:
            with suppress(OSError):
                Path(place).unlink()
        raise SettingsError(f"--output: cannot write {str(path)!r}: {error.strerror}") from error
