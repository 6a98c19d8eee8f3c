"""The agent as a sink: it is sent what was added anyway, and this says whether it is there."""

from collections.abc import Sequence

from trimtab.metrics.metric import MetricRow
from trimtab.runtime import PROCESS
from trimtab.sinks.sink import Stored

__all__ = ["AgentSink"]


class AgentSink:
    """Tells whether an agent takes the metrics of this process; starts sending where nothing did.

    What is added while there is no agent comes when there is one: nothing is lost by a row that
    was not stored.
    """

    def store(self, rows: Sequence[MetricRow]) -> Stored:
        """Return all rows as stored when an agent is connected, and why not when none is."""
        if PROCESS.is_connected():
            return Stored(len(rows))
        PROCESS.wake()
        return Stored(0, "no agent is connected: start one with `trimtab agent`")
