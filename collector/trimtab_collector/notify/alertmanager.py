"""Alertmanager (API v2): alerts that end by themselves unless they are renewed."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from trimtab_collector.contract.errors import instant
from trimtab_collector.notify.channel import Message, WritingError, writing
from trimtab_collector.notify.exchange import Target, obstacle, post
from trimtab_collector.notify.notice import Notice
from trimtab_collector.notify.options import ChannelSettings, Sending, headers
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.texts import clean
from trimtab_core.config import setting
from trimtab_core.errors import SettingsError

__all__ = ["AlertmanagerChannel", "AlertmanagerSettings"]

_PATH: Final = "/api/v2/alerts"
_PLACES: Final = ("environment", "service", "route", "instance", "version")
#: how many intervals an alert lives without being renewed
_INTERVALS: Final = 4
#: alerts of one request
_MAX_ALERTS: Final = 500


@dataclass(frozen=True, slots=True)
class AlertmanagerSettings(ChannelSettings):
    """Settings of an Alertmanager."""

    url: str = setting("", "Address, such as http://alertmanager:9093.", secret=True)
    authorization: str = setting(
        "", "Header Authorization, such as `Bearer ...`; empty for none.", secret=True
    )
    renew_s: int = setting(
        60, "How often alerts that go on are sent again.", unit="seconds", least=10, most=3600
    )

    @property
    def target(self) -> str:
        """The host."""
        return Target.of(self.url, "url").place

    @property
    def digests(self) -> bool:
        """Never: it groups by itself."""
        return False

    def obstacle(self, outbound: Outbound) -> str:
        """Return why nothing can be posted there by the collector's settings, or ""."""
        return obstacle(outbound, Target.of(self.url, "url"))

    def check(self) -> None:
        """Raise SettingsError for what the types do not say."""
        super(AlertmanagerSettings, self).check()
        Target.of(self.url, "url")
        if not self.authorization.isprintable() or not self.authorization.isascii():
            raise SettingsError("authorization: expected printable ASCII, got something else")


class AlertmanagerChannel:
    """Posts alerts, and renews those that go on; loop only."""

    def __init__(self, settings: AlertmanagerSettings, sending: Sending) -> None:
        self._target = Target.of(settings.url, "url").below(_PATH)
        self._authorization = settings.authorization
        self._outbound = sending.outbound
        self._texts = settings.texts(sending.base_url)
        #: seconds between renewals
        self.renew_s = float(settings.renew_s)

    async def send(self, message: Message) -> str:
        """Post the alert of a notice, and end the one of the severity that it had before."""
        notice, before, now_s = message.notices[0], message.before, message.sent_s
        with writing():
            rows = [self._alert(message, notice.ended_s)]
            if before is not None and before.severity != notice.severity:
                # The severity is a label, so that routes and inhibition of Alertmanager work: for
                # it, another severity is another alert.
                rows.append(self._alert(_alone(before, now_s), min(notice.at_s, now_s)))
        await self._post(rows, message.key)
        return ""

    async def renew(self, notices: Sequence[Notice], now_s: float) -> None:
        """Post alerts that go on, so that they do not end; raises DeliveryError."""
        for begin in range(0, len(notices), _MAX_ALERTS):
            part = notices[begin : begin + _MAX_ALERTS]
            rows = [self._renewed(_alone(notice, now_s)) for notice in part]
            await self._post(rows, f"renewal:{now_s:.0f}:{begin}")

    async def close(self) -> None:
        """Nothing is held."""

    async def _post(self, rows: list[dict[str, Any]], key: str) -> None:
        await post(
            self._outbound,
            self._target,
            json.dumps(rows).encode(),
            headers(key, self._authorization),
        )

    def _renewed(self, message: Message) -> dict[str, Any]:
        try:
            with writing():
                return self._alert(message, None)
        except WritingError:
            return self._alert(message.plainly(), None)

    def _alert(self, message: Message, ended_s: float | None) -> dict[str, Any]:
        """Return the alert of a notice, which ends after some intervals without a renewal."""
        notice, now_s = message.notices[0], message.sent_s
        where, written = notice.where, self._texts.write(message)
        labels = {
            "alertname": clean(notice.rule_name) or "trimtab",
            "severity": notice.severity,
            "metric": clean(notice.metric),
            "type": clean(notice.type),
            **{place: clean(getattr(notice.where, place)) for place in _PLACES},
            # Its kind is the name of a label: agent, part or slo.
            **({where.subject_kind: clean(where.subject)} if where.subject_kind else {}),
        }
        end_s = now_s + self.renew_s * _INTERVALS if ended_s is None else ended_s
        annotations = {"summary": written.title, "description": written.plain()}
        return {
            "labels": {name: text for name, text in labels.items() if text},
            "annotations": annotations,
            "startsAt": instant(min(notice.since_s, end_s)),
            "endsAt": instant(end_s),
            **({"generatorURL": written.pages[0][1]} if written.pages else {}),
        }


def _alone(notice: Notice, now_s: float) -> Message:
    return Message(notice.key, (notice,), now_s)
