"""What bodies of requests hold while they are being read."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from starlette.requests import Request

from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from trimtab_collector.api.taking import Bodies
from trimtab_collector.contract.errors import ApiError
from trimtab_collector.contract.people import Credentials

JSON = (b"content-type", b"application/json")


def request_of(receive: Callable[[], Awaitable[Any]], address: str) -> Request:
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": [JSON]}
    return Request({**scope, "client": (address, 1)}, receive)


def test_bodies_that_do_not_end_hold_a_bounded_amount_together() -> None:
    async def main() -> None:
        bodies = Bodies(most_bytes=1_000, most_reading_bytes=4_000)
        more = asyncio.Event()

        def unfinished(address: str) -> Request:
            parts = [{"type": "http.request", "body": b"[" * 900, "more_body": True}]

            async def receive() -> Any:
                if parts:
                    return parts.pop()
                await more.wait()
                return {"type": "http.disconnect"}

            return request_of(receive, address)

        async def outcome(request: Request) -> int:
            with pytest.raises(ApiError) as refused:
                await bodies.read(request, Credentials)
            return refused.value.status

        held = [asyncio.create_task(outcome(unfinished("10.0.0.1")))]
        await asyncio.sleep(0)
        # One address has a quarter, and the others are let in.
        assert await outcome(unfinished("10.0.0.1")) == 503
        held += [asyncio.create_task(outcome(unfinished(f"10.0.0.{n}"))) for n in (2, 3, 4)]
        await asyncio.sleep(0)
        assert await outcome(unfinished("10.0.0.5")) == 503
        more.set()
        assert await asyncio.gather(*held) == [400] * 4
        # What was held is free again.
        assert await outcome(unfinished("10.0.0.1")) == 400

    asyncio.run(asyncio.wait_for(main(), 10))


def test_who_is_not_logged_in_sends_little_and_who_is_sends_more() -> None:
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    long = {"name": "x" * 9_000, "password": PASSWORD}
    with short_dir() as directory, Collector(directory, **settings) as process:
        process.start()
        for path in ("/auth/login", "/auth/link", "/auth/refresh", "/auth/logout", "/auth/setup"):
            answer = Client(process.port).ask("POST", path, long)
            assert (answer.status, answer.code) == (413, "too_large"), path
        admin = Client(process.port)
        assert admin.login().status == 200
        assert admin.ask("POST", "/users", long).status == 422
        assert admin.ask("POST", "/users", {**long, "name": "x" * 300_000}).status == 413
