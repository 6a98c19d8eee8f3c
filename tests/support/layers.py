"""The table of layers: which folder or module of a package may import which others of it.

A row names what its modules may import besides each other; the row of the empty name is for the
modules of the package itself that have none of their own. The longest name that leads to a module
is its row. Rows may not lead back to themselves, so every package can be read from the ground up.
"""

from support.architecture import Layers

__all__ = ["LAYERS"]

#: package -> its folders and modules, from the ground -> those of the package that each may import
LAYERS: Layers = {
    "trimtab_collector": {
        "": (),
        "settings": (),
        "contract": (),
        "watch": (),
        "budget": (),
        "keeping": (),
        "desktop": (),
        "companion": (),
        "reload": ("settings", "contract"),
        # What a request passes before the app: connection, TLS, proxies.
        "connections": ("contract",),
        "timedprotocol": ("connections", "contract"),
        "acceptor": ("connections", "timedprotocol"),
        "certificate": ("contract",),
        "front": ("settings",),
        "websocket": (),
        "serve": ("acceptor", "connections", "timedprotocol", "websocket"),
        "room": (),
        "checkedrows": ("storage.sqlite.checksums",),
        "statefile": ("checkedrows", "room"),
        "companions": (
            *("checkedrows", "statefile", "storage.sqlite.connect", "storage.sqlite.facts"),
        ),
        "storage": (),
        # Each folder below it is an engine, which only those who name it may import.
        "storage.*": ("storage",),
        "storage.sqlite": ("storage", "settings", "room"),
        "storage.sqlite.upkeep": (
            *("checkedrows", "companions", "storage", "storage.sqlite", "settings", "room"),
        ),
        "auth": ("contract", "checkedrows", "statefile", "room"),
        # Its subcommands, which know the settings.
        "auth.cli": ("contract", "statefile", "auth", "settings"),
        "reads": ("contract", "storage"),
        # It knows nothing of alerts: whoever judges hands it notices.
        "notify": ("contract", "checkedrows", "statefile", "auth.audit"),
        "notify.cli": ("statefile", "settings", "auth.cli", "asking", "notify"),
        # What is judged, and when somebody is told.
        "alerts": (
            *("contract", "checkedrows", "statefile", "auth.audit", "storage", "reads"),
            "notify.notice",
        ),
        "logs": ("contract", "storage.store", "reads"),
        "marks": ("contract", "checkedrows", "statefile", "auth.audit"),
        "deploys": ("contract", "checkedrows", "marks", "statefile", "storage"),
        "objectives": ("contract", "checkedrows", "statefile", "auth.audit", "storage"),
        # What alerts ask of the rest.
        "circumstances": (
            *("contract", "alerts", "marks", "notify.notice", "objectives", "reads", "storage"),
        ),
        # What changed with one, for its page; in the words of messages.
        "alertchanges": ("contract", "alerts", "notify.notice", "notify.texts"),
        # What the first page says; in the words of messages.
        "overview": (
            *("contract", "marks", "notify.languages", "notify.texts", "reads", "storage"),
            "keeping",
        ),
        "reports": ("contract", "reads", "marks", "objectives", "overview", "storage"),
        "asking": (),
        "reports.cli": ("asking",),
        # The terminal view: like every console client it knows the API alone.
        "top": ("asking", "contract.quantities"),
        "alerts.cli": ("contract", "alerts", "asking"),
        # What agents tell with their requests.
        "senders": (),
        # What a key may cost, and what it and one app of it may bring.
        "cpushares": ("contract.errors",),
        "quotas": ("auth.keys", "auth.scopes", "storage"),
        "pacing": ("contract.errors", "cpushares", "storage"),
        # Reads what an agent sends, within limits.
        "batchbodies": ("budget", "contract.errors"),
        "ingest": (
            *("auth.keyring", "auth.keys", "auth.owners", "auth.scopes", "batchbodies"),
            *(
                "contract.callers",
                "contract.errors",
                "pacing",
                "quotas",
                "senders",
                "storage",
                "watch",
            ),
        ),
        "naming": ("contract",),
        "finder": (
            *("contract", "alerts.bodies", "alerts.metrics", "alerts.ruleset", "keeping"),
            *("naming", "reads", "storage"),
        ),
        "fleet": ("contract", "alerts.agents", "auth.owners", "senders", "storage"),
        "api": (
            *("budget", "contract", "reads", "notify", "alerts", "storage.store"),
            *("auth.access", "auth.logins", "auth.administration"),
            *("marks", "objectives", "overview", "reports", "finder", "fleet"),
            "alertchanges",
        ),
        # It names the engine; so does the console, for its subcommands.
        "app": (
            *("settings", "watch", "storage", "storage.sqlite", "storage.sqlite.upkeep.files"),
            *(
                "batchbodies",
                "contract",
                "companions",
                "statefile",
                "auth",
                "reads",
                "notify",
                "alerts",
                "logs",
                "ingest",
                "quotas",
                "api",
            ),
            *("reload", "marks", "deploys", "objectives", "overview", "reports"),
            *("alertchanges", "circumstances", "finder", "fleet"),
        ),
        "running": (
            *("settings", "reload", "connections", "certificate", "front", "serve", "app"),
            *("statefile", "auth.links"),
        ),
        # The console knows the subcommands of the engine, and nothing else of it.
        "cli": (
            *("contract.errors", "settings", "auth", "auth.cli", "running", "desktop", "companion"),
            "storage.sqlite.upkeep.cli",
        ),
    },
    "trimtab_agent": {
        "": (),
        "settings": (),
        "answers": (),
        "sockets": ("peers",),
        "allowance": (),
        "faults": (),
        # Who is at the other end, and who has most.
        "peers": (),
        "app": ("peers",),
        # How many new names each may bring.
        "names": ("app", "peers"),
        "selfmetrics": (),
        "gauges": (),
        "spool": (),
        "probes": ("gauges", "settings", "answers", "faults"),
        "dating": (),
        "points": (),
        "waiting": (),
        "aggregator": (
            *(
                "allowance",
                "app",
                "dating",
                "faults",
                "names",
                "peers",
                "points",
                "shares",
                "waiting",
            ),
        ),
        "shares": ("peers",),
        "tables": ("app", "names", "peers"),
        "spans": ("dating", "peers", "tables"),
        # What is written of a window, and whose it is.
        "contents": ("aggregator", "app", "peers", "tables"),
        "gathered": ("app", "contents", "names", "peers", "shares", "spans", "tables"),
        "window": ("app", "aggregator", "names"),
        # How much each may write while the collector is away.
        "admission": ("peers", "spool"),
        # Whose services are.
        "owners": ("app",),
        "places": ("peers",),
        "departed": ("app", "peers"),
        "told": ("allowance", "app"),
        "listener": (
            *("app", "dating", "aggregator", "departed", "gathered", "owners", "peers", "places"),
            *("sockets", "told"),
        ),
        "endpoint": ("sockets",),
        "relay": ("answers", "faults"),
        "forwarder": ("answers", "faults", "spool"),
        "writer": ("admission", "app", "contents", "faults", "spool", "window"),
        "closer": (
            *("aggregator", "contents", "faults", "gathered", "listener", "peers", "probes"),
            *("selfmetrics", "spool", "window", "writer"),
        ),
        # The one place that knows all parts.
        "agent": (
            *("settings", "selfmetrics", "gauges", "spool", "probes", "aggregator", "gathered"),
            *("window", "writer", "owners", "listener", "endpoint", "relay", "forwarder"),
            *("faults", "closer", "names"),
        ),
        "cli": ("settings", "agent"),
    },
    "trimtab": {
        # The face, which imports nothing before it is asked.
        "": (),
        "types": (),
        "sites": (),
        "failure": ("sites",),
        "context": ("failure",),
        "events": (),
        "tables": (),
        "settings": (),
        "face": (),
        "queueing": (),
        "sockets": (),
        "threads": (),
        "connection": ("sockets",),
        "children": (),
        # What is recorded, and how it leaves.
        "metrics.backlog": (),
        "metrics.values": (),
        "metrics.measures": ("tables", "threads", "metrics.backlog", "metrics.values"),
        "metrics.registry": ("metrics.measures",),
        "routes": ("tables",),
        "recorder": ("context", "routes"),
        "vitals": ("recorder",),
        "pending": ("events", "metrics.measures", "metrics.backlog"),
        "chunks": (),
        "emitter": ("chunks", "connection", "pending", "recorder", "sockets", "threads"),
        # The one place that puts these together.
        "runtime": (
            *("settings", "events", "metrics.measures", "metrics.registry", "routes", "recorder"),
            *("vitals", "connection", "pending", "emitter", "children"),
        ),
        # What goes by the runtime, each without the others.
        "metrics": ("metrics.measures", "metrics.registry", "metrics.values", "runtime"),
        "sinks": ("metrics", "runtime", "threads"),
        "templates": ("tables", "routes", "runtime"),
        "instrumentation": (
            *("sites", "failure", "context", "events", "tables", "settings"),
            *("metrics.measures", "runtime"),
        ),
        "shutdown": ("runtime",),
        # The wrappers, and what they are made of.
        "captures": ("failure", "context", "events"),
        "headers": ("types", "context"),
        "exclude": ("types", "templates"),
        "endings": (
            *("failure", "context", "queueing", "recorder", "runtime", "instrumentation"),
            "captures",
        ),
        "bodies": ("types", "failure", "context", "recorder", "templates", "endings"),
        "scopes": ("types", "failure", "context", "queueing", "runtime", "templates", "endings"),
        "asgi": (
            *("types", "context", "settings", "face", "queueing", "recorder", "runtime"),
            *("failure", "templates", "shutdown", "headers", "exclude", "endings", "scopes"),
        ),
        "wsgi": (
            *("types", "context", "settings", "face", "queueing", "recorder", "runtime"),
            *("failure", "templates", "headers", "exclude", "endings", "bodies"),
        ),
        # What starts a server with its app wrapped; and the console, which starts that.
        "servers": (
            *("settings", "face", "runtime", "instrumentation", "shutdown", "asgi", "wsgi"),
        ),
        "autostart": ("servers",),
        "run": ("settings",),
        "doctor": ("settings", "connection"),
    },
}
