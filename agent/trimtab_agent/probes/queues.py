"""Queues on Redis: how many messages wait, are being worked on, or have failed.

redis://HOST:PORT/DB#list:NAME      a list
redis://HOST:PORT/DB#stream:NAME    a stream and its consumer groups
redis://HOST:PORT/DB#celery:NAME    a queue of Celery on its broker
redis://HOST:PORT/DB#rq:NAME        a queue of RQ
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from trimtab_agent.probes.probe import Probed, TargetAddress, in_thread
from trimtab_agent.probes.redis import client_of, place_of
from trimtab_core.errors import SettingsError

__all__ = ["KINDS", "QueueProbe"]

_FORM: Final = "redis://HOST[:PORT][/DB]#KIND:NAME, KIND one of list, stream, celery, rq"
#: Celery's transport keeps each priority in a list of its own.
_CELERY_STEPS: Final = (3, 6, 9)


class QueueProbe:
    """Reads one queue. Rights it needs: LLEN, XLEN, XINFO, HLEN or ZCARD on its keys.

    A queue that does not exist is empty: Redis removes a key with its last message.
    """

    def __init__(self, text: str) -> None:
        url, _, queue = text.partition("#")
        kind, _, self._name = queue.partition(":")
        if kind not in KINDS or not self._name:
            raise SettingsError(
                f"probe_queues: expected {_FORM}, got something else (it is not shown)"
            )
        self._depths = KINDS[kind]
        self._address = TargetAddress.of(text, TargetAddress.of(url).secrets)
        place_of(url, "probe_queues", _FORM)
        self.target = f"queue:{self._name}"
        self._client = client_of(url)

    async def read(self) -> Probed:
        """Read the target once; raises redis.RedisError."""
        return Probed(await in_thread(lambda: self._depths(self._client, self._name)))

    def redacted(self, error: BaseException) -> str:
        return self._address.redacted(error)

    def close(self) -> None:
        self._client.close()


def _list(client: Any, name: str) -> dict[str, float]:
    return {"trimtab.queue.depth": float(client.llen(name))}


def _stream(client: Any, name: str) -> dict[str, float]:
    found = {"trimtab.queue.depth": float(client.xlen(name))}
    groups = client.xinfo_groups(name) if client.exists(name) else []
    if groups:
        found["trimtab.queue.started"] = float(sum(group["pending"] for group in groups))
        # Redis before 7 has no lag, and newer ones none if messages were deleted in between.
        lags = [group["lag"] for group in groups if group.get("lag") is not None]
        if lags:
            found["trimtab.queue.lag"] = float(max(lags))
    return found


def _celery(client: Any, name: str) -> dict[str, float]:
    names = [name, *(f"{name}\x06\x16{step}" for step in _CELERY_STEPS)]
    return {
        "trimtab.queue.depth": float(sum(client.llen(each) for each in names)),
        # Taken by a worker and not finished; one number for all queues of the broker.
        "trimtab.queue.started": float(client.hlen("unacked")),
    }


def _rq(client: Any, name: str) -> dict[str, float]:
    return {
        "trimtab.queue.depth": float(client.llen(f"rq:queue:{name}")),
        "trimtab.queue.started": float(client.zcard(f"rq:wip:{name}")),
        "trimtab.queue.failed": float(client.zcard(f"rq:failed:{name}")),
    }


#: kind -> what reads it
KINDS: Final[Mapping[str, Callable[[Any, str], dict[str, float]]]] = {
    "list": _list,
    "stream": _stream,
    "celery": _celery,
    "rq": _rq,
}
