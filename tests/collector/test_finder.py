"""Names for forms, and the search for a text: from memory, ranked, with a page for each hit."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import ENGINES, NOON, Engine
from support.stores.planted import NOW_S, Planted
from support.stores.rowbatches import batch_of, row_of
from trimtab_collector.alerts.file import AlertsFile
from trimtab_collector.alerts.ruleset import RuleSet
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.contract.names import KnownNames, SearchHits
from trimtab_collector.contract.pagelink import PageLink, address_of
from trimtab_collector.contract.parameters import RANGE, parse
from trimtab_collector.finder import NameFinder
from trimtab_collector.naming import folded
from trimtab_collector.statefile import StateFile
from trimtab_core.measures import COUNTER, MeasureKey

QUERY = "SELECT * FROM Orders WHERE id = ?"
DURATION = "db.client.operation.duration"


class Found:
    """A finder over what is planted."""

    def __init__(self, directory: Path) -> None:
        self.planted = Planted()
        self.state = StateFile(directory, (AUDIT,))
        self.finder = NameFinder(
            self.planted.store, RuleSet(self.state, AlertsFile(directory / "alerts.toml"))
        )

    def ask(self, path: str, **query: object) -> Any:
        """Return the data of an answer, which has the form that is documented."""
        (endpoint,) = [each for each in ENDPOINTS if path in each.paths]
        texts = {name: str(value) for name, value in query.items()}
        declared = (*endpoint.parameters, *RANGE)
        parameters = parse(declared, texts.items(), self.planted.clock.now_s)
        answer = msgspec.to_builtins(endpoint.read(self.finder, parameters))
        body = {"/names": KnownNames, "/search": SearchHits}[path]
        assert msgspec.to_builtins(msgspec.convert(answer, body, strict=True)) == answer
        return answer

    def hits(self, q: str, **query: object) -> list[str]:
        """Return the kinds and texts that a search finds."""
        return [
            f"{each['kind']} {each['text']}"
            for each in self.ask("/search", q=q, **query)["results"]
        ]


@pytest.fixture
def found(tmp_path: Path) -> Iterator[Found]:
    found = Found(tmp_path)
    planted = found.planted
    for route in ("/orders", "/orders/{id}", "/api/orders", "/Reorder", "/café"):
        planted.requests(10, route=route)
    planted.requests(10, route="/orders", service="orders-api", version="2")
    planted.durations(DURATION, 0.1, db_query_text=QUERY)
    planted.durations(DURATION, 0.1, db_query_text="DELETE FROM carts")
    planted.counter("orders.paid", 3, currency="EUR")
    planted.counter("trimtab.cache.hits", 3)
    planted.gauge("system.memory.usage", 5e9, 5e9, of="orders-db-1")
    planted.gauge("process.memory.usage", 5e7, 5e7, of="test/shop/host#0")
    planted.settle()
    # Gauges are those that are sent now.
    planted.clock.now_s = NOW_S - 10
    yield found
    found.state.close()


def test_what_begins_with_the_text_comes_first_then_words_then_the_rest(found: Found) -> None:
    assert found.hits("orders", kind="route")[:1] == ["route /orders"]
    routes = found.hits("order", kind="route")
    assert routes == [
        "route /orders", "route /orders", "route /api/orders", "route /orders/{id}",
        "route /Reorder",
    ]  # fmt: skip
    assert found.hits("/orders", kind="route")[:3] == [
        "route /orders", "route /orders", "route /orders/{id}"
    ]  # fmt: skip


def test_every_kind_is_found_and_each_has_its_page(found: Found) -> None:
    answer = found.ask("/search", q="ORDERS")
    assert [each["kind"] for each in answer["results"]] == [
        "service", *["route"] * 4, "statement", "metric", "host",
    ]  # fmt: skip
    pages = {each["kind"]: each["link"] for each in answer["results"]}
    assert pages["service"] == {
        "page": "service", "params": {"environment": "test", "service": "orders-api"}
    }  # fmt: skip
    assert pages["statement"]["page"] == "databases"
    assert pages["statement"]["params"]["query"] == QUERY
    assert pages["metric"] == {
        "page": "metrics",
        "params": {"environment": "test", "service": "shop", "name": "orders.paid"},
    }
    assert pages["host"] == {"page": "hosts", "params": {"instance": "orders-db-1"}}
    (rule,) = found.ask("/search", q="errorRate", kind="rule")["results"]
    assert rule["link"] == {"page": "thresholds", "params": {"metric": "errorRate"}}
    assert answer["leftOut"] == {}


def test_letters_are_compared_as_unicode_says(found: Found) -> None:
    assert found.hits("CAFE\u0301") == ["route /café"]
    assert folded("\uff33\uff28\uff2f\uff30") == folded("shop")
    assert folded("Straße") == folded("STRASSE")
    assert folded("\ud55c") == folded("\u1112\u1161\u11ab")
    assert folded("a \n\t b") == "a b"


def test_a_search_is_bounded_and_says_what_it_left_out(found: Found) -> None:
    answer = found.ask("/search", q="order", limit=2)
    assert answer["leftOut"] == {"route": 3}
    assert found.ask("/search", q=" ")["results"] == []
    assert found.ask("/search")["results"] == []
    assert len(found.ask("/search", q="x" * 5000)["q"]) == 200


def test_a_search_is_narrowed_to_an_environment_and_service(found: Found) -> None:
    assert found.hits("orders", service="orders-api") == [
        "service orders-api", "route /orders", "host orders-db-1"
    ]  # fmt: skip
    assert found.hits("orders", environment="elsewhere") == ["host orders-db-1"]


def test_names_are_those_that_rules_and_forms_can_have(found: Found) -> None:
    names = found.ask("/names")
    assert names["environments"] == ["test"]
    assert names["services"] == ["orders-api", "shop"]
    assert "2" in names["versions"]
    assert names["hosts"] == ["orders-db-1"]
    metrics = {each["name"]: each for each in names["metrics"]}
    assert metrics["errorRate"]["unit"] == "ratio"
    assert metrics["memoryUsage"]["figures"][0] == "mean"
    assert {each["name"]: each["unit"] for each in names["gauges"]} == {
        "process.memory.usage": "By", "system.memory.usage": "By",
    }  # fmt: skip
    measures = {each["name"]: each for each in names["measures"]}
    assert measures["orders.paid"] == {
        "name": "orders.paid", "kind": COUNTER, "unit": "1", "attributes": ["currency"],
        "own": True,
    }  # fmt: skip
    assert measures[DURATION]["attributes"] == ["db.query.text"]
    assert not measures[DURATION]["own"]
    assert names["leftOut"] == {}


def test_names_are_filtered_and_bounded(found: Found) -> None:
    names = found.ask("/names", q="ORDERS", limit=1)
    assert names["services"] == ["orders-api"]
    assert [each["name"] for each in names["measures"]] == ["orders.paid"]
    assert (len(names["routes"]), names["leftOut"]) == (1, {"routes": 2})
    assert found.ask("/names", service="orders-api")["routes"] == ["/orders"]


def test_names_that_come_later_are_there_within_ten_seconds(found: Found) -> None:
    assert found.hits("/later") == []
    append(found.planted.store, a_batch(99, {key_of("/later"): point_of([5])}, window_s=NOW_S))
    assert found.hits("/later") == []
    found.planted.clock.advance_s(11)
    assert found.hits("/later") == ["route /later"]


@pytest.mark.parametrize("name", ENGINES)
def test_every_engine_knows_the_names_of_what_it_has(name: str, tmp_path: Path) -> None:
    one: Engine = ENGINES[name]()
    one.open(tmp_path, Clock(NOON + 10))
    try:
        points = {key_of("/a"): point_of([5]), key_of("/b", "books"): point_of([5])}
        append(one.store, a_batch(0, points, window_s=NOON))
        append(one.store, batch_of(1, [row_of([1.0], "work")], NOON))
        assert set(points) <= set(one.store.series_names())
        ((*_, key),) = one.store.measure_names()
        assert isinstance(key, MeasureKey)
        assert key.name == "work"
        if one.persists:
            one.reopen()
            assert set(points) <= set(one.store.series_names())
            assert [each[3].name for each in one.store.measure_names()] == ["work"]
    finally:
        one.close()


def test_ten_thousand_series_are_searched_without_a_look_at_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Found(tmp_path)
    for part in range(4):
        numbers = range(2500 * part, 2500 * part + 2500)
        points = {key_of(f"/r/{each}", f"s{each % 200}"): point_of([5]) for each in numbers}
        append(found.planted.store, a_batch(part, points, window_s=NOW_S))
    for name in ("read", "read_gauges", "read_measures", "read_events"):
        monkeypatch.setattr(found.planted.store, name, None)
    assert found.ask("/search", q="/r/77")["leftOut"] == {"route": 101}
    found.state.close()


def test_a_link_has_an_address_below_that_of_the_collector() -> None:
    link = PageLink(page="route", params={"route": "/a b/{id}&x"})
    assert address_of(link) == "/performance/dashboard/route?route=%2Fa%20b%2F%7Bid%7D%26x"
    assert address_of(link, "https://mon.example/x/") == (
        "https://mon.example/x/performance/dashboard/route?route=%2Fa%20b%2F%7Bid%7D%26x"
    )
    assert address_of(PageLink(page="overview")) == "/performance/dashboard"
