"""Messages in English."""

from typing import Final

from trimtab_collector.notify.languages.wording import Wording

__all__ = ["ENGLISH"]

ENGLISH: Final = Wording(
    words={
        "severity.warning": "warning",
        "severity.critical": "critical",
        "tag.predictive": "forecast",
        "side.gt": "{value} over {threshold}",
        "side.gte": "{value} over {threshold}",
        "side.lt": "{value} under {threshold}",
        "side.lte": "{value} under {threshold}",
        "side.eq": "{value}",
        "side.none": "{value}",
        "value.none": "no value",
        "subject.none": "all services",
        "title.firing": "[{severity}] {subject}: {metric} {figure} (since {since})",
        "title.escalated": "[{severity}] {subject}: {metric} {figure} (since {since})",
        "title.updated": "[{severity}, changed] {subject}: {metric} {figure} (since {since})",
        "title.reminder": "[{severity}, still] {subject}: {metric} {figure} (since {since})",
        "title.resolved": "[resolved] {subject}: {metric} is {value} after {duration}",
        "title.expired": "[ended] {subject}: {metric} is no longer judged, after {duration}",
        "title.flapping": "[{severity}, unsteady] {subject}: {metric} keeps crossing {threshold}",
        "title.test": "[test] trimtab reaches this channel",
        "title.digest": "[digest] {count} alerts, {critical} of them critical",
        "lead.firing": "{What} of {subject}: {figure}, since {since}.",
        "lead.escalated": "{What} of {subject} has become worse: {figure}, since {since}.",
        "lead.updated": "The alert has changed. {What} of {subject}: {figure}, since {since}.",
        "lead.reminder": "It goes on. {What} of {subject}: {figure}, since {since}.",
        "lead.resolved": "{What} of {subject} has recovered: {value}. It lasted {duration}, "
        "from {since} to {ended}; the worst was {worst}.",
        "lead.expired": "{What} of {subject} is no longer judged: its data or its rule is gone. "
        "A recovery was not seen. It began at {since}; the worst was {worst}.",
        "lead.flapping": "{What} of {subject} crosses {threshold} again and again. Until it is "
        "steady, further messages are held back.",
        "lead.test": "This is a test message of trimtab. Nothing is wrong: the channel works.",
        "lead.digest": "More alerts came than this channel takes one by one. The most severe "
        "are first.",
        "lead.merged": "It had begun and ended before a message could be delivered.",
        "fact.rule": "Rule",
        "fact.value": "Now",
        "fact.worst": "Worst",
        "fact.threshold": "Line",
        "fact.since": "Since",
        "fact.ended": "Ended",
        "fact.duration": "Duration",
        "fact.environment": "Environment",
        "fact.service": "Service",
        "fact.route": "Route",
        "fact.instance": "Instance",
        "fact.version": "Version",
        "section.members": "Affected",
        "section.changes": "What changed with it",
        "section.hints": "What to look at",
        "section.description": "Note of the rule",
        "section.alerts": "Alerts",
        "section.links": "Links",
        "member": "{where}: {value} ({severity}, since {since})",
        "more": "and {count} more",
        "change.mark": "{at}: {name} {detail}",
        "change.share": "{name}: {share} of the change {detail}",
        "change.other": "{name} {detail}",
        "part.db": "database",
        "part.cache": "cache",
        "part.external": "calls to other services",
        "part.queue": "waiting for a worker",
        "part.cpu": "the app's own code",
        "part.gc": "garbage collection",
        "part.loop": "a blocked event loop",
        "link.alert": "This alert",
        "link.route": "The route",
        "link.service": "The service",
        "link.history": "History",
        "link.slow-requests": "Slow requests",
        "link.slow-queries": "Slow queries",
        "link.explain": "Why it is slow",
        "link.dashboard": "Dashboard",
    },
    metrics={
        "responseTime": "response time p95",
        "errorRate": "error rate",
        "throughput": "requests",
        "requestsPerSecond": "requests",
        "apdex": "Apdex",
        "memoryUsage": "memory",
        "cpuUsage": "CPU",
        "networkUsage": "network",
        "diskUsage": "disk",
        "eventLoopDelay": "event loop delay",
        "queryTime": "query time p90",
        "cacheHitRate": "cache hit rate",
        "queueLength": "queue length",
        "poolUsage": "pool usage",
        "activeRequests": "active requests",
        "agentLost": "agent silent",
        "clockSkew": "clock skew",
        "uptime": "uptime",
    },
    hints={
        "responseTime": (
            (
                "GET /slow-requests shows where the time of the slowest went: database, cache, "
                "calls or waiting."
            ),
            (
                "GET /compare with the hour before shows which routes, versions and instances "
                "became slower."
            ),
        ),
        "errorRate": (
            "GET /slow-requests?reason=error shows exception, file and line of the failures.",
            "Compare versions: if only the newest one fails, roll it back.",
        ),
        "throughput": (
            "Look whether clients, load balancer or health checks send something else than usual.",
        ),
        "requestsPerSecond": (
            "Look whether clients, load balancer or health checks send something else than usual.",
        ),
        "apdex": ("GET /routes?by=totalTime names the routes that cost users the most time.",),
        "memoryUsage": (
            (
                "GET /memory shows each worker: one that grows without end leaks, all of them at "
                "once point to load or caches."
            ),
            "A restart of the workers gains time; compare versions for the cause.",
        ),
        "cpuUsage": (
            "GET /system shows throttling: a container at its limit is slow before it is at 100 %.",
            "GET /routes?by=totalTime names the routes that use the most time.",
        ),
        "networkUsage": (
            "GET /routes shows bytes sent: look for large responses without compression.",
        ),
        "diskUsage": ("Look for logs, uploads and temporary files that nobody deletes.",),
        "eventLoopDelay": (
            "Something blocks the loop: a synchronous call in a coroutine, or much computation.",
            "GET /slow-requests shows requests that waited without database or calls.",
        ),
        "queryTime": (
            "GET /slow-queries names the statements with route, file and line.",
            "Look for missing indexes, repeated queries and waits for locks or connections.",
        ),
        "cacheHitRate": (
            "GET /cache shows hits and evictions: many evictions mean that the cache is too small.",
            "Look for a deploy that changed keys, or for an expiry that is too short.",
        ),
        "queueLength": (
            "GET /queues shows whether workers are gone or slower, or more is sent than usual.",
        ),
        "poolUsage": (
            "Look for connections that are held during slow calls, and for transactions left open.",
        ),
        "activeRequests": ("Requests pile up: look at what they wait for in GET /slow-requests.",),
        "agentLost": (
            (
                "On that host: does `trimtab agent` run, and does `trimtab doctor` reach the "
                "collector?"
            ),
        ),
        "clockSkew": (
            "On that host: is time synchronisation (chrony, systemd-timesyncd) running?",
        ),
        "uptime": ("Look at the process manager's log: who restarted it, and why.",),
        "": ("GET /metrics/history shows how it went before.",),
    },
    units={
        "ms": "{number} ms",
        "s": "{number} s",
        "ratio": "{number} %",
        "1/s": "{number}/s",
        "B": "{number} B",
        "kB": "{number} kB",
        "MB": "{number} MB",
        "GB": "{number} GB",
        "TB": "{number} TB",
        "per_s": "{quantity}/s",
        "count": "{number}",
        "other": "{number} {unit}",
        "minutes": "{number} min",
        "hours": "{number} h",
        "days": "{number} d",
    },
)
