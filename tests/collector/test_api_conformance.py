"""The API against its own document: schemathesis asks a real collector what the document allows.

Each operation is asked a few requests that fit the document and a few that do not, from a fixed
seed. Answers must have a status, a content type and a body that the document states; what does not
fit must be refused; tokens must be asked for. All phases of schemathesis take minutes:

    schemathesis run docs/openapi.json --origin http://127.0.0.1:8620 -H "Authorization: Bearer ..."
"""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.checks import load_all_checks
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from support.processes.people import ADMIN, PASSWORD, Client
from support.processes.servers import Collector, short_dir
from support.stores.batches import Sender, a_batch, key_of, point_of, window
from support.stores.rowbatches import batch_of, row_of
from trimtab_collector.api.endpoints import ENDPOINTS
from trimtab_collector.api.openapi import document
from trimtab_core.batches import GaugeRow

EXAMPLES = 2
#: times that do not contradict each other, as they might
PINNED = {"from": "-15m", "to": "now", "tz": "Europe/Berlin"}

load_all_checks()
DOCUMENT = json.loads(msgspec.json.encode(document(ENDPOINTS)))
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
OPERATIONS = {
    f"{method.upper()} {path}": SCHEMA[path][method]
    for path, methods in DOCUMENT["paths"].items()
    for method in methods
}
#: whose parameters, or parts of a body, may fit the document each and contradict each other; or
#: name a day that is not over
CONTRADICTORY = {
    "GET /compare",
    "GET /explain",
    "GET /report",
    *(name for name, each in OPERATIONS.items() if each.body),
}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """A collector that has requests, gauges and measures."""
    settings = {
        "TRIMTAB_COLLECTOR_ADMIN_NAME": ADMIN,
        "TRIMTAB_COLLECTOR_ADMIN_PASSWORD": PASSWORD,
    }
    with short_dir() as directory, Collector(directory, **settings) as process:
        process.start()
        points = {key_of("/fast"): point_of([1000] * 50), key_of("/ws"): point_of([], websockets=1)}
        gauges = [GaugeRow("test", "shop", "host#0", "process.memory.usage", 5e7)]
        with Sender(process.port, process.new_key()) as sender:
            sender.insist(a_batch(0, points, gauges=gauges))
            sender.insist(batch_of(1, [row_of([0.5, 1.0])], window()))
        yield process


@pytest.fixture(scope="module")
def admin(collector: Collector) -> str:
    """The access token of an admin."""
    client = Client(collector.port)
    client.login()
    return client.token


def ask(collector: Collector, admin: str, name: str, mode: GenerationMode) -> None:
    operation = OPERATIONS[name]
    declared = {each.name for each in operation.query}
    fits = mode is GenerationMode.POSITIVE
    pinned = {key: text for key, text in PINNED.items() if fits and key in declared}
    # A session must not be ended by what is asked here.
    token = collector.api.token if operation.path.startswith("/auth/") else admin
    cases = operation.as_strategy(generation_mode=mode, query=pinned or None)
    unchecked = [] if fits and name not in CONTRADICTORY else [positive_data_acceptance]

    @seed(11)
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def check(case: Any) -> None:
        case.call_and_validate(
            base_url=collector.api.base,
            headers={"Authorization": f"Bearer {token}"},
            excluded_checks=unchecked,
        )

    check()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_fits_the_document_is_answered_as_it_says(
    collector: Collector, admin: str, name: str
) -> None:
    ask(collector, admin, name, GenerationMode.POSITIVE)


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, operation in OPERATIONS.items()
        if DOCUMENT["paths"][operation.path][operation.method]["parameters"]
        or "requestBody" in DOCUMENT["paths"][operation.path][operation.method]
    ],
)
def test_what_does_not_fit_the_document_is_refused_as_it_says(
    collector: Collector, admin: str, name: str
) -> None:
    ask(collector, admin, name, GenerationMode.NEGATIVE)
