"""The check of a store names each damage: file, chunk, what was expected and what came."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import pytest

from support.processes.servers import short_dir
from support.stores.checkedstore import HOUR_S, TODAY, YESTERDAY, change, checked, make, texts
from trimtab_collector.storage.columns import Columns
from trimtab_collector.storage.sqlite.chunks import decode_chunk, encode_chunk
from trimtab_collector.storage.sqlite.schema import VERSION


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A store of two days, merged but for the latest; every test has a copy of its own."""
    with short_dir() as directory:
        make(directory / "c")
        yield directory / "c"


@pytest.fixture
def copy(made: Path, tmp: Path) -> Path:
    return Path(shutil.copytree(made, tmp / "c"))


class Chunk(NamedTuple):
    id: int
    payload: bytes


def a_chunk(path: Path, level: int = 0) -> Chunk:
    with closing(sqlite3.connect(path)) as connection:
        return Chunk(
            *connection.execute(
                "SELECT id, payload FROM chunk WHERE level = ? ORDER BY id DESC", (level,)
            ).fetchone()
        )


def rewrite(path: Path, level: int, work: Callable[[Columns], Columns], width_s: int = 10) -> int:
    """Put other points into a chunk, with a checksum that is right; returns its number."""
    chunk = a_chunk(path, level)
    payload = encode_chunk(work(decode_chunk(chunk.payload)), width_s)
    change(path, "UPDATE chunk SET payload = ? WHERE id = ?", payload, chunk.id)
    return chunk.id


def with_value(columns: Columns, name: str, more: int) -> Columns:
    column = columns.value(name).astype(np.int64)
    column[0] += more
    values = {**columns.values, name: column}
    return Columns(columns.key, values, columns.buckets, columns.indexes, columns.counts)


def test_a_flipped_byte_in_a_chunk_is_named_with_file_and_chunk(copy: Path) -> None:
    path = copy / f"10s-{TODAY}.db"
    chunk = a_chunk(path)
    body = bytearray(path.read_bytes())
    # As it lies in the file: the payload is found by its end.
    place = body.find(chunk.payload[-40:]) + 20
    assert place > 20
    body[place] ^= 1
    path.write_bytes(body)
    report = checked(copy)
    assert next((f.file, f.chunk) for f in report.findings) == (path.name, chunk.id)
    assert "its checksum differs" in texts(report)


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_chunk_that_is_gone_is_missed(copy: Path, level: int) -> None:
    path = copy / f"1m-{TODAY}.db"
    change(path, "DELETE FROM chunk WHERE id = ?", a_chunk(path, level).id)
    assert f"{path.name}: level" in texts(checked(copy))


@pytest.mark.parametrize("name", ["errors", "sum_us", "max_us", "db_us"])
@pytest.mark.parametrize("level", [1, 2])
def test_a_roll_up_that_is_another_sum_is_named_with_both(
    copy: Path, level: int, name: str
) -> None:
    path = copy / f"10s-{YESTERDAY}.db"
    # The largest of all comes to the next level, whatever was the largest before.
    more = 2**31 if name == "max_us" else 1
    rewrite(path, level, lambda columns: with_value(columns, name, more))
    (finding, *_) = checked(copy).findings
    assert finding.file == path.name
    assert finding.what.startswith(f"level {level} is not the sum of level 0")
    assert name in finding.expected
    assert name in finding.got


def test_a_roll_up_with_another_sketch_is_named(copy: Path) -> None:
    path = copy / f"10s-{YESTERDAY}.db"

    def moved(columns: Columns) -> Columns:
        buckets = columns.indexes.copy()
        buckets[columns.buckets[0] - 1] += 1
        return Columns(columns.key, columns.values, columns.buckets, buckets, columns.counts)

    rewrite(path, 1, moved)
    assert "with sketch" in texts(checked(copy))


def test_an_hour_that_is_gone_from_one_tier_is_missed(copy: Path) -> None:
    path = copy / f"10s-{TODAY}.db"
    change(path, "DELETE FROM chunk WHERE period = (SELECT max(period) FROM chunk)")
    assert "10s and 1m: 1 hours do not come to the same sums" in texts(checked(copy))


