"""Requests that were kept whole: a cell of the heatmap opens, and each has an address."""

from datetime import datetime
from typing import Any

import msgspec
import pytest

from support.stores.planted import Planted
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.requests import SlowRequest

QUERY: dict[str, Any] = {
    "db_query_text": "SELECT * FROM orders WHERE id = ?",
    "db_system_name": "sqlite",
}


def kept(planted: Planted, ms: float, **fields: Any) -> None:
    event = {"reason": "slow", "route": "/pay", "method": "GET", "status": 200, **fields}
    planted.event("request", duration_us=int(ms * 1000), **event)


def durations(planted: Planted, **query: object) -> list[float]:
    found = planted.ask("/slow-requests", by="duration", **query)["requests"]
    return [each["duration"] for each in found]


@pytest.fixture
def planted() -> Planted:
    found = Planted()
    for ms, status, version in ((900, 200, "1"), (1500, 503, "1"), (1500.5, 404, "2")):
        kept(found, ms, status=status, version=version, trace=f"{status:032x}")
    return found


def test_durations_are_longer_than_the_least_and_at_most_the_most(planted: Planted) -> None:
    assert durations(planted, minDuration=900) == [1500.5, 1500]
    assert durations(planted, maxDuration="1500.0") == [1500, 900]
    assert durations(planted, minDuration=900, maxDuration=1500) == [1500]
    assert durations(planted, minDuration=0) == [1500.5, 1500, 900]


@pytest.mark.parametrize("text", ["-1", "nan", "1e9", "86400001", "1,5", "", "٣"])
def test_what_is_no_duration_is_refused(planted: Planted, text: str) -> None:
    with pytest.raises(ApiError, match="expected milliseconds from 0 to 86400000"):
        planted.ask("/slow-requests", minDuration=text)


def test_they_are_found_by_status_version_and_trace(planted: Planted) -> None:
    assert durations(planted, code="503,404") == [1500.5, 1500]
    assert durations(planted, version="1") == [1500, 900]
    assert durations(planted, trace=f"{404:032x}") == [1500.5]
    assert durations(planted, statusClass="5xx", version="2") == []


def test_an_id_leads_to_the_request(planted: Planted) -> None:
    listed = planted.ask("/slow-requests")["requests"]
    assert len({each["id"] for each in listed}) == 3
    for each in listed:
        found = planted.ask("/slow-requests/{id}", id=each["id"])
        assert found == each
        assert msgspec.to_builtins(msgspec.convert(found, SlowRequest, strict=True)) == each


@pytest.mark.parametrize("name", ["", "x", "0-000000000000", "ffffffffffffff-000000000000", "é"])
def test_an_id_of_nothing_says_what_was_expected(planted: Planted, name: str) -> None:
    with pytest.raises(ApiError, match="expected the id of a request that is kept") as error:
        planted.ask("/slow-requests/{id}", id=name)
    assert error.value.status == 404


def test_a_cell_of_the_heatmap_opens_the_requests_in_it() -> None:
    planted = Planted()
    times = [700.0, 703.0, 1412.5, 0.0, 88_123.456]
    planted.requests(*times, route="/pay")
    for ms in times:
        kept(planted, ms)
    heat = planted.ask("/heatmap", from_="-30m", step=600, buckets=200)
    opened = []
    for start, end, counts in zip(heat["times"], heat["ends"], heat["counts"], strict=True):
        assert 0 < (datetime.fromisoformat(end) - datetime.fromisoformat(start)).seconds <= 600
        for lower, upper, count in zip(heat["lower"], heat["upper"], counts, strict=True):
            if count:
                asked = {"minDuration": lower, "maxDuration": upper, "from_": start, "to": end}
                found = durations(planted, **asked)
                assert len(found) == count
                opened += found
    assert sorted(opened) == sorted(times)


def test_a_statement_has_a_page_of_its_own() -> None:
    planted = Planted()
    other: dict[str, Any] = {**QUERY, "db_query_text": "DELETE FROM carts"}
    planted.durations("db.client.operation.duration", 0.6, each=3, **QUERY)
    planted.durations("db.client.operation.duration", 0.7, **other)
    for query, trace in ((QUERY, "a" * 32), (other, "b" * 32)):
        shared: dict[str, Any] = {"query": query["db_query_text"], "trace": trace, "route": "/pay"}
        planted.event("slow_query", duration_us=600_000, site="shop/pay.py:3 in pay", **shared)
        planted.event("n_plus_one", count=7, duration_us=9000, site="shop/a.py:1 in a", **shared)
    found = planted.ask("/slow-queries", query=QUERY["db_query_text"])
    names = [[each["query"] for each in found[key]] for key in ("statements", "last", "nPlusOne")]
    assert names == [[QUERY["db_query_text"]]] * 3
    assert found["statements"][0]["calls"]["count"] == 3
    traced = planted.ask("/slow-queries", trace="b" * 32)
    assert [each["query"] for each in traced["last"]] == ["DELETE FROM carts"]
