"""Clients that pour what is below messages end soon, and others are served meanwhile."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from support.processes.livestream import live_server
from trimtab_collector.api.live.sessions import LiveLimits


def fragments() -> Iterator[str]:
    """Yield the parts of a message that has nothing in it and does not end soon."""
    for _ in range(100_000):
        yield ""


@pytest.mark.parametrize("token", [None, "planner"], ids=["nobody", "somebody"])
@pytest.mark.parametrize("what", ["pings", "fragments"])
def test_who_pours_pings_or_empty_fragments_is_cut_off(what: str, token: str | None) -> None:
    sent = 0
    with live_server(LiveLimits()) as server:
        address = f"ws://127.0.0.1:{server.port}/socket.io/?EIO=4&transport=websocket"
        with connect(address, compression=None, close_timeout=0.1) as socket:
            socket.recv(5)
            if token is not None:
                socket.send(f'40{{"token":"{token}"}}')
            with suppress(ConnectionClosed):
                if what == "pings":
                    while sent < 10_000:
                        socket.ping(b"%0125d" % sent)
                        sent += 1
                else:
                    socket.send(fragments())
                    sent = 10_000
        assert sent < 10_000
