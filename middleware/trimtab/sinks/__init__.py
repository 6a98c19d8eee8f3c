"""Where own metrics go besides the agent: memory, a file, a Prometheus Pushgateway.

The agent needs no sink: the emitter sends it what was added, once a second.
"""

from trimtab.sinks.exposition import exposition
from trimtab.sinks.file import FileSink
from trimtab.sinks.memory import MemorySink
from trimtab.sinks.pushgateway import PushgatewaySink
from trimtab.sinks.sink import Sink, Stored, collect_and_store, export_json

__all__ = [
    "FileSink",
    "MemorySink",
    "PushgatewaySink",
    "Sink",
    "Stored",
    "collect_and_store",
    "export_json",
    "exposition",
]