def test_sums_that_are_wrong_at_all_levels_of_a_tier_are_seen_in_the_next(copy: Path) -> None:
    path = copy / "1h-202311.db"
    for level in (0, 1, 2):
        with closing(sqlite3.connect(path)) as connection:
            chunks = connection.execute(
                "SELECT id, payload FROM chunk WHERE level = ?", (level,)
            ).fetchall()
        for number, payload in chunks:
            columns = decode_chunk(payload)
            doubled = Columns(
                columns.key, columns.values, columns.buckets, columns.indexes, columns.counts * 2
            )
            change(
                path,
                "UPDATE chunk SET payload = ? WHERE id = ?",
                encode_chunk(doubled, HOUR_S),
                number,
            )
    found = texts(checked(copy))
    assert "1m and 1h:" in found
    assert "1h and the journal hold more of test/shop than was counted" in found


def test_a_row_that_tells_another_size_or_place_is_named(copy: Path) -> None:
    path = copy / f"10s-{TODAY}.db"
    chunk = a_chunk(path)
    change(path, "UPDATE chunk SET points = points + 1, last = last + 1 WHERE id = ?", chunk.id)
    index, own, *rest = [each for each in checked(copy).findings if each.file == path.name]
    assert "index of chunks is damaged" in index.what
    assert own.chunk == chunk.id
    assert "one that was of another" in own.what
    # What it held is missing from the sum.
    assert all("is not the sum of level 0" in each.what for each in rest)


def test_a_chunk_of_an_earlier_version_whose_row_tells_another_size_is_named(copy: Path) -> None:
    path = copy / f"10s-{TODAY}.db"
    number = rewrite(path, 0, lambda columns: columns)
    change(path, "UPDATE chunk SET points = points + 1, last = last + 1 WHERE id = ?", number)
    found = texts(checked(copy))
    assert "another size" in found
    assert "other routes" in found


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("level = 1", "index of chunks is damaged"),
        ("period = period - 3600", "one that was of another"),
        ("level = 7", "level or period that is not of this file"),
        ("period = period + 86400", "level or period that is not of this file"),
    ],
)
def test_a_chunk_in_another_place_is_named(copy: Path, name: str, word: str) -> None:
    path = copy / f"10s-{TODAY}.db"
    change(path, f"UPDATE chunk SET {name} WHERE id = ?", a_chunk(path).id)
    assert word in texts(checked(copy))


def test_points_out_of_order_are_named(copy: Path) -> None:
    path = copy / f"10s-{TODAY}.db"

    def turned(columns: Columns) -> Columns:
        key = columns.key.copy()
        key[[0, -1]] = key[[-1, 0]]
        return Columns(key, columns.values, columns.buckets, columns.indexes, columns.counts)

    number = rewrite(path, 0, turned)
    assert f"{path.name}, chunk {number}: points are not in order" in texts(checked(copy))


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE gauge_chunk SET points = points + 1", "index of chunks is damaged"),
        ("UPDATE gauge_chunk SET first = first + 1", "one that was of another"),
        ("UPDATE gauge_chunk SET payload = zeroblob(200)", "gauges cannot be read"),
        ("UPDATE gauge_chunk SET period = period + 3600", "one that was of another"),
        ("DELETE FROM gauge_chunk WHERE id = 1", "sums of gauges"),
        ("DELETE FROM gauge WHERE id = 2", "a gauge is not in the file"),
        ("UPDATE gauge SET name = 'other' WHERE id = 1", "sums of gauges"),
    ],
)
def test_readings_that_are_not_what_they_were_are_named(
    copy: Path, statement: str, word: str
) -> None:
    change(copy / f"10s-{TODAY}.db", statement)
    assert word in texts(checked(copy))


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.0])
def test_a_file_that_was_cut_off_is_named(copy: Path, keep: float) -> None:
    path = copy / f"1m-{TODAY}.db"
    with path.open("r+b") as stream:
        stream.truncate(int(path.stat().st_size * keep))
    found = texts(checked(copy))
    assert path.name in found or "1m and 1h" in found


