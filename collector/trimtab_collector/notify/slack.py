"""Slack by an incoming webhook, in blocks (Block Kit)."""

import json
from dataclasses import dataclass
from typing import Any, Final

from trimtab_collector.notify.channel import Message, writing
from trimtab_collector.notify.exchange import Target, obstacle, post
from trimtab_collector.notify.options import ChannelSettings, Sending, headers
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.texts import WrittenMessage, whole_lines
from trimtab_core.config import setting

__all__ = ["SlackChannel", "SlackSettings"]

#: limits of Slack: characters of a header and of a section, fields of a section
_HEADER: Final = 150
_SECTION: Final = 3000
_FIELDS: Final = 10


@dataclass(frozen=True, slots=True)
class SlackSettings(ChannelSettings):
    """Settings of a channel of Slack."""

    url: str = setting("", "Address of the incoming webhook.", secret=True)

    @property
    def target(self) -> str:
        """The host."""
        return Target.of(self.url, "url").place

    def obstacle(self, outbound: Outbound) -> str:
        """Return why nothing can be posted there by the collector's settings, or ""."""
        return obstacle(outbound, Target.of(self.url, "url"))

    def check(self) -> None:
        """Raise SettingsError for what the types do not say."""
        super(SlackSettings, self).check()
        Target.of(self.url, "url")


class SlackChannel:
    """Posts to a channel of Slack; loop only."""

    def __init__(self, settings: SlackSettings, sending: Sending) -> None:
        self._target = Target.of(settings.url, "url")
        self._outbound = sending.outbound
        self._texts = settings.texts(sending.base_url)

    async def send(self, message: Message) -> str:
        """Post a message."""
        with writing():
            body = json.dumps(slack_body(self._texts.write(message))).encode()
        await post(self._outbound, self._target, body, headers(message.key))
        return ""

    async def close(self) -> None:
        """Nothing is held."""


def slack_body(written: WrittenMessage) -> dict[str, Any]:
    """Return a message as blocks; no name in it can be a mention, a link or a command."""
    blocks: list[dict[str, Any]] = [
        {
            "type": "header",
            "text": {"type": "plain_text", "text": written.title[:_HEADER], "emoji": False},
        },
        _section(_escaped(written.lead)),
    ]
    fields = [_text(f"*{_escaped(label)}*\n{_escaped(text)}") for label, text in written.facts]
    blocks += [
        {"type": "section", "fields": fields[begin : begin + _FIELDS]}
        for begin in range(0, len(fields), _FIELDS)
    ]
    for heading, lines in written.sections:
        rows = (f"• {_escaped(line)}" for line in lines)
        blocks.append(_section(whole_lines([f"*{_escaped(heading)}*", *rows], _SECTION)))
    if written.pages:
        rows = (f"• <{_escaped(address)}|{_escaped(text)}>" for text, address in written.pages)
        blocks.append(
            _section(whole_lines([f"*{_escaped(written.pages_heading)}*", *rows], _SECTION))
        )
    # The text is what notifications and screen readers show.
    return {"text": _escaped(written.title), "blocks": blocks, "unfurl_links": False}


def _section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": _text(text)}


def _text(text: str) -> dict[str, Any]:
    # Verbatim: Slack makes no links and mentions of what looks like them.
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def _escaped(text: str) -> str:
    """Escape the three characters that begin mentions, links and commands."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
