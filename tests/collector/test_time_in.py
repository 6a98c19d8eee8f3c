"""Where the time of requests goes: by step, by instance, and never below nothing."""

import pytest

from support.stores.planted import Planted

SUMS = {"db_us": 120_000, "cache_us": 20_000, "external_us": 60_000, "queue_us": 10_000}


@pytest.fixture
def planted() -> Planted:
    found = Planted()
    found.requests(100, 100, sums=SUMS, instance="web#0")
    found.requests(30, 30, sums={"db_us": 90_000}, instance="web#1", version="2")
    return found


def test_the_parts_of_a_response_time_add_up_to_it(planted: Planted) -> None:
    (row,) = planted.ask("/services", instance="web#0")["services"]
    parts = row["timeIn"]
    assert parts == {"app": 0, "database": 60, "cache": 10, "external": 30, "queue": 5}
    assert parts["app"] + parts["database"] + parts["cache"] + parts["external"] == row["mean"]


def test_calls_at_the_same_time_leave_nothing_for_the_app(planted: Planted) -> None:
    (row,) = planted.ask("/routes", instance="web#1")["routes"]
    assert (row["timeIn"]["app"], row["timeIn"]["database"]) == (0, 45)


def test_history_has_them_by_step_and_by_instance_and_version(planted: Planted) -> None:
    every = planted.ask("/metrics/history", step=60)["series"]
    assert [row["timeIn"]["database"] for row in every] == [pytest.approx(210 / 4)]
    for field, names in (("instance", ["web#0", "web#1"]), ("version", ["1", "2"])):
        groups = planted.ask("/metrics/history", step=60, groupBy=field)["groups"]
        assert [each["group"][field] for each in groups] == names
        assert [each["series"][0]["timeIn"]["database"] for each in groups] == [60, 45]


def test_without_requests_it_is_not_known(planted: Planted) -> None:
    rows = planted.ask("/metrics/history", step=60, empty="rows")["series"]
    assert [row["timeIn"] is None for row in rows] == [not row["requests"] for row in rows]
    assert any(row["timeIn"] is None for row in rows)
