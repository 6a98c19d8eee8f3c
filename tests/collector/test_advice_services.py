"""GET /advice on Celery, HTTP clients and Redis: each rule with and without its evidence."""

import pytest

from support.stores.planted import AdviceByRule, Planted
from trimtab_collector.reads.advice import ADVICE_RULES

SHOP = {"environment": "test", "service": "shop"}
REDIS = "redis:cache:6379/0"
CALLS = "http.client.request.duration"


@pytest.fixture
def planted() -> Planted:
    return Planted()


# ---------------------------------------------------------------- Celery


def worker(planted: Planted, **settings: float) -> None:
    made = {
        "prefetch_multiplier": 1,
        "acks_late": 1,
        "max_tasks_per_child": 500,
        "result_expires": 3600,
        "compression": 1,
        "broker_pool_limit": 20,
        **settings,
    }
    for name, value in made.items():
        planted.level(f"trimtab.celery.{name}", value)


def tasks(planted: Planted, seconds: float, task: str = "mail", count: int = 30) -> None:
    planted.durations(
        "messaging.process.duration", seconds, each=count, messaging_destination_name="default",
        messaging_system="celery", trimtab_task=task, trimtab_task_state="success",
    )  # fmt: skip


def test_a_worker_that_is_sound_is_fine(planted: Planted) -> None:
    worker(planted)
    tasks(planted, 2)
    planted.gauge("trimtab.queue.depth", 5_000, 5_000, of="queue:default")
    found = AdviceByRule(planted)
    assert found.advice == {}
    assert {each for each in found.fine if each.startswith("celery")} == {
        rule.type for rule in ADVICE_RULES if rule.area == "celery"
    }


@pytest.mark.parametrize(
    ("rule", "settings", "says", "priority"),
    [
        ("celery_prefetch", {"prefetch_multiplier": 4}, "worker_prefetch_multiplier 4", "medium"),
        ("celery_prefetch", {"prefetch_multiplier": 0}, "worker_prefetch_multiplier 0: a worker",
         "medium"),
        ("celery_acks_late", {"acks_late": 0}, "task_acks_late off", "low"),
        ("celery_max_tasks_per_child", {"max_tasks_per_child": 0},
         "worker_max_tasks_per_child off", "low"),
        ("celery_result_expires", {"result_expires": 86_400}, "result_expires 24.0 h", "low"),
        ("celery_result_expires", {"result_expires": 0}, "results never expire", "medium"),
        ("celery_compression", {"compression": 0}, "task_compression off", "low"),
    ],
)  # fmt: skip
def test_a_setting_of_a_worker_is_to_be_changed(
    planted: Planted, rule: str, settings: dict[str, float], says: str, priority: str
) -> None:
    worker(planted, **settings)
    tasks(planted, 2)
    planted.gauge("trimtab.queue.depth", 5_000, 5_000, of="queue:default")
    found = AdviceByRule(planted).advice
    assert set(found) == {rule}
    assert found[rule]["set"].startswith(says)
    assert (found[rule]["priority"], found[rule]["where"]) == (priority, SHOP)


def test_short_tasks_may_be_taken_in_advance(planted: Planted) -> None:
    worker(planted, prefetch_multiplier=4)
    assert "fewer than 20" in AdviceByRule(planted).reasons["celery_prefetch"]
    tasks(planted, 0.02)
    assert "celery_prefetch" in AdviceByRule(planted).fine


def test_tasks_that_were_lost_make_late_acknowledgement_urgent(planted: Planted) -> None:
    worker(planted, acks_late=0)
    planted.counter("trimtab.task.lost", 2, trimtab_task="mail", error_type="WorkerLostError")
    item = AdviceByRule(planted).advice["celery_acks_late"]
    assert item["priority"] == "high"
    assert item["evidence"][0]["text"] == "tasks that were lost with their worker process: 2"


def test_workers_that_grow_make_their_replacement_more_urgent(planted: Planted) -> None:
    worker(planted, max_tasks_per_child=0)
    planted.gauge("process.memory.usage", 1e8, 1.1e8, 1.3e8, of="test/shop/host#0")
    item = AdviceByRule(planted).advice["celery_max_tasks_per_child"]
    assert item["priority"] == "medium"
    assert item["evidence"][0]["text"] == "124 MiB, +29 MiB in the range"


def test_shallow_queues_need_no_compression(planted: Planted) -> None:
    worker(planted, compression=0)
    assert "no queue is measured" in AdviceByRule(planted).reasons["celery_compression"]
    planted.gauge("trimtab.queue.depth", 10, 10, of="queue:default")
    assert "celery_compression" in AdviceByRule(planted).fine


@pytest.mark.parametrize(
    ("long", "waited", "fires"),
    [(10, 8, True), (0.5, 8, False), (10, 0.01, False)],
    ids=["behind long ones", "alike", "no wait"],
)
def test_short_tasks_that_wait_behind_long_ones_get_a_queue(
    planted: Planted, long: float, waited: float, fires: bool
) -> None:
    tasks(planted, 0.1, "mail")
    tasks(planted, long, "report")
    planted.durations("trimtab.task.wait", waited, each=30, messaging_destination_name="default",
                      messaging_system="celery", trimtab_task="mail")  # fmt: skip
    found = AdviceByRule(planted)
    item = found.advice.get("celery_queue_per_type")
    assert (item is not None) is fires
    if item:
        assert item["set"] == "mail and report share the queue default"
        assert item["where"] == {"environment": "test", "target": "queue:default"}
    else:
        assert "celery_queue_per_type" in found.fine


