"""The apps under measurement, bare and wrapped; runs in the environment of the rivals.

`asgi(variant)`, `starlette(variant)`, `wsgi(variant)` and `flask(variant)` each return the app and
a function that finishes what its background threads still have to do. `served` is what uvicorn
loads; the variant then comes from BENCH_VARIANT. Rivals record and export everything, to an
exporter that throws it away.
"""

import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from importlib import import_module
from typing import Any, Final

__all__ = ["ASGI_SETTINGS", "asgi", "flask", "served", "starlette", "wsgi"]

Scope = MutableMapping[str, Any]
ASGIApp = Callable[[Scope, Any, Any], Awaitable[None]]
WSGIApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
Settle = Callable[[], object]

#: trimtab's settings by variant; `trimtab` alone has the defaults.
ASGI_SETTINGS: Final[dict[str, dict[str, bool]]] = {
    "trimtab": {},
    "trimtab-record": {"server_timing": False, "context": False},
    "trimtab-all": {"server_timing": True, "context": True},
}


def asgi(variant: str) -> tuple[ASGIApp, Settle]:
    """Return the raw ASGI app; it names its route as a framework does."""
    route = import_module("starlette.routing").Route("/items/{item_id}", lambda request: None)

    async def app(scope: Scope, receive: Any, send: Any) -> None:
        scope["route"] = route
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"5")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"hello"})

    return (app if variant == "bare" else _trimtab(app, variant)), _nothing


def starlette(variant: str) -> tuple[ASGIApp, Settle]:
    """Return a Starlette app of three routes."""
    applications = import_module("starlette.applications")
    routing = import_module("starlette.routing")
    responses = import_module("starlette.responses")

    async def home(request: Any) -> Any:
        return responses.PlainTextResponse("hello")

    async def item(request: Any) -> Any:
        return responses.PlainTextResponse(f"item {request.path_params['item_id']}")

    async def search(request: Any) -> Any:
        return responses.JSONResponse({"found": [1, 2, 3]})

    app: Any = applications.Starlette(
        routes=[
            routing.Route("/", home),
            routing.Route("/search", search),
            routing.Route("/items/{item_id:int}", item),
        ]
    )
    if variant == "bare":
        return app, _nothing
    if variant == "prometheus-fastapi-instrumentator":
        import_module("prometheus_fastapi_instrumentator").Instrumentator().instrument(app)
        return app, _nothing
    if variant == "opentelemetry":
        settle = _opentelemetry()
        instrumentation = import_module("opentelemetry.instrumentation.starlette")
        instrumentation.StarletteInstrumentor.instrument_app(app)
        return app, settle
    return _trimtab(app, variant), _nothing


def wsgi(variant: str) -> tuple[WSGIApp, Settle]:
    """Return the raw WSGI app with a list body."""

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        headers = [("Content-Type", "text/plain"), ("Content-Length", "5")]
        start_response("200 OK", headers)
        return [b"hello"]

    if variant == "bare":
        return app, _nothing
    wrapped: WSGIApp = import_module("trimtab").WSGIMiddleware(app, service="bench")
    return wrapped, _nothing


def flask(variant: str) -> tuple[WSGIApp, Settle]:
    """Return a Flask app of three routes."""
    module = import_module("flask")
    app: Any = module.Flask("bench")

    def home() -> str:
        return "hello"

    def item(item_id: int) -> str:
        return f"item {item_id}"

    def search() -> Any:
        return {"found": [1, 2, 3]}

    app.add_url_rule("/", view_func=home)
    app.add_url_rule("/search", view_func=search)
    app.add_url_rule("/items/<int:item_id>", view_func=item)
    if variant == "prometheus-flask-exporter":
        import_module("prometheus_flask_exporter").PrometheusMetrics(app)
    elif variant != "bare":
        app.wsgi_app = import_module("trimtab").WSGIMiddleware(app.wsgi_app, service="bench")
    return app, _nothing


def served() -> ASGIApp:
    """Return the Starlette app of the variant in BENCH_VARIANT; uvicorn's factory."""
    return starlette(os.environ["BENCH_VARIANT"])[0]


def _trimtab(app: ASGIApp, variant: str) -> ASGIApp:
    settings = ASGI_SETTINGS[variant]
    wrapped: ASGIApp = import_module("trimtab").Middleware(app, service="bench", **settings)
    return wrapped


def _nothing() -> None:
    """A variant that leaves nothing to be done, or whose own thread does it while we wait."""


def _opentelemetry() -> Settle:
    """Set up the SDK: every request traced and counted, batches exported to nowhere."""
    trace = import_module("opentelemetry.sdk.trace")
    trace_export = import_module("opentelemetry.sdk.trace.export")
    metrics = import_module("opentelemetry.sdk.metrics")
    metrics_export = import_module("opentelemetry.sdk.metrics.export")

    span_exporter: Any = trace_export.SpanExporter
    metric_exporter: Any = metrics_export.MetricExporter

    class Spans(span_exporter):  # type: ignore[misc]
        def export(self, spans: Any) -> Any:
            return trace_export.SpanExportResult.SUCCESS

        def shutdown(self) -> None:
            """Nothing is held."""

    class Metrics(metric_exporter):  # type: ignore[misc]
        def export(self, metrics_data: Any, timeout_millis: float = 0, **kwargs: Any) -> Any:
            return metrics_export.MetricExportResult.SUCCESS

        def force_flush(self, timeout_millis: float = 0) -> bool:
            return True

        def shutdown(self, timeout_millis: float = 0, **kwargs: Any) -> None:
            """Nothing is held."""

    tracers = trace.TracerProvider()
    tracers.add_span_processor(trace_export.BatchSpanProcessor(Spans()))
    reader = metrics_export.PeriodicExportingMetricReader(Metrics(), 1_000)
    meters = metrics.MeterProvider([reader])
    import_module("opentelemetry.trace").set_tracer_provider(tracers)
    import_module("opentelemetry.metrics").set_meter_provider(meters)
    return tracers.force_flush  # type: ignore[no-any-return]
