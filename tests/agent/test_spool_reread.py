"""What an earlier version spooled of statements is read again once, before it is sent."""

from dataclasses import replace
from pathlib import Path

from trimtab_agent.app import App
from trimtab_agent.spool.spool import Spool, SpooledBatch
from trimtab_core.batches import Batch, decode, encode
from trimtab_core.measures import HISTOGRAM, Delta, MeasureKey
from trimtab_core.messages import Hello
from trimtab_core.rows import MeasureRow, pack_rows, unpack_rows

WORD = "s3cret_w0rd"


def key(text: str) -> MeasureKey:
    attributes = (("db.query.text", text), ("db.system.name", "postgresql"))
    return MeasureKey("postgresql.statement.duration", HISTOGRAM, "s", attributes)


def packed(seq: int, text: str) -> bytes:
    rows = [MeasureRow("", "", "i", key(text), Delta(seq, 1.0, 1.0, 1.0, 1.0, {}))]
    (data,) = pack_rows(rows, ())
    return encode(Batch("a", b"bootboot", seq, seq * 10, 10, 5, rows=data))


def drain(spool: Spool) -> list[SpooledBatch]:
    found = []
    while (entry := spool.next(newest=False)) is not None:
        found.append(entry)
    return found


def text_in(payload: bytes) -> str:
    (row,), _ = unpack_rows(decode(payload).rows)
    return dict(row.key.attributes)["db.query.text"]


def holds(directory: Path) -> bool:
    """Tell whether a batch with the word is in any file."""
    for path in (*directory.glob("*.seg"), *directory.glob("quarantine/*.batch")):
        data = path.read_bytes()
        at = data.find(b"\x28\xb5\x2f\xfd")
        while at >= 0:
            try:
                if WORD in text_in(data[at : at + 400].split(b"\xf5TB")[0]):
                    return True
            except Exception:
                pass
            at = data.find(b"\x28\xb5\x2f\xfd", at + 1)
    return False


def plant(directory: Path, count: int = 25) -> None:
    spool = Spool(directory)
    for seq in range(1, count + 1):
        text = f"ALTER ROLE x PASSWORD '{WORD}'" if seq % 2 else "SELECT ?"
        spool.append(packed(seq, text), samples=seq, window_s=seq * 10)
    first = spool.next(newest=False)
    assert first is not None
    spool.acknowledge(first)
    third = spool.next(newest=True)
    assert third is not None
    spool.quarantine(third, "refused")
    spool.close()
    for mark in directory.glob("shapes-*"):
        mark.unlink()


def test_batches_of_an_earlier_version_keep_all_but_what_may_be_a_secret(tmp_path: Path) -> None:
    plant(tmp_path)
    assert holds(tmp_path)
    spool = Spool(tmp_path)
    assert not holds(tmp_path)
    entries = drain(spool)
    assert [each.samples for each in entries] == list(range(2, 25))
    for entry in entries:
        batch = decode(entry.payload)
        assert batch.seq == entry.samples
        text = text_in(entry.payload)
        assert text == ("ALTER ROLE" if batch.seq % 2 else "SELECT ?")
        assert replace(batch, rows=b"") == replace(decode(packed(batch.seq, "x")), rows=b"")
    assert spool.stats.held_batches == 23
    assert not spool.stats.dropped_batches
    for entry in entries:
        spool.acknowledge(entry)
    spool.close()


def test_a_restart_neither_loses_nor_repeats_what_was_read_again(tmp_path: Path) -> None:
    plant(tmp_path)
    Spool(tmp_path).close()
    before = sorted(path.name for path in tmp_path.glob("*.seg"))
    spool = Spool(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.seg")) == before, "once is enough"
    assert [each.samples for each in drain(spool)] == list(range(2, 25))
    spool.close()


def test_names_that_an_app_of_an_earlier_version_announces_are_read_again() -> None:
    app = App(Hello("p", "s", "1", "h", 1, b"12345678"), 0)
    app.name_measures({1: key(f"ALTER ROLE x PASSWORD '{WORD}'"), 2: key("SELECT ?")})
    assert app.measures == {1: key("ALTER ROLE"), 2: key("SELECT ?")}
