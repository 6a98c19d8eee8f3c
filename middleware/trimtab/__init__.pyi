"""What `trimtab` gives, with types: most of it is imported when it is first used."""

from trimtab.asgi import Middleware
from trimtab.context import RequestContext, current_context
from trimtab.instrumentation import instrument, uninstrument
from trimtab.metrics.counter import Counter
from trimtab.metrics.decorators import measure, monitored
from trimtab.metrics.gauge import Gauge
from trimtab.metrics.histogram import Histogram, Statistics
from trimtab.metrics.metric import registry
from trimtab.metrics.queues import watch_queue
from trimtab.metrics.shortcuts import count, gauge, observe
from trimtab.metrics.summary import Summary
from trimtab.runtime import wake_default as start
from trimtab.settings import AppSettings
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
from trimtab.wsgi import WSGIMiddleware

__all__ = [
    "AgentSink",
    "AppSettings",
    "Counter",
    "FileSink",
    "Gauge",
    "Histogram",
    "MemorySink",
    "Middleware",
    "PushgatewaySink",
    "RequestContext",
    "Sink",
    "Statistics",
    "Stored",
    "Summary",
    "WSGIMiddleware",
    "collect_and_store",
    "count",
    "current_context",
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
