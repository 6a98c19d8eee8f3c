"""What `trimtab` gives, with types: most of it is imported when it is first used."""

from trimtab.asgi import Middleware
from trimtab.decorators import measure, monitored
from trimtab.instrumentation import instrument, uninstrument
from trimtab.metrics import Counter, Gauge, registry
from trimtab.queues import watch_queue
from trimtab.runtime import wake_default as start
from trimtab.settings import Settings
from trimtab.shortcuts import count, gauge, observe
from trimtab.sinks import (
    AgentSink,
    FileSink,
    MemorySink,
    PushgatewaySink,
    Sink,
    Stored,
    collect_and_store,
    export_json,
)
from trimtab.slot import Slot, current_slot
from trimtab.summaries import Histogram, Statistics, Summary
from trimtab.wsgi import WSGIMiddleware

__all__ = [
    "AgentSink",
    "Counter",
    "FileSink",
    "Gauge",
    "Histogram",
    "MemorySink",
    "Middleware",
    "PushgatewaySink",
    "Settings",
    "Sink",
    "Slot",
    "Statistics",
    "Stored",
    "Summary",
    "WSGIMiddleware",
    "collect_and_store",
    "count",
    "current_slot",
    "export_json",
    "gauge",
    "instrument",
    "measure",
    "monitored",
    "observe",
    "registry",
    "start",
    "uninstrument",
    "watch_queue",
]
