"""What comes by way of a helper is told by the line that called it."""

from collections.abc import Iterator

import pytest

from support.stores.planted import Planted
from support.stores.towns import HOUR_S, NOW_S, steady, town
from trimtab_core.rows import EventRow


@pytest.fixture
def planted() -> Planted:
    return Planted()


def test_what_comes_through_a_helper_is_named_by_its_callers(planted: Planted) -> None:
    helper = "shop/database.py:261 in _rows"
    for number, query in enumerate(("SELECT a FROM lines", "SELECT b FROM orders")):
        for _ in range(3):
            planted.event(
                "n_plus_one", query=query, site=helper, route="/stream", method="GET", count=6,
                duration_us=60, caller=f"shop/database.py:{number} in lines",
            )  # fmt: skip
    found = [each for each in planted.ask("/analysis")["issues"] if each["type"] == "n_plus_one"]
    assert sorted(each["description"] for each in found) == [
        "GET /stream (shop) runs the same query up to 6 times in one request, for up to 0.06 ms "
        f"together: {query} (at shop/database.py:{number} in lines, by way of {helper})."
        for number, query in enumerate(("SELECT a FROM lines", "SELECT b FROM orders"))
    ]
    evidence = found[0]["evidence"][0]
    assert (evidence["site"][:17], evidence["helper"]) == ("shop/database.py:", helper)
    rows = planted.ask("/slow-queries")["nPlusOne"]
    assert [(each["helper"], each["requests"]) for each in rows] == [(True, 3), (True, 3)]


def test_a_line_with_one_caller_is_no_helper(planted: Planted) -> None:
    for _ in range(3):
        planted.event(
            "n_plus_one", query="SELECT", site="a.py:1 in f", caller="b.py:2 in g",
            count=6, duration_us=120_000,
        )  # fmt: skip
    (found,) = planted.ask("/analysis")["issues"]
    assert found["description"].endswith("(at a.py:1 in f, called from b.py:2 in g).")
    assert found["evidence"][0]["site"] == "a.py:1 in f"


def test_repeated_queries_of_a_helper_are_told_by_what_calls_it() -> None:
    with town() as place:

        def events(t: int) -> Iterator[EventRow]:
            for line, route in ((174, "/stream"), (126, "/orders/{id}")):
                yield EventRow("live", "shop", "host#0", {
                    "kind": "n_plus_one", "route": route, "method": "GET", "query": "SELECT",
                    "site": "db.py:261 in _rows", "caller": f"db.py:{line} in f", "count": 21,
                    "at_us": t * 1_000_000,
                })  # fmt: skip

        place.fill(
            NOW_S - HOUR_S, NOW_S, steady(place),
            events=lambda t: list(events(t)) if t >= NOW_S - 1800 else [],
        )  # fmt: skip
        found = [each for each in place.ask()["happened"] if each["kind"] == "nPlusOne"]
        assert sorted(each["detail"].partition(";")[0] for each in found) == [
            f"at db.py:{line} in f, by way of db.py:261 in _rows" for line in (126, 174)
        ]
