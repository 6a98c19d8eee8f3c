"""Where own metrics go: the agent, memory, a file, a Prometheus Pushgateway.

The agent gets what was added, once per second, without a sink; `AgentSink` says if one is there.
"""

from trimtab.sinks.agent import AgentSink
from trimtab.sinks.exposition import exposition
from trimtab.sinks.file import FileSink
from trimtab.sinks.memory import MemorySink
from trimtab.sinks.pushgateway import PushgatewaySink
from trimtab.sinks.sink import Sink, Stored, collect_and_store, export_json

__all__ = [
    "AgentSink",
    "FileSink",
    "MemorySink",
    "PushgatewaySink",
    "Sink",
    "Stored",
    "collect_and_store",
    "export_json",
    "exposition",
]
