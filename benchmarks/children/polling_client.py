"""The load client of `polling_client.c` for machines without a C compiler: it polls, never sleeps.

    python polling_client.py PORT CONNECTIONS SECONDS PATH...

Prints the same line of JSON. Being Python it carries about a tenth of the compiled one's load, so
that it may be slower than the server: ratios of requests per second then say less.
"""

import json
import re
import select
import socket
import sys
import time
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Connection:
    """One keep-alive connection with one open request."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.sent_ns = 0
        self._data = b""

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self._data = b""
        self.sent_ns = time.perf_counter_ns()
        self.socket.sendall(request)

    def answered(self) -> int:
        """Return the status once the whole response is there, 0 before."""
        try:
            piece = self.socket.recv(65536)
        except BlockingIOError:
            return 0
        if not piece:
            raise ConnectionError("the server closed a connection")
        self._data += piece
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if not separator:
            return 0
        length = _LENGTH.search(head)
        if length is None:
            raise ValueError("expected a response with Content-Length")
        return int(head[9:12]) if len(body) >= int(length[1]) else 0


def main() -> None:
    """Load the server for the window and print what came."""
    port, wanted, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    requests = [
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: polling-client\r\n"
        "Accept: */*\r\nAccept-Language: en\r\n\r\n".encode()
        for path in sys.argv[4:]
    ]
    poll = select.epoll()
    connections = {}
    for _ in range(wanted):
        connection = Connection(port)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    begin = now = heard = time.perf_counter_ns()
    until = begin + int(seconds * 1e9)
    latencies: list[int] = []
    bad = turn = 0
    for connection in connections.values():
        connection.ask(requests[turn % len(requests)])
        turn += 1
    while now < until:
        ready = poll.poll(0)
        now = time.perf_counter_ns()
        if ready:
            heard = now
        elif now - heard > 5_000_000_000:
            raise TimeoutError("the server was silent for 5 s")
        for descriptor, _ in ready:
            connection = connections[descriptor]
            status = connection.answered()
            if status:
                latencies.append((time.perf_counter_ns() - connection.sent_ns) // 1000)
                bad += status != 200
                connection.ask(requests[turn % len(requests)])
                turn += 1
    latencies.sort()
    count = len(latencies)
    result = {
        "responses": count,
        "bad": bad,
        "seconds": (now - begin) / 1e9,
        "p50_us": latencies[count // 2] if count else 0,
        "p99_us": latencies[int(count * 0.99)] if count else 0,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
