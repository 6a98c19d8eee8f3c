"""Starts `trimtab` as where it is installed by itself: without libraries of apps and of the tests.

    python -P lean.py collector

Some libraries load whatever they could use if it is installed: python-socketio the clients of every
message queue, PyJWT all of cryptography. A
collector has use for none of it, and in the environment of the tests, which has it all, that is
a third of what it takes to start.
"""

import runpy
import sys

__all__: list[str] = []

for name in (
    *("aio_pika", "kafka", "kombu", "redis", "requests", "valkey", "websocket", "zmq"),
    *("cryptography", "watchfiles"),
):
    sys.modules[name] = None  # type: ignore[assignment]
runpy.run_module("trimtab_core.console", run_name="__main__", alter_sys=True)