def test_noise_in_any_file_is_named_and_the_rest_is_checked(copy: Path) -> None:
    for name in ("metrics.db", f"10s-{TODAY}.db", "1h-202311.db"):
        shutil.copy(copy / name, copy / "kept")
        with (copy / name).open("r+b") as stream:
            stream.write(Random(name).randbytes(4096))
        found = texts(checked(copy))
        assert name in found
        if name != "metrics.db":
            assert checked(copy).chunks > 50
        shutil.move(copy / "kept", copy / name)
    assert checked(copy).sound


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"10s-{TODAY}.db", f"10s-{YESTERDAY}.db"),
        (f"10s-{TODAY}.db", f"1m-{TODAY}.db"),
        (f"1m-{TODAY}.db", "1h-202311.db"),
    ],
)
def test_files_in_each_others_place_are_named(copy: Path, one: str, other: str) -> None:
    (copy / one).rename(copy / "x")
    (copy / other).rename(copy / one)
    (copy / "x").rename(copy / other)
    found = texts(checked(copy))
    assert one in found or other in found


def test_files_that_were_put_aside_are_listed(copy: Path) -> None:
    shutil.copy(copy / f"10s-{TODAY}.db", copy / f"10s-{TODAY}.db.damaged-2")
    assert f"10s-{TODAY}.db.damaged-2: it was put aside" in texts(checked(copy))


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("DELETE FROM series WHERE id = 3", "name of series 3 is not as it"),
        ("DELETE FROM series WHERE id = (SELECT max(id) FROM series)", "is not as it was written"),
        ("UPDATE series SET route = '/other' WHERE id = 3", "name of series 3 is not as it"),
        ("UPDATE fact SET value = value + 1 WHERE name = 'identity'", "its facts are not as they"),
        ("INSERT INTO merged VALUES (7)", "its marks of journal rows are not as they"),
    ],
)
def test_a_tier_file_whose_names_do_not_fit_is_named(copy: Path, statement: str, word: str) -> None:
    change(copy / f"1m-{TODAY}.db", statement)
    assert word in texts(checked(copy))


@pytest.mark.parametrize(
    ("statement", "word"),
    [
        ("UPDATE journal SET payload = CAST(x'00' || payload AS BLOB)", "cannot be read"),
        (
            "INSERT INTO seen SELECT origin, seq, seq, t0, NULL FROM journal LIMIT 1",
            "noted as merged",
        ),
        (
            "UPDATE seen SET last = last + 2 WHERE first = (SELECT min(first) FROM seen)",
            "merged twice",
        ),
        ("UPDATE journal SET payload = x'ff' || payload", "cannot be read"),
        ("DELETE FROM origin", "agent that is not known"),
        ("UPDATE total SET requests = requests - 1", "than was counted"),
        ("UPDATE sqlite_sequence SET seq = 100", "numbers of journal rows are above"),
        (
            f"PRAGMA user_version = {VERSION + 1}",
            f"expected version {VERSION}, got version {VERSION + 1}",
        ),
    ],
)
def test_a_small_file_that_contradicts_itself_is_named(
    copy: Path, statement: str, word: str
) -> None:
    change(copy / "metrics.db", statement)
    found = texts(checked(copy))
    assert word in found


def test_marks_of_rows_that_never_were_or_are_of_another_day_are_named(copy: Path) -> None:
    change(copy / f"10s-{TODAY}.db", "INSERT INTO merged VALUES (1000000)")
    with closing(sqlite3.connect(copy / "metrics.db")) as connection:
        (row,) = connection.execute("SELECT max(id) FROM journal").fetchone()
    change(copy / f"1m-{YESTERDAY}.db", "INSERT INTO merged VALUES (?)", row)
    found = texts(checked(copy))
    assert "marked journal rows that never were" in found
    assert f"marked journal row {row}, which is not of its time" in found


def test_so_many_findings_of_a_file_are_listed_and_the_rest_counted(copy: Path) -> None:
    change(copy / f"10s-{TODAY}.db", "UPDATE chunk SET points = points + 1, last = -1")
    report = checked(copy)
    assert len([each for each in report.findings if each.file == f"10s-{TODAY}.db"]) == 50
    assert report.unlisted[f"10s-{TODAY}.db"] > 0
    assert "more findings" in texts(report)
