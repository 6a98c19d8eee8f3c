"""Cookies, refresh tokens and links: what they are good for, however often strangers guess."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from trimtab_collector.auth.links import guest_link
from trimtab_collector.auth.logins import Logins


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector with an admin."""
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        yield process.start()


def token_of(address: str) -> str:
    """Return the token of a sign-in link."""
    return address.partition("#signin=")[2]


def test_a_page_that_did_not_get_the_answer_to_its_refresh_stays_signed_in(
    collector: Collector,
) -> None:
    client = Client(collector.port)
    cookie = client.login(cookie=True).headers["set-cookie"].partition(";")[0]
    page = {"Cookie": cookie, "X-Trimtab-Request": "1"}
    assert client.ask("POST", "/auth/refresh", {}, page).status == 200
    again = client.ask("POST", "/auth/refresh", {}, page)
    assert again.status == 200
    page["Cookie"] = again.headers["set-cookie"].partition(";")[0]
    assert client.ask("POST", "/auth/refresh", {}, page).status == 200


def test_a_stranger_at_the_same_address_keeps_nobody_from_what_their_secrets_are_good_for(
    collector: Collector,
) -> None:
    client = Client(collector.port, address="127.0.0.77")
    stranger = Client(collector.port, address="127.0.0.77")
    refresh = client.login().data["refreshToken"]
    link = token_of(guest_link(collector.data, collector.url, "visitor"))
    guess = "ttf_" + "0" * 24 + "_" + "0" * 64
    tries = [stranger.ask("POST", "/auth/refresh", {"refreshToken": guess}) for _ in range(25)]
    assert (tries[0].status, tries[-1].status) == (401, 429)
    assert "retry-after" in tries[-1].headers
    assert stranger.ask("POST", "/auth/link", {"token": "guess"}).status == 429
    while stranger.login("nobody", "x" * 10).status != 429:
        pass
    for _ in range(25):
        assert stranger.ask("POST", "/auth/logout", {"refreshToken": guess}).data == {"ended": 0}
    # The place is known, so its own tries count.
    assert client.login().status == 200
    renewed = client.ask("POST", "/auth/refresh", {"refreshToken": refresh})
    assert stranger.ask("POST", "/auth/link", {"token": link}).status == 200
    assert client.ask(
        "POST", "/auth/logout", {"refreshToken": renewed.data["refreshToken"]}
    ).data == {"ended": 2}


def test_who_comes_without_a_cookie_has_guessed_nothing(collector: Collector) -> None:
    page = Client(collector.port, address="127.0.0.78")
    for _ in range(30):
        assert page.ask("POST", "/auth/refresh", {}).status == 401


def test_two_collectors_of_one_host_have_cookies_of_their_own() -> None:
    # Browsers tell ports apart for pages, and not for cookies.
    make: Any = Logins
    one, other, again = (make(*[None] * 7, "", name) for name in ("/a", "/b", "/a"))
    assert one.cookie == again.cookie != other.cookie
