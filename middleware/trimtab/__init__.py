"""trimtab in your app: every request timed at a few microseconds.

    from trimtab import Middleware        # ASGI
    app = Middleware(app)

    from trimtab import WSGIMiddleware    # WSGI
    application = WSGIMiddleware(application)

or, with no change to the code, `trimtab run -- uvicorn app:app`.

    trimtab.instrument()                  # see queries, caches, calls and tasks, too
    orders = trimtab.Counter("shop.orders", "Orders placed.")

Each name is imported when it is first used: a library that only counts pays for no middleware, and
an app for neither before it is wrapped. `__init__.pyi` has the types.
"""

from os import getpid as _getpid

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

#: So a child of a fork is known, even if nothing of trimtab was used before it (`children.py`).
_imported_by = _getpid()
#: module -> names that it gives
_LATER = {
    "trimtab.asgi": ("Middleware",),
    "trimtab.context": ("RequestContext", "current_context"),
    "trimtab.settings": ("AppSettings",),
    "trimtab.wsgi": ("WSGIMiddleware",),
    "trimtab.metrics.decorators": ("measure", "monitored"),
    "trimtab.instrumentation": ("instrument", "uninstrument"),
    "trimtab.metrics.counter": ("Counter",),
    "trimtab.metrics.gauge": ("Gauge",),
    "trimtab.metrics.histogram": ("Histogram", "Statistics"),
    "trimtab.metrics.metric": ("registry",),
    "trimtab.metrics.summary": ("Summary",),
    "trimtab.runtime": ("start",),
    "trimtab.metrics.shortcuts": ("count", "gauge", "observe"),
    "trimtab.metrics.queues": ("watch_queue",),
    "trimtab.sinks": (
        "AgentSink",
        "FileSink",
        "MemorySink",
        "PushgatewaySink",
        "Sink",
        "Stored",
        "collect_and_store",
        "export_json",
    ),
}
_MODULES = {name: module for module, names in _LATER.items() for name in names}


def __getattr__(name: str) -> object:
    """Import what is used for the first time."""
    module = _MODULES.get(name)
    if module is None:
        raise AttributeError(f"module 'trimtab' has no attribute {name!r}")
    from importlib import import_module

    found: object = getattr(import_module(module), "wake_default" if name == "start" else name)
    globals()[name] = found
    return found
