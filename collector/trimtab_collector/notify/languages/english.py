"""Messages in English."""

from typing import Final

from trimtab_collector.notify.languages.words import MessageWords

__all__ = ["ENGLISH"]

#: what to look at when requests are slow
_SLOW: Final = (
    (
        "GET /explain?against=previous says what requests take longer for (database, cache, "
        "calls, waiting), and on which routes, instances and versions."
    ),
    (
        "GET /slow-requests shows single requests in full, those that took longer than "
        "TRIMTAB_SLOW_REQUEST_MS (1000 ms unless set)."
    ),
)

ENGLISH: Final = MessageWords(
    words={
        "severity.warning": "warning",
        "severity.critical": "critical",
        "tag.predictive": "forecast",
        "side.gt": "{value} over {threshold}",
        "side.gte": "{value}, at or over {threshold}",
        "side.lt": "{value} under {threshold}",
        "side.lte": "{value}, at or under {threshold}",
        "side.eq": "{value}",
        "was.gt": "{value}, was over {threshold}",
        "was.gte": "{value}, was at or over {threshold}",
        "was.lt": "{value}, was under {threshold}",
        "was.lte": "{value}, was at or under {threshold}",
        "was.eq": "{value}, was {threshold}",
        "side.none": "{value}",
        "value.none": "no value",
        "subject.none": "all services",
        "title.firing": "[{severity}] {subject}: {metric} {figure} (since {since})",
        "title.escalated": "[{severity}] {subject}: {metric} {figure} (since {since})",
        "title.updated": "[{severity}, changed] {subject}: {metric} {figure} (since {since})",
        "title.reminder": "[{severity}, still] {subject}: {metric} {figure} (since {since})",
        "title.resolved": "[resolved] {subject}: {metric} back to {value} after {duration}",
        "title.resolved.unknown": "[resolved] {subject}: {metric} recovered after {duration}",
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
        "lead.resolved.unknown": "{What} of {subject} has recovered. It lasted {duration}, "
        "from {since} to {ended}; the worst was {worst}.",
        "lead.expired": "{What} of {subject} is no longer judged: its data or its rule is gone. "
        "A recovery was not seen. It began at {since}; the worst was {worst}.",
        "lead.flapping": "{What} of {subject} crosses {threshold} again and again. Until it is "
        "steady, further messages are held back.",
        "lead.test": "This is a test message of trimtab. Nothing is wrong: the channel works.",
        "lead.digest": "More alerts came than this channel takes one by one. The most severe "
        "are first.",
        "lead.plain": "Its figures could not be written here; GET /alerts shows them, and "
        "GET /deliveries why.",
        "lead.merged": "It had begun and ended before a message could be delivered.",
        "lead.lost": "It comes here because no channel is named as its rule says: {names}.",
        "fact.rule": "Rule",
        "fact.value": "Now",
        "fact.worst": "Worst",
        "fact.threshold": "Threshold",
        "fact.since": "Since",
        "fact.ended": "Ended",
        "fact.duration": "Duration",
        "fact.environment": "Environment",
        "fact.service": "Service",
        "fact.route": "Route",
        "fact.instance": "Instance",
        "fact.version": "Version",
        "fact.agent": "Agent",
        "fact.part": "Part",
        "fact.slo": "Objective",
        "fact.promise": "Promise",
        "fact.budget": "Budget left",
        "fact.windows": "Burns over",
        "subject.agent": "agent {name}",
        "subject.part": "{name}",
        "subject.slo": 'objective "{name}"',
        "subject.other": "{name}",
        "promise.errors": "{target} of requests without an error, over {days} days",
        "promise.latency": "{target} of requests within {below} and without an error, "
        "over {days} days",
        "budget.left": "{share}",
        "budget.over": "none, it is overdrawn by {share}",
        "windows": "{long}, and still over the last {short}",
        "section.members": "Affected",
        "section.changes": "What changed with it",
        "section.hints": "What to look at",
        "section.description": "Note of the rule",
        "section.alerts": "Alerts",
        "section.commands": "Commands that show more",
        "section.pages": "Open",
        "member": "{where}: {value} ({severity}, since {since})",
        "more": "and {count} more",
        "mark.deploy": "deploy",
        "change.mark": "{at}: {mark} {name} {place} {detail}",
        "change.place": "of {place}",
        "change.share": "{share} of the change is {name} {detail}",
        "change.errors": "{share} of the errors are in {name} {detail}",
        "change.process": "{name} takes {share} of a core {detail}",
        "change.other": "{name} {detail}",
        "part.database": "database",
        "part.cache": "cache",
        "part.external": "calls to other services",
        "part.queue": "waiting for a worker",
        "part.app": "the app's own code",
        "part.gc": "garbage collection",
        "link.alert": "This alert",
        "link.rule": "Its rule",
        "link.thresholds": "Its threshold",
        "link.objectives": "Its objective",
        "link.advice": "Analysis and advice",
        "link.hosts": "The host around that time",
        "link.agents": "The agent",
        "link.service": "The service around that time",
        "link.route": "The route around that time",
        "link.list": "All alerts",
        "link.alerts": "Alerts there",
        "link.routes": "Routes there",
        "link.explain": "Why it is slow",
    },
    metrics={
        "responseTime": "response time p95",
        "errorRate": "error rate",
        **{name: f"response time {name}" for name in ("p50", "p90", "p95", "p99", "p999")},
        "mean": "mean response time",
        "max": "longest response time",
        "ttfb": "time to first byte",
        "queueTime": "wait for a worker",
        "requestsPerSecond": "request rate",
        "memoryUsage": "memory usage",
        "cpuUsage": "CPU usage",
        "networkUsage": "network usage",
        "diskUsage": "disk usage",
        "eventLoopDelay": "event loop delay",
        "queryTime": "query time p90",
        "externalTime": "external call time p95",
        "cacheHitRate": "cache hit rate",
        "spoolSize": "data waiting in the agent",
        "agentMemory": "agent memory",
        "agentSilence": "agent silence",
        "clockSkew": "clock skew",
        "serviceGone": "time without a process",
        "collectorTrouble": "collector trouble",
        "burnRate": "error budget burn rate",
        "analysis": "issues found by the analysis",
    },
    hints={
        **dict.fromkeys(
            ("responseTime", "p50", "p90", "p95", "p99", "p999", "mean", "max", "ttfb"), _SLOW
        ),
        "errorRate": (
            "GET /slow-requests?reason=failed shows exception, file and line of the failures.",
            "Compare versions: if only the newest one fails, roll it back.",
        ),
        "requestsPerSecond": (
            "Check whether clients, load balancer or health checks send something unusual.",
        ),
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
            "GET /explain?against=previous says which routes have more time in the app's own code.",
        ),
        "queryTime": (
            "GET /slow-queries names the statements with route, file and line.",
            "Look for missing indexes, repeated queries and waits for locks or connections.",
        ),
        "cacheHitRate": (
            "GET /cache shows hits and evictions: many evictions mean that the cache is too small.",
            "Look for a deploy that changed keys, or for an expiry that is too short.",
        ),
        "queueTime": ("Requests wait for a free worker: GET /metrics/current shows how many run.",),
        "externalTime": ("GET /external shows which host answers slowly, and with which status.",),
        "spoolSize": (
            "On that host: does `trimtab doctor` reach the collector, and is its key valid?",
            "GET /health shows whether the collector keeps up.",
        ),
        "agentSilence": (
            "On that host: does `trimtab agent` run, and does `trimtab doctor` reach it?",
        ),
        "serviceGone": (
            "On its host: look at the log of the app and of what starts it for why it ended.",
        ),
        "clockSkew": ("On that host: is time synchronised (chrony, systemd-timesyncd)?",),
        "collectorTrouble": ("GET /health says what is wrong, and the log of the collector why.",),
        "burnRate": ("GET /slos shows the budget, and how fast it burns.",),
        "burnRate.errors": (
            "GET /slow-requests?reason=failed shows exception, file and line of the failures.",
        ),
        "burnRate.latency": (
            "GET /routes?by=p95 names the routes that are slow.",
            "GET /explain?against=day says what requests take longer for than a day before.",
        ),
        "analysis": ("GET /analysis names each issue with evidence and recommendation.",),
        "": ("GET /metrics/history shows how it went before.",),
    },
    pages={
        "/explain?against=previous": 'the page of the service, under "Compared",',
        "/explain?against=day": 'the page of the service, "Compared" with the day before,',
        "/slow-requests": 'the page "Slow requests"',
        "/slow-requests?reason=failed": 'the page "Slow requests"',
        "/memory": 'the page "Memory and runtime"',
        "/system": 'the page "Hosts"',
        "/routes": 'the page of the service, under "Routes",',
        "/routes?by=totalTime": 'the page of a service, under "Routes" by share of time,',
        "/routes?by=p95": 'the page of the service, under "Routes" by p95,',
        "/slow-queries": 'the page "Databases"',
        "/cache": 'the page "Caches"',
        "/metrics/current": "the page of the service",
        "/external": 'the page "External calls"',
        "/health": 'the page "Agents"',
        "/slos": 'the page "Objectives"',
        "/analysis": 'the page "Advice"',
        "/metrics/history": 'the page "Your own metrics"',
        "/alerts": 'the page "Alerts"',
        "/deliveries": 'the page "Channels"',
    },
)
