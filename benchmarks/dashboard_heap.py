"""Whether a page of the dashboard grows while it is open: its heap, counted by kind.

A heap snapshot tells what the page keeps from what the engine does: code that V8 compiles as it
gets to know the page, and what DevTools remembers of requests, are no part of the page.
"""

import json
from collections import Counter
from typing import Any, Final

from playwright.sync_api import Browser, CDPSession

import harness
from dashboard_pages import SERVICE, metrics, opened, settled, signed_in
from dashboard_world import World

__all__ = ["memory_rows"]

#: how much a page may have grown after half an hour
GROWTH: Final = 0.05
_HALF_HOUR_S: Final = 1800
_HURRY: Final = 10
#: kinds of nodes in a snapshot that are not the page's own
_ENGINE: Final = {"code", "hidden", "native", "synthetic", "object shape"}


def memory_rows(found: Browser, world: World, *, quick: bool = False) -> list[harness.Row]:
    """Return by how much a page has grown after half an hour of updates, in less time."""
    length_s = 60 if quick else _HALF_HOUR_S / _HURRY
    with signed_in(found, world, hurry=_HURRY, ticks=True) as context:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Performance.enable")
        asked = 0

        def count(request: Any) -> None:
            nonlocal asked
            asked += "/metrics/history" in request.url

        page.on("request", count)
        opened(page, world, f"{SERVICE}&from=-15m")
        settled(page)
        page.wait_for_timeout(length_s * 100)
        asked, kept, whole = 0, [_kept(session)], [metrics(session)]
        for part in range(3):
            harness.progress(f"heap: {part + 1} of 3 thirds of {length_s * _HURRY / 60:.0f} min")
            page.wait_for_timeout(length_s * 1000 / 3)
            kept.append(_kept(session))
            whole.append(metrics(session))
    own = [sum(sizes.values()) / 1e6 for sizes in kept]
    growth = own[-1] / own[0] - 1
    grown = (kept[-1] - kept[0]).most_common(3)
    texts = ", ".join(f"{each:.2f}" for each in own)
    more = "; ".join(
        f"{name} {', '.join(f'{each[name] / scale:.{digits}f}' for each in whole)}"
        for name, scale, digits in (
            ("JSHeapUsedSize", 1e6, 2), ("Nodes", 1, 0), ("JSEventListeners", 1, 0),
        )
    )  # fmt: skip
    return [
        harness.Row(
            "page grown after 30 minutes of updates", growth, "of its objects", f"<= {GROWTH:g}",
            growth <= GROWTH,
            note=f"objects, arrays, strings and functions after collection, at thirds: {texts} MB; "
            f"most of it: {', '.join(f'{name} {size / 1000:.0f} kB' for name, size in grown)}; "
            f"with the engine's code: {more}; {asked} histories asked, time passes {_HURRY} times "
            "as fast",
        )
    ]  # fmt: skip


def _kept(session: CDPSession) -> Counter[str]:
    """Return the bytes that the page keeps after collection, by kind."""
    parts: list[str] = []

    def add(event: dict[str, str]) -> None:
        parts.append(event["chunk"])

    session.on("HeapProfiler.addHeapSnapshotChunk", add)
    for _ in range(3):
        session.send("HeapProfiler.collectGarbage")
    session.send("HeapProfiler.takeHeapSnapshot", {"reportProgress": False})
    session.remove_listener("HeapProfiler.addHeapSnapshotChunk", add)
    snapshot = json.loads("".join(parts))
    meta = snapshot["snapshot"]["meta"]
    fields, kinds = meta["node_fields"], meta["node_types"][0]
    width, nodes = len(fields), snapshot["nodes"]
    kind_at, size_at = fields.index("type"), fields.index("self_size")
    sizes: Counter[str] = Counter()
    for place in range(0, len(nodes), width):
        kind = kinds[nodes[place + kind_at]]
        if kind not in _ENGINE:
            sizes[kind] += nodes[place + size_at]
    return sizes
