"""The command `trimtab`: finds its subcommands and loads only the one that is named.

A subcommand is an entry point of the group `trimtab.commands`: a callable that takes the argument
list after its name and returns an exit code. Exit codes: 0 done, 1 the work failed, 2 the call or
a setting is wrong, 130 interrupted.
"""

import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points, version

from trimtab_core.errors import SettingsError, StartupError, TrimtabError

__all__ = ["EXIT_FAILED", "EXIT_OK", "EXIT_USAGE", "main", "warn"]

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
_GROUP = "trimtab.commands"
_SUMMARIES = {
    "run": "run a Python web server with every request measured: trimtab run -- uvicorn app:app",
    "doctor": "check socket, permissions, versions, clock and keys, and say what to do",
    "agent": "run the local agent (the sidecar)",
    "collector": "run the central collector",
    "up": "run collector and agent together, for one machine",
    "key": "make, list and revoke agent keys",
    "mark": "set a mark, such as a deploy, that charts, alerts and reports carry",
    "alert": "list and acknowledge alerts, try rules on what is stored, and keep alerts silent",
    "report": "write the report of a day or a week, as a page or as JSON",
    "user": "add, list and change the people who may log in",
    "token": "make, list and revoke tokens for programs that read",
    "channel": "list, add, test and remove the channels that notifications are sent by",
}
#: The extra to install if a part's package is missing.
_EXTRAS = {"trimtab_agent": "agent", "trimtab_collector": "collector"}


def main(arguments: list[str] | None = None) -> int:
    """Run `trimtab`; the entry point of the console script."""
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


def warn(command: str, warnings: Iterable[str]) -> None:
    """Print warnings of a subcommand to standard error, before or without a log."""
    for warning in warnings:
        print(f"trimtab {command}: warning: {warning}", file=sys.stderr)


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
