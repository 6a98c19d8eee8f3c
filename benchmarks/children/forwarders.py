"""Many agents as the collector sees them: forwarders and relays with spools, in one process.

    python forwarders.py URL KEY COUNT DIRECTORY

Each appends a batch to a spool of its own once a window of 10 seconds and sends it as an agent
does, with the same backing off. As windows of real agents, all end at the same moment; the batch
follows within the second that closing takes. Runs until stdin ends; then prints {"sent", "held"}.
"""

import asyncio
import json
import random
import secrets
import sys
import time
from pathlib import Path
from typing import Final

from trimtab_agent.forwarder import Forwarder, make_client
from trimtab_agent.relay import Relay
from trimtab_agent.spool.spool import Spool
from trimtab_core.batches import Batch, GaugeRow, encode, pack_series

STEP_S: Final = 10
GRACE_S: Final = 1.0


class One:
    """The sending half of an agent."""

    def __init__(self, url: str, key: str, number: int, directory: Path) -> None:
        self.name = f"agent-{number}"
        self.boot = secrets.token_bytes(8)
        self.seq = 0
        self.spool = Spool(directory / self.name, 2**20)
        sending, polling = make_client(url, key, ""), make_client(url, key, "")
        self.forwarder = Forwarder(self.spool, sending, STEP_S, lambda seconds: None, self.boot)
        self.relay = Relay(polling, self.name, lambda seconds: None, self.forwarder.reached)

    async def run(self) -> None:
        tasks = asyncio.gather(self.forwarder.run(), self.relay.run())
        # An agent's own moment within the second, and not the one of the process they share.
        lag_s = random.uniform(0.0, 0.3)
        try:
            while True:
                now = time.time()
                await asyncio.sleep(STEP_S - (now - GRACE_S - lag_s) % STEP_S)
                self.close_window()
        finally:
            tasks.cancel()

    def close_window(self) -> None:
        start_s = int(time.time() - GRACE_S) // STEP_S * STEP_S - STEP_S
        batch = Batch(
            agent=self.name,
            boot=self.boot,
            seq=self.seq,
            window_s=start_s,
            step_s=STEP_S,
            closed_us=time.time_ns() // 1000,
            series=pack_series(()),
            points=0,
            columns={},
            processes=(),
            gauges=(GaugeRow("", "", self.name, "system.cpu.utilization", 0.5),),
            live=False,
        )
        self.seq += 1
        self.spool.append(encode(batch), samples=0, window_s=start_s)
        self.forwarder.wake()


async def main() -> None:
    """Run all of them."""
    url, key, count, directory = sys.argv[1], sys.argv[2], int(sys.argv[3]), Path(sys.argv[4])
    ones = [One(url, key, number, directory) for number in range(count)]
    running = [asyncio.create_task(one.run()) for one in ones]
    print("{}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in running:
        task.cancel()
    held = sum(one.spool.stats.held_batches for one in ones)
    print(json.dumps({"sent": sum(one.forwarder.sent for one in ones), "held": held}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
