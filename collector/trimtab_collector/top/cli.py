"""The subcommand `trimtab top`: it asks a collector, as the other console clients do."""

import argparse
import json
import os
import sys
from typing import Final

from trimtab_collector.asking import Asker, add_asking, asker_of, renew
from trimtab_collector.top.answers import as_json
from trimtab_collector.top.columns import COLUMNS, DEFAULT_SORTS, VIEWS
from trimtab_collector.top.state import MOST_FILTER, TopState
from trimtab_collector.top.survey import Survey, TopQuestion
from trimtab_core.errors import SettingsError

__all__ = ["top"]

#: seconds that one request may take; a view that says nothing for longer seems frozen
_TIMEOUT_S: Final = 10.0
_INTERVALS_S: Final = (0.5, 60.0)


def top(arguments: list[str]) -> int:
    """Run `trimtab top`; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="trimtab top",
        description="Show services, routes, hosts and alerts live. ? lists the keys. Where output "
        "is not a terminal, one plain table is printed.",
    )
    parser.add_argument("--view", choices=VIEWS, default="services", help="(default: services)")
    parser.add_argument("--sort", metavar="COLUMN", default="", help=_sorts())
    parser.add_argument(
        "--filter", metavar="WORDS", default="", help="only rows whose names have these words"
    )
    parser.add_argument("--environment", default="", help="only this environment")
    parser.add_argument("--service", default="", help="only this service")
    parser.add_argument(
        "--interval", metavar="SECONDS", type=float, default=1.0, help="(default: 1)"
    )
    parser.add_argument("--once", action="store_true", help="print one frame and end")
    parser.add_argument(
        "--json", action="store_true", help="one JSON object of all three views; implies --once"
    )
    add_asking(parser)
    options = parser.parse_args(arguments)
    state = _state(options)
    asker = asker_of(options, timeout_s=_TIMEOUT_S)
    if options.json:
        return _object(state, asker)
    try:
        import rich  # noqa: F401 - here, so that nothing else of the console loads it
    except ModuleNotFoundError as error:
        raise SettingsError(
            'the table needs the package rich: pip install "trimtab[cli]"; --json does without it'
        ) from error
    if options.once or not _terminal():
        return _once(state, asker)
    # The terminal's own modules are those of POSIX.
    from trimtab_collector.top.session import Session

    survey = Survey(asker, state.environment, state.service)
    # Who cannot be asked at all is told so at once, and keeps the terminal.
    state.took(survey.read(state.question))
    session = Session(state, survey, asker.address, options.interval)
    return session.run(lambda: renew(asker, options, os.environ))


def _sorts() -> str:
    keys = (f"{view}: {', '.join(column.key for column in COLUMNS[view])}" for view in VIEWS)
    return f"what the rows are sorted by. Of {'; of '.join(keys)}"


def _state(options: argparse.Namespace) -> TopState:
    view, sort = options.view, options.sort
    known = [column.key for column in COLUMNS[view]]
    if sort and sort not in known:
        raise SettingsError(
            f"--sort: expected a column of {view} ({', '.join(known)}), got {sort!r:.80}"
        )
    least, most = _INTERVALS_S
    if not least <= options.interval <= most:
        raise SettingsError(
            f"--interval: expected {least:g} to {most:g} seconds, got {options.interval:g}"
        )
    if len(options.filter) > MOST_FILTER:
        raise SettingsError(f"--filter: expected up to {MOST_FILTER} characters")
    sorts = {**DEFAULT_SORTS, view: sort or DEFAULT_SORTS[view]}
    return TopState(
        view=view,
        sorts=sorts,
        filter=options.filter,
        environment=options.environment,
        service=options.service,
    )


def _terminal() -> bool:
    """Return whether keys can be read and lines be overwritten."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


def _object(state: TopState, asker: Asker) -> int:
    asked = TopQuestion(
        state.view, state.sorts[state.view], state.environment, state.service, whole=True
    )
    state.read = Survey(asker, state.environment, state.service).read(asked)
    print(json.dumps(as_json(state, asker.address)))
    return 0


def _once(state: TopState, asker: Asker) -> int:
    """Print one frame: in colours on a terminal, else without any control code."""
    from trimtab_collector.top.printing import page_lines

    state.took(Survey(asker, state.environment, state.service).read(state.question))
    print("\n".join(page_lines(state, asker.address)))
    return 0
