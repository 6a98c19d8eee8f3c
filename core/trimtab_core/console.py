"""The command `trimtab`: finds its subcommands and loads only the one that is named.

A subcommand is an entry point of the group `trimtab.commands`: a callable that takes the argument
list after its name and returns an exit code. Exit codes: 0 done, 1 the work failed, 2 the call or
a setting is wrong, 130 interrupted, 141 whoever reads the output has gone (`| head`).
"""

import os
import re
import select
import sys
from collections.abc import Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, TextIO, cast

from trimtab_core.errors import SettingsError, StartupError, TrimtabError
from trimtab_core.names import OBEYED

__all__ = ["EXIT_FAILED", "EXIT_OK", "EXIT_USAGE", "main", "show_table", "warn"]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
_EXIT_UNREAD = 141
_GROUP = "trimtab.commands"
_SUMMARIES = {
    "run": "run a Python web server with every request measured: trimtab run -- uvicorn app:app",
    "doctor": "check socket, permissions, versions, clock and keys, and say what to do",
    "agent": "run the local agent (the sidecar)",
    "collector": "run the central collector",
    "up": "run collector and agent together, for one machine",
    "key": "make, list and revoke agent keys",
    "top": "show services, routes, hosts and alerts live in the terminal",
    "alert": "list what fires, try rules on the past, silence, acknowledge",
    "mark": "set a mark, such as a deploy, that charts, alerts and reports carry",
    "report": "write the report of a day or a week, as a page or as JSON",
    "user": "add, list and change the people who may log in",
    "token": "make, list and revoke tokens for programs that read",
    "channel": "list, add, test and remove the channels that notifications are sent by",
}
#: The extra to install if a part's package is missing.
_EXTRAS = {"trimtab_agent": "agent", "trimtab_collector": "collector"}


def main(arguments: list[str] | None = None) -> int:
    """Run `trimtab`; the entry point of the console script."""
    out, err = cast("TextIO", _Plain(sys.stdout)), cast("TextIO", _Plain(sys.stderr))
    try:
        try:
            with redirect_stdout(out), redirect_stderr(err):
                return _main(arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        if not _is_unread():
            raise
        # What is left in the buffer goes nowhere, so that the end of the interpreter is quiet too.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return _EXIT_UNREAD


def _main(arguments: list[str] | None) -> int:
    arguments = sys.argv[1:] if arguments is None else arguments
    commands = {point.name: point for point in entry_points(group=_GROUP)}
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_usage(commands))
        return EXIT_OK if arguments else EXIT_USAGE
    name = arguments[0]
    if name in ("-V", "--version", "version"):
        print(f"trimtab {version('trimtab')}")
        return EXIT_OK
    if name not in commands:
        print(f"trimtab: no command {name!r}; trimtab --help lists them", file=sys.stderr)
        return EXIT_USAGE
    return _run(commands[name], arguments[1:])


class _Plain:
    """A stream on which what is printed is plain: names come from outside, and errors of others.

    What a terminal obeys, besides the end of a line, is written as JSON would escape it, so that
    JSON stays the same.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text; returns its length."""
        self._stream.write(OBEYED.sub(_escaped, text))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _escaped(found: re.Match[str]) -> str:
    if found[0] in "\n\t":
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def warn(command: str, warnings: Iterable[str]) -> None:
    """Print warnings of a subcommand to standard error, before or without a log."""
    for warning in warnings:
        print(f"trimtab {command}: warning: {warning}", file=sys.stderr)


def show_table(lines: Sequence[Sequence[str]], before: str = "") -> None:
    """Print lines of cells, the heads first, in columns; each line begins with before."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        # A name with the end of a line in it would make a line of its own.
        cells = (
            cell.replace("\n", "\\u000a").ljust(width)
            for cell, width in zip(line, widths, strict=True)
        )
        print(before + "  ".join(cells).rstrip())


def _is_unread() -> bool:
    """Return whether standard output is a pipe that nobody reads; any pipe may have broken."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(0))


def _run(point: EntryPoint, arguments: list[str]) -> int:
    try:
        code = point.load()(arguments)
        return int(code or 0)
    except (SettingsError, StartupError) as error:
        print(f"trimtab {point.name}: {error}", file=sys.stderr)
        return EXIT_USAGE
    except TrimtabError as error:
        print(f"trimtab {point.name}: {error}", file=sys.stderr)
        return EXIT_FAILED
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(point.value.partition(".")[0])
        if extra is None or (error.name or "").startswith("trimtab"):
            raise
        print(
            f"trimtab {point.name} needs {error.name}: pip install 'trimtab[{extra}]'",
            file=sys.stderr,
        )
        return EXIT_USAGE
    except KeyboardInterrupt:
        return 130


def _usage(commands: dict[str, EntryPoint]) -> str:
    order = {name: place for place, name in enumerate(_SUMMARIES)}
    lines = ["usage: trimtab COMMAND [ARGUMENTS]", "", "commands:"]
    lines += [
        f"  {name:<10} {_SUMMARIES.get(name, '')}".rstrip()
        for name in sorted(commands, key=lambda name: (order.get(name, len(order)), name))
    ]
    return "\n".join([*lines, "", "trimtab COMMAND --help describes its arguments."])


if __name__ == "__main__":
    sys.exit(main())
