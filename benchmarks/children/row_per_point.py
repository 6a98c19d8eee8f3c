"""The rival of the ingest benchmark: the same server, keeping each point as a row of SQLite.

Arguments: port, path of the database. The same decoding, HTTP server, group commit, durability
(WAL, synchronous=FULL) and memory of batch numbers as the collector; the sketch of a point is two
packed columns of its row. No keys, checks of values, accounting or memory of latest points.
"""

import asyncio
import queue
import sqlite3
import sys
import threading
from array import array
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import accumulate
from typing import Any

import uvicorn

from trimtab_core.batches import POINT_COLUMNS, Batch, SeriesKey, decode, decode_series, values_of

_NAMES = POINT_COLUMNS[1:-1]
_SCHEMA = f"""
CREATE TABLE batch (agent TEXT, boot BLOB, seq INTEGER, PRIMARY KEY (agent, boot, seq))
    WITHOUT ROWID;
CREATE TABLE series (id INTEGER PRIMARY KEY, environment, service, version, instance, route, method,
    status_class);
CREATE TABLE point (series INTEGER, t INTEGER, {", ".join(_NAMES)}, indexes BLOB, counts BLOB);
CREATE INDEX point_series_t ON point (series, t);
"""
_INSERT = f"INSERT INTO point VALUES ({', '.join('?' * (len(_NAMES) + 4))})"
Waiting = tuple[Batch, "asyncio.Future[None]"]


class Rows:
    """The database and its one writing thread."""

    def __init__(self, path: str) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.executescript(_SCHEMA)
        self.queue: queue.SimpleQueue[Waiting] = queue.SimpleQueue()
        self.ids: dict[SeriesKey, int] = {}
        self.known: dict[bytes, list[int]] = {}
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        while True:
            group = [self.queue.get()]
            while len(group) < 256:
                try:
                    group.append(self.queue.get_nowait())
                except queue.Empty:
                    break
            self.connection.execute("BEGIN IMMEDIATE")
            for batch, _ in group:
                self.connection.execute(
                    "INSERT INTO batch VALUES (?, ?, ?)", (batch.agent, batch.boot, batch.seq)
                )
                self.connection.executemany(_INSERT, self.rows(batch))
            self.connection.execute("COMMIT")
            group[0][1].get_loop().call_soon_threadsafe(answer, group)

    def rows(self, batch: Batch) -> list[tuple[Any, ...]]:
        ids = self.known.get(batch.series)
        if ids is None:
            ids = self.known[batch.series] = list(map(self.id_of, decode_series(batch.series)))
        zeros = array("B", bytes(batch.points))
        columns = [
            values_of(batch.columns[name]) if name in batch.columns else zeros for name in _NAMES
        ]
        series = values_of(batch.columns["series"])
        ends = list(accumulate(values_of(batch.columns["buckets"])))
        indexes, counts = batch.columns["indexes"], batch.columns["counts"]
        wide, broad = len(indexes.data) // ends[-1], len(counts.data) // ends[-1]
        begins = [0, *ends[:-1]]
        times = [batch.window_s] * batch.points
        return list(
            zip(
                map(ids.__getitem__, series),
                times,
                *columns,
                [indexes.data[a * wide : b * wide] for a, b in zip(begins, ends, strict=True)],
                [counts.data[a * broad : b * broad] for a, b in zip(begins, ends, strict=True)],
                strict=True,
            )
        )

    def id_of(self, key: SeriesKey) -> int:
        number = self.ids.get(key)
        if number is None:
            number = self.ids[key] = len(self.ids)
            self.connection.execute(
                "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (number, *key)
            )
        return number


def answer(group: list[Waiting]) -> None:
    for _, future in group:
        future.set_result(None)


def application(rows: Rows) -> Any:
    async def app(
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        message = await receive()
        body = message["body"]
        while message["more_body"]:
            message = await receive()
            body += message["body"]
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        rows.queue.put((decode(body), future))
        await future
        answer = b'{"duplicate":false}'
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 202, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(Rows(sys.argv[2])),
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="warning",
        access_log=False,
    )
