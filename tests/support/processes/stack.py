"""Collector, agent and app together, and what must hold of their accounts."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from support.processes.commands import SERVERS
from support.processes.servers import Agent, App, Collector, wait_for

__all__ = ["Stack", "connected", "gunicorn", "stack", "uvicorn"]


def uvicorn(*options: str, target: str = "asgi_target:app") -> list[str]:
    """Return the command of uvicorn with an ASGI target."""
    return SERVERS["uvicorn"](target, *options)


def gunicorn(*options: str, target: str = "wsgi_target:app") -> list[str]:
    """Return the command of gunicorn with the WSGI target."""
    return SERVERS["gunicorn"](target, *options)


@dataclass
class Stack:
    """A running collector and agent; apps are started into it."""

    directory: Path
    collector: Collector
    agent: Agent
    exits: ExitStack
    apps: dict[str, App] = field(default_factory=dict)

    def app(self, service: str, command: Sequence[str], **env: str) -> App:
        """Start an app under `trimtab run`; it ends with the stack at the latest."""
        app = App(self.directory, service, self.agent.socket, command, **env)
        self.apps[service] = self.exits.enter_context(app.start())
        return app

    def wait_booked(self, service: str, sent: int, timeout_s: float = 60.0) -> None:
        """Wait until counted + lost + dropped of a service has reached what was sent, for good.

        While the agent holds batches, what is in them counts as lost when later ones came first.
        """
        wait_for(
            lambda: self.agent.held() == 0 and self.collector.api.booked(service) >= sent,
            f"{sent} records of {service} to be booked",
            timeout_s,
        )


@contextmanager
def stack(directory: Path, **agent_env: str) -> Iterator[Stack]:
    """Yield a running collector and agent; both and all apps are gone afterwards."""
    with ExitStack() as exits:
        collector = exits.enter_context(Collector(directory).start())
        agent = Agent(directory, collector.url, collector.new_key(), **agent_env)
        exits.enter_context(agent.start())
        yield Stack(directory, collector, agent, exits)


def connected(agent: Agent) -> socket.socket:
    """Return a connection to an agent's socket, on which the test is the app."""
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    opened.settimeout(10)
    opened.connect(str(agent.socket_path))
    return opened
