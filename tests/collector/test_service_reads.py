"""Reads of one service open no batch in the journal that has only others."""

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from trimtab_collector.storage.sqlite import reading
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.sqlite.journal import batch_of
from trimtab_collector.storage.store import Rows, Selection
from trimtab_core.batches import Batch

NOON = 1_700_006_400


def store_in(directory: Path) -> "closing[SQLiteStore]":
    # Nothing stays in memory.
    return closing(SQLiteStore(directory, clock=Clock(NOON), recent_bytes=1))


def read(store: SQLiteStore, **where: str) -> Rows:
    return store.read(Selection((NOON - 60, NOON), where=where))


def test_who_asks_for_a_service_reads_no_batch_of_others(
    tmp: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []

    def batch_of_row(row: Any) -> Batch:
        opened.append(row[2])
        return batch_of(row)

    monkeypatch.setattr(reading, "batch_of", batch_of_row)
    points = [
        {key_of(): point_of([10])},
        {key_of(f"/{n}", service="flood"): point_of([10]) for n in range(50)},
        # Without a request, which is what the accounting of a batch tells.
        {key_of(service="talk"): point_of([], websockets=3, websocket_us=30)},
        {key_of(): point_of([10, 10]), key_of(service="flood"): point_of([10])},
    ]
    with store_in(tmp) as store:
        append(store, *[a_batch(n, each, window_s=NOON - 10) for n, each in enumerate(points)])
        shop = read(store, service="shop")
        assert (shop.columns.value("requests").tolist(), opened) == ([3], [0, 3])
        opened.clear()
        talk = read(store, service="talk", environment="test")
        assert (talk.columns.value("websockets").tolist(), opened) == ([3], [2])
        opened.clear()
        assert not len(read(store, environment="else").group)
        assert opened == []
        assert (read(store).columns.value("requests").tolist(), opened) == ([54], [0, 1, 2, 3])
    with store_in(tmp) as store:
        opened.clear()
        read(store, service="shop")
        assert opened == [0, 1, 2, 3], "an earlier version may have written them"
