"""`trimtab agent`."""

import argparse
import asyncio
import sys
from typing import Final

from trimtab_core.config import load
from trimtab_core.console import EXIT_OK, warn
from trimtab_core.flags import add_flags
from trimtab_core.logs import configure

__all__ = ["agent"]

#: Optional parts of httpx that it loads wherever they are installed, and that the agent never uses:
#: its command line (with click, rich and pygments) and HTTP/2. They take 6 MB.
_UNUSED: Final = ("httpx._main", "h2")


def agent(arguments: list[str]) -> int:
    """Run the agent until it is told to stop; returns the exit code."""
    for module in _UNUSED:
        # A module that is None cannot be imported; httpx works without both.
        sys.modules.setdefault(module, None)  # type: ignore[arg-type]
    from trimtab_agent.agent import Agent
    from trimtab_agent.settings import AgentSettings, resolve

    parser = argparse.ArgumentParser(
        prog="trimtab agent",
        description="Run the local agent. It takes samples from apps over a Unix socket, adds "
        "them up, and keeps them on disk until the collector has them. SIGTERM stops it in order, "
        "SIGHUP makes it read its settings again.",
    )
    parser.add_argument("--config", metavar="FILE", help="settings file (default: ./trimtab.toml)")
    add_flags(parser, AgentSettings)
    options = vars(parser.parse_args(arguments))
    file = options.pop("config")

    def read() -> AgentSettings:
        settings, warnings = load(AgentSettings, "agent", file=file, flags=options)
        warn("agent", warnings)
        return resolve(settings)

    settings = read()
    configure(settings.log_level)
    if not settings.key:
        sentence = "no key: batches stay on disk until TRIMTAB_AGENT_KEY has one from"
        warn("agent", [f"{sentence} `trimtab key new`"])

    async def main() -> None:
        await Agent(settings, read).run(
            lambda sentence: print(f"trimtab agent {sentence}", file=sys.stderr, flush=True)
        )

    asyncio.run(main())
    return EXIT_OK
