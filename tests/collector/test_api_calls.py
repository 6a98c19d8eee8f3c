"""What apps measured of their calls, pools and tasks comes back from the API, nothing left out."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import pytest

import trimtab.instrumentation
from support.processes.servers import short_dir
from support.stores.apiworld import NOW_S, World, world
from support.stores.batches import a_batch
from support.stores.engines import Sent, append
from support.stores.rowbatches import delta_of
from trimtab_core.measures import COUNTER, GAUGE, HISTOGRAM, MeasureKey
from trimtab_core.rows import MeasureRow, pack_rows

METHOD, HOST, PORT = "http.request.method", "server.address", "server.port"
STATUS, ERROR = "http.response.status_code", "error.type"
POOL: Final = "db.client.connection.pool.name"


def row(name: str, kind: str, values: Sequence[float], **attributes: str) -> MeasureRow:
    pairs = tuple(sorted((key.replace("__", "."), text) for key, text in attributes.items()))
    key = MeasureKey(name, kind, "s" if kind == HISTOGRAM else "1", pairs)
    return MeasureRow("test", "shop", "host#0", key, delta_of(values))


def call(seconds: Sequence[float], **attributes: str) -> MeasureRow:
    names = {"method": METHOD, "host": HOST, "port": PORT, "status": STATUS, "error": ERROR}
    given = {names[name].replace(".", "__"): text for name, text in attributes.items()}
    return row("http.client.request.duration", HISTOGRAM, seconds, **given)


ROWS: Final = (
    call([0.1] * 8, method="GET", host="pay", port="443", status="200"),
    call([0.2], method="GET", host="pay", port="443", status="503", error="503"),
    call([0.3] * 2, method="POST", host="pay", port="443", status="200"),
    call([9.0], method="POST", host="pay", port="443", error="ReadTimeout"),
    call([0.4], method="GET", host="pay", port="8443", status="404", error="404"),
    # An app of an earlier version tells no port.
    call([0.5], method="GET", host="old", status="200"),
    call([0.01], method="GET", host="::1", port="80", status="200"),
    row("db.client.connection.count", GAUGE, [3], db__client__connection__pool__name="main",
        db__client__connection__state="used"),
    row("db.client.connection.max", GAUGE, [7], db__client__connection__pool__name="main"),
    row("trimtab.db.connection.overflow", GAUGE, [2], db__client__connection__pool__name="main"),
    row("db.client.connection.timeouts", COUNTER, [1, 1, 1],
        db__client__connection__pool__name="main"),
    row("trimtab.instrumentation.failures", COUNTER, [1, 1]),
    row("trimtab.task.lost", COUNTER, [1], trimtab__task="work"),
)  # fmt: skip


@pytest.fixture(scope="module")
def some() -> Iterator[World]:
    with short_dir() as directory, world(directory, empty=True) as found:
        (packed,) = pack_rows(ROWS, ())
        append(found.engine, Sent(a_batch(0, {}, window_s=NOW_S - 60, rows=packed), {}))
        yield found


def test_calls_are_told_apart_by_host_port_method_and_ending(some: World) -> None:
    found = some.ask("/external")
    hosts = {(each["host"], each["port"]): each for each in found["hosts"]}
    assert list(hosts) == [("pay", 443), ("old", None), ("pay", 8443), ("::1", 80)]
    pay = hosts["pay", 443]
    assert (pay["calls"]["count"], pay["calls"]["errors"]) == (12, 2)
    assert pay["statusCodes"] == {"200": 10, "503": 1}
    assert pay["errors"] == {"503": 1, "ReadTimeout": 1}
    endings = [
        (each["method"], each["status"], each["error"], each["calls"]["count"])
        for each in pay["methods"]
    ]
    assert endings == [
        ("POST", None, "ReadTimeout", 1),
        ("GET", 200, None, 8),
        ("POST", 200, None, 2),
        ("GET", 503, None, 1),
    ]
    assert pay["methods"][1]["calls"]["mean"] == pytest.approx(100)
    assert sum(each["calls"]["count"] for each in pay["methods"]) == pay["calls"]["count"]


def test_hosts_beyond_the_limit_are_counted(some: World) -> None:
    found = some.ask("/external", limit=1)
    assert [each["port"] for each in found["hosts"]] == [443]
    assert found["hostsLeftOut"] == 3
    assert found["calls"]["count"] == 15


def test_a_snapshot_names_hosts_with_their_ports(some: World) -> None:
    services = some.ask("/metrics", from_=NOW_S - 70, to=NOW_S)["externalServices"]
    assert services.keys() == {"pay:443", "pay:8443", "old", "[::1]:80"}


def test_pools_have_overflow_and_timeouts(some: World) -> None:
    found = some.ask("/database")
    (pool,) = found["pools"]
    assert pool == {
        "environment": "test", "service": "shop", "instance": "host#0", "name": "main",
        "count.used": 3, "max": 7, "overflow": 2, "timeouts": 3,
    }  # fmt: skip
    assert found["unmeasured"] == 2


def test_lost_tasks_are_counted(some: World) -> None:
    assert some.ask("/queues")["lost"] == 1


def test_every_measure_that_hooks_take_is_read_by_some_endpoint() -> None:
    folder = Path(trimtab.instrumentation.__file__).parent
    measured = {
        str(node.args[0].value)
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "family"
        and isinstance(node.args[0], ast.Constant)
    }
    reads = Path(__file__).parents[2] / "collector" / "trimtab_collector" / "reads"
    texts = [path.read_text() for path in reads.rglob("*.py")]
    assert len(measured) > 10
    unread = {
        name
        for name in measured
        if not any(f'"{name}"' in text or f'"{name.rpartition(".")[0]}."' in text for text in texts)
    }
    assert unread == set()
