"""Requests by status code: as figures have them, by group and step, and added up to classes."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

import pytest

from support.processes.servers import short_dir
from support.stores.apiworld import END_S, START_S, Request, World, codes_of, world
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.storage.store import TooMuchError

ALL = {"from_": START_S, "to": END_S}


@pytest.fixture(scope="module")
def days() -> Iterator[World]:
    with short_dir() as directory, world(directory, windows=60) as found:
        yield found


def with_codes(requests: Iterable[Request], *codes: int) -> list[Request]:
    return [one for one in requests if one.code in codes]


def test_codes_are_counted_and_each_class_is_the_sum_of_its_own(days: World) -> None:
    answer = days.ask("/status-codes", **ALL, groupBy="statusClass")
    assert answer["statusCodes"] == codes_of(days.requests)
    assert answer["requests"] == len(days.requests)
    classes = days.ask("/response-time", **ALL)["byStatusClass"]
    assert {each["group"]["statusClass"] for each in answer["groups"]} == classes.keys()
    for each in answer["groups"]:
        of_class = classes[each["group"]["statusClass"]]
        assert each["statusCodes"] == of_class["statusCodes"]
        assert sum(each["statusCodes"].values()) == of_class["requests"] == each["requests"]


def test_codes_come_as_numbers_ascending_and_words_behind_them(days: World) -> None:
    *numbers, word = days.ask("/status-codes", **ALL)["statusCodes"]
    assert list(map(int, numbers)) == [200, 201, 204, 401, 404, 429, 499, 500, 502, 503]
    assert word == "unknown"


def test_the_routes_of_a_code_come_with_the_most_affected_first(days: World) -> None:
    answer = days.ask("/status-codes", **ALL, code="429,499", groupBy="service,route", limit=3)
    wanted = with_codes(days.requests, 429, 499)
    counts = Counter((one.key.service, one.key.route) for one in wanted)
    assert answer["requests"] == len(wanted)
    assert answer["statusCodes"] == codes_of(wanted)
    assert [each["requests"] for each in answer["groups"]] == [
        count for _, count in counts.most_common(3)
    ]
    for each in answer["groups"]:
        group = (each["group"]["service"], each["group"]["route"])
        own = [one for one in wanted if (one.key.service, one.key.route) == group]
        assert each["statusCodes"] == codes_of(own)
        assert "series" not in each
    assert answer["groupsLeftOut"] == len(counts) - 3


def test_codes_are_counted_step_by_step(days: World) -> None:
    answer = days.ask("/status-codes", **ALL, code="404", step="day", tz="Europe/Berlin")
    (everything,) = answer["groups"]
    assert everything["group"] == {}
    starts = [datetime.fromisoformat(each["t"]).timestamp() for each in everything["series"]]
    found = with_codes(days.requests, 404)
    for start, following, each in zip(
        starts, [*starts[1:], END_S], everything["series"], strict=True
    ):
        here = [one for one in found if start <= one.t < following]
        assert each["requests"] == each["statusCodes"]["404"] == len(here) > 0
    assert sum(each["requests"] for each in everything["series"]) == len(found)


def test_filters_choose_before_codes_do(days: World) -> None:
    answer = days.ask("/status-codes", **ALL, instance="host#1", method="POST", code="200,unknown")
    own = days.within(START_S, END_S, instance="host#1", method="POST")
    assert answer["statusCodes"] == codes_of(with_codes(own, 200, -1))
    nowhere = days.ask("/status-codes", **ALL, code="418", step=86_400)
    assert (nowhere["requests"], nowhere["groups"]) == (0, [])


@pytest.mark.parametrize("code", ["", "99", "600", "4xx", "404,", "404 ", "٤٠٤", "200 to 250"])
def test_what_is_no_code_is_refused(days: World, code: str) -> None:
    if code == "200 to 250":
        code = ",".join(map(str, range(200, 251)))
    with pytest.raises(ApiError, match="up to 50 status codes from 100 to 599, other or unknown"):
        days.ask("/status-codes", **ALL, code=code)


def test_too_many_steps_of_groups_are_refused(days: World) -> None:
    with pytest.raises(TooMuchError, match="20000 of those shown"):
        days.ask("/status-codes", **ALL, groupBy="route,method", step=60)
