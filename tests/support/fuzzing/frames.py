"""What a strange app sends its agent: streams of frames from valid to hopeless."""

import random
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from support.fuzzing.values import NAMES, NUMBERS, Raw, changed, pack, strange
from trimtab_core.frames import MAX_FRAME
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, MAX_VALUE_BUCKET
from trimtab_core.messages import Bye, Gauges, Hello, Routes, Samples
from trimtab_core.records import RECORD_SIZE, Record
from trimtab_core.records import pack as pack_record

__all__ = ["FrameFuzz", "Stream", "framed"]

_LENGTH = struct.Struct(">I")


class Stream(NamedTuple):
    """All that one connection sends; in how many pieces, and what kind of case it is."""

    kind: str
    data: bytes
    pieces: int = 1


def framed(message: Any) -> bytes:
    """Return the frame of any value; a payload beyond the limit has an honest length all the same.

    What msgpack has no form for becomes an empty list.
    """
    try:
        payload = pack(message)
    except (ValueError, OverflowError, TypeError):
        payload = b"\x90"
    return _LENGTH.pack(len(payload)) + payload


class FrameFuzz:
    """Makes streams by a seed; the names in them begin with the service that it is given."""

    def __init__(self, seed: int, service: str = "fuzz") -> None:
        self._rng = random.Random(f"frames {seed}")
        self._service = service
        self._kinds: tuple[Callable[[], tuple[list[bytes], str]], ...] = (
            self._changed, self._changed, self._changed, self._changed, self._disorder,
            self._records, self._measures, self._measures, self._events, self._half, self._replay,
            self._garbage, self._crowd,
        )  # fmt: skip
        self._before: list[bytes] = []

    def stream(self) -> Stream:
        """Return what the next connection sends."""
        frames, kind = self._rng.choice(self._kinds)()
        data = b"".join(frames)
        pieces = self._rng.choice((1, 1, 1, 2, 7))
        return Stream(kind, data, pieces)

    # ------------------------------------------------------------ what is valid

    def _hello(self, process: bytes | None = None) -> list[Any]:
        rng = self._rng
        return Hello(
            environment="fuzz", service=f"{self._service}-{rng.randrange(4)}", version="1",
            host="strange", pid=rng.randrange(1, 99), process=process or rng.randbytes(8),
            facts={"python": "3.11", "server": "none"},
        ).frame()  # fmt: skip

    def _records_of(self, count: int, first: int = 0) -> list[Any]:
        rng = self._rng
        data = b"".join(
            pack_record(Record(rng.randrange(4), 1, 0, rng.choice((200, 404, 500)), 1_000))
            for _ in range(count)
        )
        now_us = time.time_ns() // 1_000
        return Samples(now_us, time.monotonic_ns() // 1_000, first, {"x": 1}, 48, data).frame()

    def _names(self) -> list[Any]:
        rows = [
            [1, "fuzz.count", COUNTER, "1", []],
            [2, "fuzz.level", GAUGE, "By", ["where", "here"]],
            [3, "db.client.operation.duration", HISTOGRAM, "s", ["db.query.text", "SELECT ?"]],
        ]
        return ["measure_names", rows]

    def _deltas(self) -> list[Any]:
        now_us = time.time_ns() // 1_000
        rows = [
            [1, 1, 1.0, 1.0, 1.0, 1.0, []],
            [2, 2, 3.0, 1.0, 2.0, 2.0, []],
            [3, 2, 0.5, 0.2, 0.3, 0.3, [500, 1, 510, 1]],
        ]
        return ["deltas", rows, now_us, time.monotonic_ns() // 1_000, 1_000_000, 0]

    def _event(self) -> dict[str, Any]:
        kind = self._rng.choice(("slow_query", "n_plus_one", "request", "fuzz"))
        return {
            "kind": kind, "at_us": time.time_ns() // 1_000, "route": "/x/{id}", "method": "GET",
            "status": 500, "duration_us": 5_000, "query": "SELECT ?", "reason": "slow",
            "calls": [["db", 1, 2]], "trace": "0" * 32,
        }  # fmt: skip

    def _session(self, process: bytes | None = None) -> list[list[Any]]:
        now_us = time.time_ns() // 1_000
        return [
            self._hello(process),
            Routes({1: "/a", 2: "/b/{id}", 3: "/c"}).frame(),
            self._records_of(self._rng.randrange(1, 9)),
            Gauges(now_us, 3, {"x": 1}, {"process.memory.usage": 1e7, "fuzz.g": 1.5}).frame(),
            self._names(),
            self._deltas(),
            ["events", [self._event(), self._event()], 0],
            Bye(9, {"x": 1}).frame(),
        ]

    # ------------------------------------------------------------ what is not

    def _changed(self) -> tuple[list[bytes], str]:
        rng = self._rng
        session: list[Any] = self._session()
        place = rng.randrange(len(session))
        name = session[place][0]
        session[place] = changed(rng, session[place], rng.choice((1, 1, 1, 2, 4)))
        return self._keep(session), f"changed {name}"

    def _disorder(self) -> tuple[list[bytes], str]:
        rng = self._rng
        session: list[Any] = self._session()
        rng.shuffle(session)
        if rng.random() < 0.7:  # else it ends at once
            session.insert(0, self._hello())
        session += rng.choices(session, k=4)
        del session[rng.randrange(1, len(session))]
        return self._keep(session), "disorder"

    def _records(self) -> tuple[list[bytes], str]:
        rng = self._rng
        size = rng.choice((RECORD_SIZE, RECORD_SIZE, 56, 256))
        count = rng.choice((1, 10, 500, MAX_FRAME // size - 4))
        data = rng.randbytes(size) * count if rng.random() < 0.5 else rng.randbytes(size * count)
        frame = [
            *("samples", *(rng.choice((time.time_ns() // 1000, abs(whole)))
              for whole in rng.choices(_WHOLE, k=2))),
            *(abs(rng.choice(_WHOLE)), {}, size, data),
        ]  # fmt: skip
        return self._keep([self._hello(), ["routes", [[1, "/a"]]], frame]), "random records"

    def _measures(self) -> tuple[list[bytes], str]:
        """Measures that fit the schema, with numbers from its edges."""
        rng = self._rng
        counts = (1, 2, 2**31, 2**52, 2**53 - 1)
        numbers = [each for each in NUMBERS if abs(each) < float("inf")]
        rows = []
        for number in rng.choices((1, 2, 3), k=rng.choice((1, 3, 20))):
            buckets = [
                part
                for _ in range(rng.choice((0, 1, 40)))
                for part in (rng.choice((0, 1, 640, MAX_VALUE_BUCKET)), rng.choice(counts))
            ]
            rows.append([number, rng.choice(counts), *rng.choices(numbers, k=4), buckets])
        clocks = [abs(each) for each in rng.choices(_WHOLE, k=4)]
        names = self._names()
        if rng.random() < 0.5:
            names[1] = [
                [number, rng.choice(NAMES), rng.choice((COUNTER, GAUGE, HISTOGRAM)),
                 rng.choice(NAMES), rng.choices(NAMES, k=4)]
                for number in (1, 2, 3)
            ]  # fmt: skip
        dated = ["deltas", rows, *(self._deltas()[2:5]), 0]
        frames = [self._hello(), names, rng.choice((dated, ["deltas", rows, *clocks]))]
        return self._keep([*frames, frames[-1]]), "extreme measures"

    def _events(self) -> tuple[list[bytes], str]:
        rng = self._rng
        events: list[Any] = []
        for _ in range(rng.choice((1, 3, 30))):
            event: dict[Any, Any] = self._event()
            for _ in range(rng.choice((1, 2, 5))):
                name = rng.choice((*event, "more", *NAMES, 1, None))
                event[name] = rng.choice((strange(rng), rng.choice(NUMBERS), rng.choice(NAMES)))
            events.append(event)
        if rng.random() < 0.3:
            events = [{**self._event(), "text": "x" * 32_000}] * 7
        return self._keep([self._hello(), ["events", events, rng.choice(_WHOLE)]]), "strange events"

    def _half(self) -> tuple[list[bytes], str]:
        data = b"".join(self._keep(self._session()))
        return [data[: self._rng.randrange(len(data))]], "half a message"

    def _replay(self) -> tuple[list[bytes], str]:
        rng = self._rng
        process = b"replayed"
        session = [self._hello(process), *self._session()[1:]]
        records = [self._records_of(5, rng.choice((0, 3, 10**6, 2**62))) for _ in range(3)]
        records += rng.choices(records, k=3)
        return self._keep([*session[:3], *records, self._hello(process)]), "replay"

    def _garbage(self) -> tuple[list[bytes], str]:
        rng = self._rng
        hello = rng.choice((b"", framed(self._hello())))
        length = rng.choice((0, 1, 4, 1_000, MAX_FRAME, MAX_FRAME + 1, 2**31, 2**32 - 1))
        rest = rng.randbytes(rng.choice((0, 1, 5, 1_000, 70_000)))
        return [hello, _LENGTH.pack(length), rest], "garbage"

    def _crowd(self) -> tuple[list[bytes], str]:
        """Very many tiny things in few frames."""
        rng = self._rng
        count = rng.choice((300, 3_000, 20_000))
        tag = rng.randrange(5)
        frame: list[Any] = rng.choice((
            ["routes", [[1 + each % 65_535, f"/{tag}/{each}"] for each in range(count)]],
            ["measure_names",
             [[1 + each % 20_000, f"m{tag}.{each}", COUNTER, "", []]
              for each in range(min(count, 9_000))]],
            ["deltas", [[1 + each % 20_000, 1, 1, 1, 1, 1, []] for each in range(count)]],
            ["events", [{"kind": "x", "at_us": each} for each in range(min(count, 1_000))], 0],
            ["gauges", 1, 1, {}, {f"g{tag}.{each}": each for each in range(256)}],
            ["samples", 1, 1, 0, {f"r{each}": 1 for each in range(16)}, 48, b""],
            ["bye", 1, Raw(b"\xdf" + count.to_bytes(4, "big") + b"\x00\x00" * count)],
        ))  # fmt: skip
        again = ["deltas", [[1 + each, 1, 1, 1, 1, 1, []] for each in range(200)]]
        return self._keep([self._hello(), frame, again, self._records_of(20)]), "a crowd"

    def _keep(self, session: list[Any]) -> list[bytes]:
        frames = [framed(message) for message in session]
        # What a connection sent before, another one sends again.
        if self._before and self._rng.random() < 0.05:
            frames += self._before
        self._before = frames[:3]
        return frames


_WHOLE = [each for each in NUMBERS if isinstance(each, int)]
