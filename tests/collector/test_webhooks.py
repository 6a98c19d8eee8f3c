"""Channels that are one POST: their bodies, the signature, and what no name can do in them."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from support.notices import AT_S, notice
from support.processes.stub_collector import Answer, Asked, StubCollector
from trimtab_collector.notify.addresses import AllowedHosts
from trimtab_collector.notify.channel import DeliveryError, Message
from trimtab_collector.notify.channels import parse_channel
from trimtab_collector.notify.kinds import KINDS
from trimtab_collector.notify.notice import Change, Notice, Where, pack, unpack
from trimtab_collector.notify.options import Sending
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.slack import slack_body
from trimtab_collector.notify.texts import Texts

HOSTILE = '<!channel> @everyone <https://evil.example|x> [y](https://evil.example) **b** & "q"'
SENDING = Sending(Outbound(AllowedHosts.of(["127.0.0.1"])), "https://trimtab.example.com")


@pytest.fixture
def stub() -> Iterator[StubCollector]:
    with StubCollector(lambda body, number: Answer(200)) as made:
        yield made


async def sent(stub: StubCollector, message: Message, **table: Any) -> Asked:
    """Send a message by a channel and return the request that it made."""
    entry = parse_channel("hook", {"url": f"{stub.url}/hook?x=1", **table})
    channel = KINDS[entry.kind].make(entry.settings, SENDING)
    await channel.send(message)
    await channel.close()
    return stub.asked[-1]


def of(*notices: Notice, **more: Any) -> Message:
    return Message("incident:1:hook", notices, AT_S, **more)


def full(kind: Any = "firing", **more: Any) -> Notice:
    changes = (Change("mark", "deploy", "1.4.2", AT_S - 200),)
    return notice(kind, changes=changes, links=(("alerts", "/api/x?a=1&b=2"),), **more)


@pytest.mark.asyncio
async def test_a_receiver_checks_the_signature_in_five_lines(stub: StubCollector) -> None:
    asked = await sent(stub, of(full()), kind="webhook", secret="s3cret")
    headers, body = asked.headers, asked.body
    # The lines of docs/notifications.md:
    signed = headers["x-trimtab-timestamp"].encode() + b"." + body
    expected = "v1=" + hmac.new(b"s3cret", signed, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, headers["x-trimtab-signature"])
    assert headers["x-trimtab-idempotency-key"] == "incident:1:hook"
    assert asked.path == "/hook?x=1"
    assert b"s3cret" not in body


@pytest.mark.asyncio
async def test_the_key_is_the_same_at_every_try_and_the_signature_is_not(
    stub: StubCollector,
) -> None:
    first = await sent(stub, of(full()), kind="webhook", secret="a")
    other = await sent(stub, of(full()), kind="webhook", secret="b")
    key, signature = "x-trimtab-idempotency-key", "x-trimtab-signature"
    assert first.headers[key] == other.headers[key] == json.loads(first.body)["key"]
    assert first.headers[signature] != other.headers[signature]


@pytest.mark.asyncio
async def test_without_a_secret_nothing_is_signed_and_a_login_is_sent(stub: StubCollector) -> None:
    asked = await sent(stub, of(full()), kind="webhook", authorization="Bearer t0ken")
    assert "x-trimtab-signature" not in asked.headers
    assert asked.headers["authorization"] == "Bearer t0ken"


@pytest.mark.asyncio
async def test_the_body_of_trimtab_has_the_whole_notice(stub: StubCollector) -> None:
    body = json.loads((await sent(stub, of(full("resolved")), kind="webhook")).body)
    assert body["version"] == 1
    assert body["kind"] == "resolved"
    assert body["thread"] == "incident"
    assert body["where"]["service"] == "checkout"
    assert body["since"] == "2025-11-30T14:03:00.000Z"
    assert body["ended"] == "2025-11-30T14:05:00.000Z"
    assert body["threshold"] == 5000.0
    assert body["title"].startswith("[resolved] checkout")
    assert body["links"] == [
        {"text": "Alerts there", "url": "https://trimtab.example.com/api/x?a=1&b=2"}
    ]
    assert "recipients" not in body


@pytest.mark.asyncio
async def test_values_that_json_has_not_are_null(stub: StubCollector) -> None:
    odd = unpack(pack(full(value=float("nan"), worst=float("inf"))))
    assert odd is not None
    body = json.loads((await sent(stub, of(odd), kind="webhook")).body)
    assert body["value"] is None
    assert body["worst"] is None


@pytest.mark.asyncio
async def test_pagerduty_opens_and_closes_one_incident_of_an_alert(stub: StubCollector) -> None:
    table = {"kind": "webhook", "format": "pagerduty", "routing_key": "r" * 32}
    opened = json.loads((await sent(stub, of(full()), **table)).body)
    worse = json.loads((await sent(stub, of(full("escalated")), **table)).body)
    closed = json.loads((await sent(stub, of(full("resolved")), **table)).body)
    assert [each["event_action"] for each in (opened, worse, closed)] == [
        *("trigger", "trigger", "resolve")
    ]
    assert {each["dedup_key"] for each in (opened, worse, closed)} == {"incident"}
    assert opened["routing_key"] == "r" * 32
    payload = opened["payload"]
    assert payload["severity"] == "critical"
    assert payload["source"] == "web-1/0"
    assert payload["component"] == "checkout"
    assert len(payload["summary"]) <= 1024
    assert payload["timestamp"] == "2025-11-30T14:05:00.000Z"
    test = json.loads((await sent(stub, of(full("test")), **table)).body)
    assert test["payload"]["severity"] == "info"


@pytest.mark.asyncio
async def test_pagerduty_needs_no_address() -> None:
    entry = parse_channel("p", {"kind": "webhook", "format": "pagerduty", "routing_key": "k"})
    assert entry.settings.target == "pagerduty at events.pagerduty.com"


def texts(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        for each in part.values():
            yield from texts(each)
    elif isinstance(part, list):
        for each in part:
            yield from texts(each)
    elif isinstance(part, str):
        yield part


def hostile() -> Notice:
    named = full(description=HOSTILE, rule_name=HOSTILE)
    return replace(named, where=Where(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE))


@pytest.mark.asyncio
async def test_slack_gets_blocks_within_its_limits_and_no_name_is_a_mention_or_link(
    stub: StubCollector,
) -> None:
    body = json.loads((await sent(stub, of(hostile()), kind="slack")).body)
    assert body["blocks"][0]["text"]["type"] == "plain_text"
    assert len(body["blocks"][0]["text"]["text"]) <= 150
    assert len(body["blocks"]) <= 50
    for block in body["blocks"][1:]:
        for part in block.get("fields", [block.get("text")]):
            assert part["type"] == "mrkdwn"
            assert part["verbatim"] is True
            assert len(part["text"]) <= 3000
            assert not re.findall("<[^>]*>", part["text"])
    assert "<" not in body["text"]


@pytest.mark.asyncio
async def test_discord_mentions_nobody_and_takes_markup_for_text(stub: StubCollector) -> None:
    body = json.loads((await sent(stub, of(hostile()), kind="webhook", format="discord")).body)
    assert body["allowed_mentions"] == {"parse": []}
    (embed,) = body["embeds"]
    assert len(embed["title"]) <= 256
    assert len(embed["description"]) <= 4096
    assert all(len(field["value"]) <= 1024 for field in embed["fields"])
    assert embed["color"] == 0xB3261E
    for text in texts(embed):
        assert not re.search(r"(?<!\\)\]\(", text)


@pytest.mark.asyncio
async def test_teams_gets_an_adaptive_card_without_any_link(stub: StubCollector) -> None:
    body = json.loads((await sent(stub, of(hostile()), kind="webhook", format="teams")).body)
    (attachment,) = body["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    assert card["type"] == "AdaptiveCard"
    assert "actions" not in card
    for text in texts(card["body"]):
        assert not re.search(r"(?<!\\)\]\(", text)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("table", "shown"),
    [
        ({"kind": "slack"}, lambda body: body["text"]),
        ({"kind": "webhook", "format": "discord"}, lambda body: body["embeds"][0]["title"]),
        ({"kind": "webhook", "format": "teams"},
         lambda body: body["attachments"][0]["content"]["body"][0]["text"]),
    ],
    ids=["slack", "discord", "teams"],
)  # fmt: skip
async def test_a_digest_is_one_message_where_people_read(
    stub: StubCollector, table: dict[str, Any], shown: Callable[[Any], str]
) -> None:
    many = of(*(full(thread=f"i{n}", number=1) for n in range(30)), stands_for=40)
    body = json.loads((await sent(stub, many, **table)).body)
    assert "30 alerts, 30 of them critical" in shown(body)


@pytest.mark.asyncio
async def test_korean_is_sent_as_it_is(stub: StubCollector) -> None:
    asked = await sent(stub, of(full()), kind="webhook", lang="ko", tz="Asia/Seoul")
    assert "[심각] checkout" in asked.body.decode()


@pytest.mark.asyncio
async def test_an_error_says_nothing_of_the_secrets_in_an_address() -> None:
    with StubCollector(lambda body, number: Answer(404, body=b"no_service T0P")) as stub:
        table = {"kind": "slack", "url": f"{stub.url}/services/T0/SECRET"}
        entry = parse_channel("s", table)
        with pytest.raises(DeliveryError) as told:
            await KINDS["slack"].make(entry.settings, SENDING).send(of(full()))
    assert str(told.value) == f"127.0.0.1:{stub.port} answered 404"
    assert "SECRET" not in repr(entry) + repr(entry.settings) + entry.settings.target


def paged() -> Notice:
    path = "/performance/dashboard/route?route=%2F%28a%29_b%7C%3E&x=1"
    return notice(links=(("alert", "/performance/dashboard/alert?id=a1"), ("route", path)))


@pytest.mark.parametrize("form", ["trimtab", "pagerduty", "discord", "teams"])
@pytest.mark.asyncio
async def test_every_form_leads_to_the_pages_of_an_alert(stub: StubCollector, form: str) -> None:
    more = {"routing_key": "r" * 32} if form == "pagerduty" else {}
    body = json.loads((await sent(stub, of(paged()), kind="webhook", format=form, **more)).body)
    base = "https://trimtab.example.com/performance/dashboard"
    alert, route = f"{base}/alert?id=a1", f"{base}/route?route=%2F%28a%29_b%7C%3E&x=1"
    if form == "trimtab":
        assert [each["url"] for each in body["pages"]] == [alert, route]
        assert body["links"] == []
    elif form == "pagerduty":
        assert body["client_url"] == alert
        assert [each["href"] for each in body["links"]] == [alert, route]
    elif form == "discord":
        (embed,) = body["embeds"]
        assert f"[This alert]({alert})" in embed["description"].splitlines()
        assert f"[The route around that time]({route})" in embed["description"].splitlines()
    else:
        (attachment,) = body["attachments"]
        actions = attachment["content"]["actions"]
        assert [each["url"] for each in actions] == [alert, route]


def test_slack_leads_to_the_pages_of_an_alert() -> None:
    found = Texts("en", ZoneInfo("UTC"), "https://t.example").write(of(paged()))
    (section,) = [each for each in slack_body(found)["blocks"] if "|This alert>" in str(each)]
    assert "<https://t.example/performance/dashboard/alert?id=a1|This alert>" in str(section)
    assert "%7C%3E&amp;x=1|The route around that time>" in str(section)
