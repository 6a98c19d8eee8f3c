"""The collector's place for `agent`: takes batches, counts their requests, says 202.

    python sink.py PORT RESULT

Nothing is stored, so that the agent's own cost is measured with an answer at the other end. After
each batch the counts {"requests", "batches", "bytes"} are written to the file RESULT.
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from trimtab_core import batches


class Handler(BaseHTTPRequestHandler):
    """Answers one agent."""

    protocol_version = "HTTP/1.1"
    counts = {"requests": 0, "batches": 0, "bytes": 0}  # noqa: RUF012 - one process, one count
    result = Path()

    def do_POST(self) -> None:
        """Count a batch."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        batch = batches.decode(body)
        if not batch.live:
            column = batch.columns.get("counts")
            self.counts["requests"] += sum(batches.values_of(column)) if column else 0
            self.counts["batches"] += 1
            self.counts["bytes"] += len(body)
            part = self.result.with_suffix(".part")
            part.write_text(json.dumps(self.counts))
            part.replace(self.result)
        self._answer(202, {"duplicate": False, "watchSeconds": 0.0})

    def do_GET(self) -> None:
        """Hold a long poll for as long as it asks, then say that nothing happened."""
        wait = parse_qs(urlsplit(self.path).query).get("wait", ["0"])[0]
        time.sleep(min(float(wait), 60.0))
        self._answer(200, {"watchSeconds": 0.0, "commands": []})

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Stay silent."""

    def _answer(self, status: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def main() -> None:
    """Serve until SIGTERM."""
    Handler.result = Path(sys.argv[2])
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
