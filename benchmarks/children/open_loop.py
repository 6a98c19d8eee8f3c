"""Load at a fixed rate: each request is sent when it is due, whatever became of those before.

    python open_loop.py PORT RATE SECONDS PATH [hurry]

A latency counts from the moment the request was due, so that a stall is seen by all requests that
fall into it. With `hurry` it asks for real-time priority and polls from shortly before a request is
due until it is answered, so that no wake-up of its own is in the figure; it sleeps in between, and
takes little of a core that others need. (The server must have that priority too, or would starve.)
A RATE of 0 floods: 32 requests at a time, sent in one piece, on each of two connections. Prints
{"sent", "failed", "p50_ms", "p99_ms"}; the first half second is only counted.
"""

import json
import os
import select
import socket
import sys
import time
from collections import deque
from typing import Final

CONNECTIONS: Final = 4
_ANSWER: Final = b"HTTP/1.1 200"
_ANY: Final = b"HTTP/1.1 "
#: the kernel rounds a timeout of epoll up to a whole millisecond
_AWAKE_S: Final = 0.0015
_SILENT_S: Final = 10.0
_WARM_S: Final = 0.5
_PIPELINED: Final = 32


class Connection:
    """A kept connection and the times its open requests were due."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due: deque[float] = deque()
        self._tail = b""

    def ask(self, request: bytes, due: list[float]) -> None:
        """Send requests; they are short, and the socket takes them whole."""
        self.due.extend(due)
        self.socket.sendall(request * len(due))

    def answers(self) -> tuple[int, int]:
        """Return how many answers came, and how many of them were good; bodies are short."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the server closed a connection")
        data = self._tail + data
        whole, good = data.count(_ANY), data.count(_ANSWER)
        # A status line that was cut is read with the next piece.
        at = data.rfind(b"HTTP")
        cut = at >= 0 and len(data) - at < len(_ANSWER)
        if cut and data.startswith(_ANY, at):
            whole -= 1
        self._tail = data[at:] if cut else data[-3:] if data[-3:] in (b"HTT",) else b""
        return whole, good


def main() -> None:
    """Load and print."""
    port, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    hurry = sys.argv[5:] == ["hurry"]
    if hurry:
        try:
            # What else the machine does should delay no request before it is sent.
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
        except PermissionError:
            pass
    request = f"GET {sys.argv[4]} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    poll = select.epoll()
    connections = [Connection(port) for _ in range(CONNECTIONS if rate else 2)]
    by_descriptor = {one.socket.fileno(): one for one in connections}
    for one in connections:
        poll.register(one.socket, select.EPOLLIN)
    begin = heard = time.perf_counter()
    step = 1 / rate if rate else 0.0
    sent = open_now = good = 0
    latencies: list[float] = []
    total = int(seconds * rate)
    if not rate:
        for one in connections:
            one.ask(request, [begin] * _PIPELINED)
            sent += _PIPELINED
            open_now += _PIPELINED
    while True:
        now = time.perf_counter()
        more = sent < total if rate else now < begin + seconds
        if not more and not open_now:
            break
        if open_now and now - heard > _SILENT_S:
            break
        if rate and more and now >= begin + sent * step:
            if not open_now:
                heard = now
            connections[sent % CONNECTIONS].ask(request, [begin + sent * step])
            sent += 1
            open_now += 1
        due = begin + sent * step - now if rate and more else _SILENT_S
        pause_s = min(max(0.0, due - _AWAKE_S if hurry else due), 1.0)
        if hurry and open_now:
            pause_s = 0.0
        for descriptor, _ in poll.poll(pause_s):
            one = by_descriptor[descriptor]
            whole, fine = one.answers()
            heard = time.perf_counter()
            good += fine
            open_now -= whole
            for _ in range(whole):
                was = one.due.popleft()
                if was - begin >= _WARM_S:
                    latencies.append(heard - was)
            if not rate and whole and not one.due and heard < begin + seconds:
                one.ask(request, [heard] * _PIPELINED)
                sent += _PIPELINED
                open_now += _PIPELINED
    latencies.sort()
    count = len(latencies)
    result = {
        "sent": sent,
        "failed": sent - good,
        "p50_ms": latencies[count // 2] * 1e3 if count else 0.0,
        "p99_ms": latencies[int(count * 0.99)] * 1e3 if count else 0.0,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
