"""The bodies of webhooks, by format: trimtab's own, PagerDuty, Discord, Teams."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from trimtab_collector.contract.errors import instant
from trimtab_collector.notify.channel import Message
from trimtab_collector.notify.notice import Notice
from trimtab_collector.notify.texts import WrittenMessage, named, whole_lines

__all__ = ["BODIES", "Writer", "shown_where"]

Writer = Callable[[Message, WrittenMessage], dict[str, Any]]

#: characters that are markup in Discord and in Adaptive Cards
_MARKUP: Final = re.compile(r"([\\*_~`|>\[\]()#@<-])")
_COLOURS: Final = {"critical": 0xB3261E, "warning": 0xE6A700, "over": 0x1A7F37}
#: limits of PagerDuty and Discord
_SUMMARY: Final = 1024
_DEDUP_KEY: Final = 255
_FIELDS: Final = 20
_DESCRIPTION: Final = 3500
_FIELD: Final = 1000


def _own(message: Message, written: WrittenMessage) -> dict[str, Any]:
    """Return the body that docs/notifications.md describes."""
    notice = message.notices[0]
    return {
        "version": 1,
        "key": message.key,
        "title": written.title,
        "text": written.plain(),
        "pages": [{"text": text, "url": address} for text, address in written.pages],
        "links": [{"text": text, "url": address} for text, address in written.links],
        "stands_for": message.stands_for,
        **_plain(notice),
    }


def _plain(notice: Notice) -> dict[str, Any]:
    """Return a notice as JSON has it, times as ISO 8601."""
    found: dict[str, Any] = msgspec.to_builtins(notice)
    for name in ("since_s", "at_s", "ended_s"):
        found[name.removesuffix("_s")] = _time(found.pop(name))
    for row in (*found["members"], *found["changes"]):
        for name in ("since_s", "at_s"):
            if name in row:
                row[name.removesuffix("_s")] = _time(row.pop(name))
    for name in ("key", "links", "recipients"):
        del found[name]
    return found


def _time(epoch_s: float | None) -> str | None:
    return None if epoch_s is None else instant(epoch_s)


def _pagerduty(message: Message, written: WrittenMessage) -> dict[str, Any]:
    """Return an event of PagerDuty's Events API v2."""
    notice = message.notices[0]
    over = notice.ended_s is not None
    severity = "info" if notice.kind == "test" else notice.severity
    return {
        "event_action": "resolve" if over else "trigger",
        "dedup_key": notice.thread[:_DEDUP_KEY],
        "client": "trimtab",
        **({"client_url": written.pages[0][1]} if written.pages else {}),
        "links": [{"href": address, "text": text} for text, address in written.pages],
        "payload": {
            "summary": written.title[:_SUMMARY],
            "source": named(shown_where(notice)) or "trimtab",
            "severity": severity if severity in ("info", "warning", "critical") else "error",
            "timestamp": instant(notice.at_s),
            "component": named(notice.where.service) or None,
            "group": named(notice.where.environment) or None,
            "class": named(notice.metric),
            "custom_details": {
                **dict(written.facts),
                **{heading: list(lines) for heading, lines in written.sections},
            },
        },
    }


def shown_where(notice: Notice) -> str:
    """Return the most exact place that a notice names."""
    where = notice.where
    return where.instance or where.subject or " ".join(filter(None, (where.service, where.route)))


def _discord(message: Message, written: WrittenMessage) -> dict[str, Any]:
    """Return a message of Discord with one embed; nobody can be mentioned by a name in it."""
    lines = [_escaped(written.lead)]
    for heading, rows in written.sections:
        lines += ["", f"**{_escaped(heading)}**", *(f"• {_escaped(row)}" for row in rows)]
    if written.pages:
        # Addresses are percent-encoded: no character of them ends the link.
        lines += ["", *(f"[{_escaped(text)}]({address})" for text, address in written.pages)]
    fields = [
        {"name": _escaped(label), "value": _escaped(text)[:_FIELD], "inline": True}
        for label, text in written.facts
    ]
    return {
        "username": "trimtab",
        "allowed_mentions": {"parse": []},
        "embeds": [
            {
                "title": _escaped(written.title)[:250],
                "description": whole_lines(lines, _DESCRIPTION),
                "color": _COLOURS[_look(message)],
                "fields": fields[:_FIELDS],
            }
        ],
    }


def _teams(message: Message, written: WrittenMessage) -> dict[str, Any]:
    """Return a message of Teams with an Adaptive Card, as its webhooks of Workflows take it."""
    look = {"critical": "attention", "warning": "warning", "over": "good"}[_look(message)]
    title = _block(written.title, weight="bolder", size="medium", color=look)
    body = [title, _block(written.lead)]
    if written.facts:
        facts = [{"title": _escaped(a), "value": _escaped(b)} for a, b in written.facts]
        body.append({"type": "FactSet", "facts": facts})
    for heading, rows in written.sections:
        body += [
            _block(heading, weight="bolder"),
            *(_block(f"• {row}", spacing="small") for row in rows),
        ]
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
    }
    if written.pages:
        card["actions"] = [
            {"type": "Action.OpenUrl", "title": text, "url": address}
            for text, address in written.pages
        ]
    kind = "application/vnd.microsoft.card.adaptive"
    return {"type": "message", "attachments": [{"contentType": kind, "content": card}]}


def _block(text: str, **look: str) -> dict[str, Any]:
    return {"type": "TextBlock", "text": _escaped(text), "wrap": True, **look}


def _look(message: Message) -> str:
    notices = [each for each in message.notices if each.ended_s is None and each.kind != "test"]
    if not notices:
        return "over"
    return "critical" if any(each.severity == "critical" for each in notices) else "warning"


def _escaped(text: str) -> str:
    """Take the meaning from characters of markup."""
    return _MARKUP.sub(r"\\\1", text)


BODIES: Final[Mapping[str, Writer]] = {
    "trimtab": _own,
    "pagerduty": _pagerduty,
    "discord": _discord,
    "teams": _teams,
}
