"""What a strange agent sends its collector: bodies of batches, the headers around them."""

import random
import struct
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgpack
import zstandard

from support.fuzzing.values import NAMES, NUMBERS, TEXTS, Raw, changed, pack
from support.stores.batches import a_batch, accounting_of, coded, key_of, point_of, window
from support.stores.rowbatches import row_of
from trimtab_core.batches import GaugeRow, encode
from trimtab_core.columns import BUCKET_COLUMNS, ITEM_SIZES, POINT_COLUMNS, STATUS_COLUMNS
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, MAX_VALUE_BUCKET
from trimtab_core.rows import EventRow, pack_rows

__all__ = ["BatchFuzz", "Body"]

_LENGTH = struct.Struct("<I")
_COLUMNS = (*POINT_COLUMNS, *BUCKET_COLUMNS, *STATUS_COLUMNS)


class Body(NamedTuple):
    """One POST of a batch: its headers beside the key, and what kind of case it is."""

    kind: str
    data: bytes
    headers: Mapping[str, str]


class BatchFuzz:
    """Makes bodies by a seed; services and agents in them begin with `fuzz`."""

    def __init__(self, seed: int, name: str = "fuzz") -> None:
        self._rng = random.Random(f"batches {name} {seed}")
        self._name = name
        self._seq = 0
        self._before: list[bytes] = [b""]
        self._kinds: tuple[Callable[[], tuple[bytes, str]], ...] = (
            self._header, self._header, self._header, self._series, self._columns, self._columns,
            self._widths, self._rows, self._rows, self._measures, self._processes, self._gauges,
            self._damaged, self._bomb, self._replay, self._crowd, self._window,
        )  # fmt: skip

    def body(self) -> Body:
        """Return the next body and its headers."""
        data, kind = self._rng.choice(self._kinds)()
        self._before = [*self._before[-30:], data]
        return Body(kind, data, self._headers())

    # ------------------------------------------------------------ what is valid

    def _valid(self) -> tuple[dict[str, Any], list[bytes]]:
        """Return the header of a valid batch, and the columns that it lists."""
        rng = self._rng
        self._seq += 1
        service = f"fuzz-{rng.randrange(3)}"
        points = {
            key_of(f"/r{number}", service, status_class=kind): coded(
                point_of([1_000, 2_000, 90_000], db_us=500, db_calls=2), {200: 2, 204: 1}
            )
            for number in range(3)
            for kind in ("2xx", "5xx")
        }
        event = {"kind": "request", "at_us": time.time_ns() // 1_000, "route": "/r1"}
        rows = pack_rows([row_of([0.5, 1.0])._replace(service=service)],
                         [EventRow("test", service, "host#0", event)])  # fmt: skip
        batch = a_batch(
            self._seq,
            points,
            agent=self._name,
            boot=b"fuzzboot",
            rows=rows[0],
            processes=[accounting_of([(0, 18)], 18, {"x": 1}, b"fuzzproc", service)],
            gauges=[GaugeRow("test", service, "host#0", "process.memory.usage", 5e7)],
        )
        body = zstandard.ZstdDecompressor().decompressobj().decompress(encode(batch))
        (length,) = _LENGTH.unpack_from(body)
        header = msgpack.unpackb(body[4 : 4 + length])
        columns, offset = [], 4 + length
        for _, _, size in header["columns"]:
            columns.append(body[offset : offset + size])
            offset += size
        return header, columns

    def _sealed(self, header: Any, columns: list[bytes]) -> bytes:
        try:
            packed = pack(header)
        except (ValueError, OverflowError, TypeError):
            packed = b"\x80"
        body = _LENGTH.pack(len(packed)) + packed + b"".join(columns)
        return zstandard.ZstdCompressor(level=1).compress(body)

    # ------------------------------------------------------------ what is not

    def _header(self) -> tuple[bytes, str]:
        header, columns = self._valid()
        tree = changed(self._rng, header, self._rng.choice((1, 1, 1, 2, 4)))
        return self._sealed(tree, columns), "changed header"

    def _series(self) -> tuple[bytes, str]:
        rng = self._rng
        header, columns = self._valid()
        rows = msgpack.unpackb(header["series"])
        if rng.random() < 0.4:
            rows = [[rng.choice(NAMES) for _ in range(7)] for _ in rows]
            for row in rows:
                row[1] = f"fuzz{row[1]}"[:256]
        else:
            rows = changed(rng, rows, rng.choice((1, 2)))
        header["series"] = pack(rows)
        return self._sealed(header, columns), "changed series"

    def _columns(self) -> tuple[bytes, str]:
        """Columns of the right length with values from the edges of their type."""
        rng = self._rng
        header, columns = self._valid()
        for _ in range(rng.choice((1, 1, 3))):
            place = rng.randrange(len(columns))
            name, _, _ = header["columns"][place]
            count = len(columns[place]) // ITEM_SIZES[header["columns"][place][1]]
            kind = rng.choice("BHIQ")
            most = 256 ** ITEM_SIZES[kind] - 1
            values = [rng.choice((0, 1, most, most // 2 + 1, rng.randrange(most)))
                      for _ in range(count)]  # fmt: skip
            columns[place] = struct.pack(f"<{count}{kind}", *values)
            header["columns"][place] = [name, kind, len(columns[place])]
        return self._sealed(header, columns), "extreme columns"

    def _widths(self) -> tuple[bytes, str]:
        """Columns that are missing, twice there, unknown, too long, or of no known type."""
        rng = self._rng
        header, columns = self._valid()
        place = rng.randrange(len(columns))
        name, kind, size = header["columns"][place]
        one = rng.randrange(6)
        if one == 0:
            del header["columns"][place], columns[place]
        elif one == 1:
            header["columns"].append([name, kind, size])
            columns.append(columns[place])
        elif one == 2:
            header["columns"].append([rng.choice((*_COLUMNS, *TEXTS[:20])), "Q", 48])
            columns.append(rng.randbytes(48))
        elif one == 3:
            header["columns"][place] = [name, rng.choice((kind, "f", "q", "", "BB", 1, None)),
                                        rng.choice((0, size - 1, size + 1, 2**40, -1))]  # fmt: skip
        elif one == 4:
            header["points"] = rng.choice((0, 1, 5, 7, 4096, 4097, 2**31, -1))
        else:
            rng.shuffle(header["columns"])
        return self._sealed(header, columns), "changed widths"

    def _rows(self) -> tuple[bytes, str]:
        header, columns = self._valid()
        rows = changed(self._rng, msgpack.unpackb(header["rows"]), self._rng.choice((1, 1, 2)))
        header["rows"] = pack(rows)
        return self._sealed(header, columns), "changed rows"

    def _measures(self) -> tuple[bytes, str]:
        """Measures and events that fit the schema, with values from its edges."""
        rng = self._rng
        header, columns = self._valid()
        counts = (1, 2, 2**31, 2**52, 2**53 - 1)
        numbers = [each for each in NUMBERS if abs(each) < float("inf")]
        rows = []
        for _ in range(rng.choice((1, 5, 200))):
            buckets = [
                part
                for _ in range(rng.choice((0, 1, 40)))
                for part in (rng.choice((0, 1, 640, MAX_VALUE_BUCKET)), rng.choice(counts))
            ]
            kind = rng.choice((COUNTER, GAUGE, HISTOGRAM))
            name = rng.choice((*NAMES, "fuzz"))
            pairs = rng.choices(NAMES, k=2 * rng.choice((0, 1, 16)))
            rows.append(["test", f"fuzz-{rng.randrange(3)}", "host#0", name, kind, "s", pairs,
                         rng.choice(counts), *rng.choices(numbers, k=4), buckets])  # fmt: skip
        events = [
            ["test", "fuzz-0", "host#0", {"kind": rng.choice(("request", "slow_query", "x")),
             "at_us": rng.choice((0, 1, 2**53, 2**63 - 1, time.time_ns() // 1_000)),
             **{rng.choice(_FIELDS): rng.choice((*NUMBERS, *NAMES, None, [], {}, [[1]], True))
                for _ in range(4)}}]
            for _ in range(rng.choice((0, 1, 5)))
        ]  # fmt: skip
        header["rows"] = pack([rows, events])
        return self._sealed(header, columns), "extreme rows"

    def _processes(self) -> tuple[bytes, str]:
        """Accounting that contradicts itself, or that no process could reach."""
        rng = self._rng
        header, columns = self._valid()
        whole = (0, 1, 18, 2**31, 2**53, 2**62, 2**63 - 1)
        header["processes"] = [
            [rng.choice((b"fuzzproc", rng.randbytes(8))), "test", f"fuzz-{rng.randrange(3)}", "h#0",
             [[rng.choice(whole), rng.choice(whole)] for _ in range(rng.choice((0, 1, 3, 2_000)))],
             rng.choice(whole), {rng.choice(NAMES): rng.choice(whole) for _ in range(3)}]
            for _ in range(rng.choice((1, 3, 40)))
        ]  # fmt: skip
        return self._sealed(header, columns), "strange accounting"

    def _gauges(self) -> tuple[bytes, str]:
        rng = self._rng
        header, columns = self._valid()
        header["gauges"] = [
            [rng.choice(("", "test")), rng.choice(("", "fuzz-0")), rng.choice(("h#0", *NAMES)),
             rng.choice(("process.memory.usage", "fuzz.gauge", *NAMES)), rng.choice(NUMBERS)]
            for _ in range(rng.choice((1, 5, 300)))
        ]  # fmt: skip
        return self._sealed(header, columns), "strange gauges"

    def _damaged(self) -> tuple[bytes, str]:
        rng = self._rng
        data = bytearray(self._sealed(*self._valid()))
        one = rng.randrange(5)
        if one == 0:
            del data[rng.randrange(len(data)) :]
        elif one == 1:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        elif one == 2:
            data += rng.choice((b"\x00", bytes(data), rng.randbytes(100)))
        elif one == 3:
            data = bytearray(rng.randbytes(rng.choice((1, 4, 100, 10_000))))
        else:
            place = rng.randrange(len(data))
            data[place:place] = rng.randbytes(4)
        return bytes(data), "damaged"

    def _bomb(self) -> tuple[bytes, str]:
        """Little that unpacks to much: zeros, or lists and texts without number."""
        rng = self._rng
        header, columns = self._valid()
        zeros = zstandard.ZstdCompressor(level=1).compress(bytes(rng.choice((5, 40)) << 20))
        wide = b"\xdd" + (20_000).to_bytes(4, "big") + b"\x90" * 20_000
        name = rng.choice(("processes", "gauges", "columns", "extra"))
        many = {**header, name: Raw(wide), "more": Raw(wide)}
        text = {**header, "agent": "a" * 2_000_000}
        few = {**header, "series": pack([Raw(wide)] * 60), "points": 4096}
        return rng.choice((
            lambda: zeros, lambda: self._sealed(many, columns), lambda: self._sealed(text, columns),
            lambda: self._sealed(few, columns),
        ))(), "bomb"  # fmt: skip

    def _replay(self) -> tuple[bytes, str]:
        return self._rng.choice(self._before), "replay"

    def _crowd(self) -> tuple[bytes, str]:
        """As many names as a batch may have."""
        rng = self._rng
        header, _ = self._valid()
        count, tag = rng.choice((100, 1_000)), rng.randrange(5)
        rows = [["test", "fuzz-0", "1", f"h#{number % 7}", f"/{tag}/{number}", "GET", "2xx"]
                for number in range(count)]  # fmt: skip
        index = struct.pack(f"<{count}H", *range(count))
        ones = bytes([1]) * count
        header |= {
            "series": pack(rows),
            "points": count,
            "columns": [["series", "H", 2 * count], ["buckets", "B", count],
                        ["indexes", "B", count], ["counts", "B", count]],
        }  # fmt: skip
        return self._sealed(header, [index, ones, ones, ones]), "a crowd"

    def _window(self) -> tuple[bytes, str]:
        """Times from before 1970 to after the sun."""
        rng = self._rng
        header, columns = self._valid()
        step = rng.choice((1, 7, 10, 60, 3600, 3599))
        now = window(0, step)
        header["step_s"] = step
        header["window_s"] = rng.choice(
            (0, step, now, now - 6 * 86_400 // step * step, now + 900 // step * step,
             (1 << 40) // step * step)
        )  # fmt: skip
        header["closed_us"] = rng.choice((0, now * 10**6, 2**53, 2**63 - 1))
        header["closed_mono_us"] = rng.choice((0, 1, 2**53, 2**63 - 1))
        header["live"] = rng.random() < 0.2
        return self._sealed(header, columns), "strange times"

    def _headers(self) -> dict[str, str]:
        rng = self._rng
        if rng.random() < 0.6:
            return {}
        if rng.random() < 0.05:
            return {
                "Authorization": rng.choice(("", "Bearer", "Bearer \xff", "Basic x", "ttk_" * 99))
            }
        now = time.time()
        clocks = (
            *("", "x", "nan", "inf", "1e400", "-1", "0", f"{now:.3f}", f"{now:.3f} 1 6675"),
            *(
                f"{now + 3e7:.3f} 5 {b'fuzzboot'.hex()}",
                f"{now:.3f} 1e300 00",
                "1 2 3 4",
                "9" * 300,
            ),
        )
        return {
            "X-Trimtab-Clock": rng.choice(clocks),
            "X-Trimtab-Held": rng.choice(("", "0", "-1", "9" * 18, "9" * 400, "x", "\xb2")),
            "User-Agent": rng.choice(("", "x" * 5_000, "trimtab-agent/\xff", "\x01\x7f")),
        }


#: names of fields that readers of events look at
_FIELDS = (
    *("route", "method", "status", "duration_us", "query", "reason", "calls", "trace", "error"),
    *("site", "stack", "db_us", "count", "at_us", "more", ""),
)