@pytest.mark.parametrize(
    ("limit", "sent", "priority"),
    [(10, 36_000, "low"), (0, 36_000, "medium"), (10, 3_000, None), (20, 36_000, None)],
)
def test_publishers_that_send_much_get_more_connections(
    planted: Planted, limit: float, sent: float, priority: str | None
) -> None:
    worker(planted, broker_pool_limit=limit)
    planted.counter("trimtab.task.sent", sent, trimtab_task="mail")
    item = AdviceByRule(planted).advice.get("celery_broker_pool")
    assert (item["priority"] if item else None) == priority


# ---------------------------------------------------------------- clients of HTTP


def client(planted: Planted, calls: int = 100, created: float = 0, **settings: float) -> None:
    made = {"timeout": 30, "max_connections": 50, "max_keepalive": 20, "keepalive_expiry": 30,
            **settings}  # fmt: skip
    for name, value in made.items():
        planted.level(f"trimtab.http.client.{name}", value)
    if created:
        planted.counter("trimtab.http.client.created", created)
    planted.durations(CALLS, 0.1, each=calls, server_address="pay", http_request_method="GET")


def test_clients_that_are_sound_are_fine(planted: Planted) -> None:
    client(planted, created=1)
    found = AdviceByRule(planted)
    assert found.advice == {}
    assert {"http_timeout", "http_limits", "http_client_per_call"} <= found.fine


@pytest.mark.parametrize(
    ("rule", "settings", "says", "priority"),
    [
        ("http_timeout", {"timeout": -1}, "no time-out", "high"),
        ("http_timeout", {"timeout": 120}, "time-out 120 s", "medium"),
        ("http_limits", {"max_connections": -1}, "no limit of connections", "medium"),
        ("http_limits", {"keepalive_expiry": 5}, "max_connections 50, max_keepalive", "low"),
        ("http_limits", {"max_keepalive": 5}, "max_connections 50, max_keepalive_connections 5",
         "low"),
        ("http_client_per_call", {"created": 90}, "90 clients made for 100 calls", "medium"),
    ],
)  # fmt: skip
def test_a_client_is_to_be_made_differently(
    planted: Planted, rule: str, settings: dict[str, float], says: str, priority: str
) -> None:
    client(planted, **settings)  # type: ignore[arg-type]
    found = AdviceByRule(planted).advice
    assert set(found) == {rule}
    assert found[rule]["set"].startswith(says)
    assert found[rule]["priority"] == priority


def test_few_calls_say_nothing(planted: Planted) -> None:
    client(planted, calls=99, timeout=-1, created=99)
    found = AdviceByRule(planted)
    assert found.advice == {}
    assert "fewer than 100 calls" in found.reasons["http_timeout"]


# ---------------------------------------------------------------- caches


def redis(planted: Planted, **last: float) -> None:
    """Plant a Redis; counters grow from 0 to what is given."""
    planted.gauge("redis.memory.used", 8e8, 8e8, of=REDIS)
    for name in ("keyspace.hits", "keyspace.misses", "keys.expired", "keys.evicted"):
        planted.gauge(f"redis.{name}", 0, last.get(name.partition(".")[2], 0), of=REDIS)
    for name, value in {
        "redis.maxmemory": last.get("limit", 2e9),
        "redis.keys": last.get("keys", 5_000),
        "redis.keys.volatile": last.get("volatile", 5_000),
    }.items():
        planted.gauge(name, value, value, of=REDIS)


def test_a_redis_that_is_sound_is_fine(planted: Planted) -> None:
    redis(planted, hits=900, misses=100, expired=100, evicted=50)
    found = AdviceByRule(planted)
    assert found.advice == {}
    assert {"cache_ttl", "cache_ttl_longer", "cache_room"} <= found.fine


@pytest.mark.parametrize(
    ("last", "priority"),
    [
        ({"limit": 0}, "low"),
        ({"limit": 1e9}, "medium"),
        ({"evicted": 10}, "medium"),
        ({}, None),
        ({"limit": 0, "keys": 900}, None),
        ({"limit": 0, "volatile": 2_500}, None),
    ],
    ids=["no limit", "nearly full", "evicts", "room", "few keys", "half expire"],
)
def test_keys_that_never_expire_are_to_get_a_time_to_live(
    planted: Planted, last: dict[str, float], priority: str | None
) -> None:
    redis(planted, **{"volatile": 100, **last})
    found = AdviceByRule(planted)
    item = found.advice.get("cache_ttl")
    assert (item["priority"] if item else None) == priority
    assert ("cache_ttl" in found.fine) is (priority is None)


@pytest.mark.parametrize(
    ("last", "rules"),
    [
        ({"hits": 500, "misses": 500, "expired": 300}, {"cache_ttl_longer"}),
        ({"hits": 500, "misses": 500, "expired": 100}, set()),
        ({"hits": 500, "misses": 500, "evicted": 300}, {"cache_room"}),
        ({"hits": 900, "misses": 100, "expired": 300, "evicted": 300}, set()),
        ({"hits": 9, "misses": 90, "expired": 90, "evicted": 90}, set()),
    ],
    ids=["expire early", "other misses", "evicts", "hits", "no traffic"],
)
def test_a_cache_that_misses_is_to_keep_more(
    planted: Planted, last: dict[str, float], rules: set[str]
) -> None:
    redis(planted, **last)
    assert set(AdviceByRule(planted).advice) == rules
