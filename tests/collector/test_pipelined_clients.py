"""Clients that send the next request before they have the answer, and leave: nothing is said."""

import socket
import struct
from pathlib import Path

from support.processes.servers import Collector, wait_for
from support.stores.batches import Sender


def test_a_client_that_leaves_with_two_requests_under_way_is_no_failure(tmp: Path) -> None:
    with Collector(tmp).start() as collector, Sender(collector.port, collector.new_key()) as sender:
        head = f"HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {sender.key}\r\n\r\n"
        requests = f"GET /agent/v1/commands?agent=a&wait=0.3 {head}" * 3
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", collector.port)) as leaving:
                leaving.sendall(requests.encode())
                # It resets the connection when it is closed, as a process that is killed does.
                linger = struct.pack("ii", 1, 0)
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                assert sender.commands("a")[0] == 200
        # What they had asked for has ended when this one has.
        assert sender.commands("a", wait=0.6)[0] == 200
        wait_for(lambda: collector.api.get("/health")["connections"]["open"] <= 2, "them to leave")
        assert "Traceback" not in collector.output()
