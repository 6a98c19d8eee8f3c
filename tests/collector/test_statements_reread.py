"""What an earlier version stored of statements is read again, once, by the present rules."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

from support.clock import Clock
from trimtab_collector.storage.sqlite.amounts import amount_row, attributes_text
from trimtab_collector.storage.sqlite.checksums import checksum, verify
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.journal import JOURNAL_ROW, batch_of, journal_checksum
from trimtab_core.batches import Batch, decode, encode
from trimtab_core.measures import HISTOGRAM, Delta, MeasureKey
from trimtab_core.rows import EventRow, MeasureRow, pack_rows, unpack_rows

WORD = "s3cret_w0rd"
NOW_S = 1_800_000_000
STATEMENT = "postgresql.statement.duration"


def key(text: str, name: str = STATEMENT, system: str = "postgresql") -> MeasureKey:
    return MeasureKey(name, HISTOGRAM, "s", (("db.query.text", text), ("db.system.name", system)))


def row(text: str, count: int = 1) -> MeasureRow:
    return MeasureRow("", "", "i", key(text), Delta(count, count * 0.5, 0.5, 0.5, 0.5, {}))


def batch(seq: int, *texts: str) -> bytes:
    event = {
        "kind": "slow_query",
        "at_us": NOW_S * 10**6,
        "system": "postgresql",
        "query": texts[0],
    }
    (rows,) = pack_rows([row(text) for text in texts], [EventRow("p", "s", "i", event)])
    return encode(Batch("a", b"bootboot", seq, NOW_S - 60, 10, (NOW_S - 50) * 10**6, rows=rows))


def plant(directory: Path) -> None:
    """Write into a store what a collector of an earlier version may have written."""
    SQLiteStore(directory, clock=Clock(NOW_S)).close()
    with sqlite3.connect(directory / "metrics.db") as store:
        store.execute("DELETE FROM fact WHERE name = 'shapes'")
        for number, text in enumerate(
            (f"ALTER ROLE x PASSWORD '{WORD}'", f"ALTER ROLE {WORD}", "ALTER ROLE", "SELECT ?"), 1
        ):
            names = ("", "", "i", STATEMENT, HISTOGRAM, "s", attributes_text(key(text).attributes))
            store.execute(
                "INSERT INTO measure VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (number, *names, checksum(*names) if number % 2 else None),
            )
            store.execute(
                "INSERT INTO amount VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                amount_row(number, NOW_S - 100, 10, Delta(number, 1.0, 1.0, 1.0, 1.0, {})),
            )
        body = {
            "query": f"SET app.token = {WORD}", "system": "postgresql", "route": "/",
            "spans": [["db", 1, 2, f'SELECT f("{WORD}")'], ["external", 1, 2, "GET host"]],
        }  # fmt: skip
        event = ((NOW_S - 100) * 10**6, "request", "p", "s", "i", "/", json.dumps(body).encode())
        store.execute(
            "INSERT INTO event VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", (*event, checksum(*event))
        )
        store.execute("INSERT INTO event VALUES (2, 5, 'request', 'p', 's', 'i', '', x'ff', NULL)")
        store.execute(
            "INSERT INTO origin (origin, key, agent, boot) VALUES (1, '', 'a', ?)", (b"bootboot",)
        )
        payloads = batch(1, f"COPY (SELECT '{WORD}') TO STDOUT", "SELECT ?"), b"no batch"
        for seq, payload in enumerate(payloads, 1):
            place = (seq, 1, seq, NOW_S - 60, NOW_S * 10**6)
            store.execute(
                "INSERT INTO journal (id, origin, seq, t0, received_us, payload, crc)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*place, payload, journal_checksum(place, payload)),
            )
    store.close()


def held(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.iterdir() if path.is_file())


def rows_of(directory: Path, sql: str) -> list[Any]:
    with sqlite3.connect(directory / "metrics.db") as store:
        found = store.execute(sql).fetchall()
    store.close()
    return found


def test_what_an_earlier_version_stored_loses_what_may_be_a_secret_and_no_count(
    tmp_path: Path,
) -> None:
    plant(tmp_path)
    assert WORD.encode() in held(tmp_path)
    SQLiteStore(tmp_path, clock=Clock(NOW_S)).close()
    assert WORD.encode() not in held(tmp_path)
    counts = rows_of(
        tmp_path,
        "SELECT json_extract(attributes, '$[0][1]'), sum(count) FROM amount JOIN measure"
        " ON measure.id = amount.measure GROUP BY 1",
    )
    assert counts == [("ALTER ROLE", 1 + 2 + 3), ("SELECT ?", 4)]
    columns = "environment, service, instance, name, kind, unit, attributes"
    for *names, crc in rows_of(tmp_path, f"SELECT {columns}, crc FROM measure"):
        verify(crc, *names)
    columns = "t_us, kind, environment, service, instance, route, body"
    ((*values, crc),) = rows_of(tmp_path, f"SELECT {columns}, crc FROM event WHERE id = 1")
    verify(crc, *values)
    event = json.loads(values[-1])
    assert (event["query"], event["route"]) == ("SET", "/")
    assert event["spans"] == [["db", 1, 2, "SELECT f(?)"], ["external", 1, 2, "GET host"]]
    again = batch_of(rows_of(tmp_path, f"SELECT {JOURNAL_ROW} FROM journal WHERE seq = 1")[0])
    measures, events = unpack_rows(again.rows)
    assert replace(again, rows=b"") == replace(decode(batch(1, "x")), rows=b"")
    assert [each.key for each in measures] == [key("COPY"), key("SELECT ?")]
    assert events[0].event["query"] == "COPY"


def test_it_is_done_once(tmp_path: Path) -> None:
    plant(tmp_path)
    SQLiteStore(tmp_path, clock=Clock(NOW_S)).close()
    before = rows_of(tmp_path, "SELECT * FROM measure")
    with sqlite3.connect(tmp_path / "metrics.db") as store:
        store.execute(
            "UPDATE measure SET attributes = ?, crc = NULL WHERE id = ?",
            (attributes_text(key("later on").attributes), before[0][0]),
        )
    store.close()
    SQLiteStore(tmp_path, clock=Clock(NOW_S)).close()
    assert "later on" in rows_of(tmp_path, "SELECT attributes FROM measure")[0][0]
