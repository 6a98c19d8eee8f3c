"""A process that adds notices and sends them, to be killed at any moment.

    python notifychild.py DIRECTORY URL FIRST COUNT

Adds the notices FIRST to COUNT - 1 of four alerts, prints the number of each after its commit, and
"done" when all have left. Notices of one alert alternate between firing and resolved.
"""

import asyncio
import sys
from pathlib import Path

from support.notices import notice
from support.outboxes import ADMIN
from trimtab_collector.notify.addresses import AllowedHosts
from trimtab_collector.notify.channels import ChannelBook, parse_channel
from trimtab_collector.notify.notice import Notice
from trimtab_collector.notify.options import Sending
from trimtab_collector.notify.outbound import Outbound
from trimtab_collector.notify.outbox import Outbox
from trimtab_collector.notify.sender import Sender
from trimtab_collector.statefile import StateFile

__all__ = ["numbered"]

ALERTS = 4


def numbered(number: int) -> Notice:
    """Return a notice by its number in the run."""
    of_alert = number // ALERTS
    return notice("resolved" if of_alert % 2 else "firing", of_alert + 1, f"alert{number % ALERTS}")


def say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


async def main(directory: Path, url: str, first: int, count: int) -> None:
    """Run until all have left, or until killed."""
    state = StateFile(directory)
    book = ChannelBook(state)
    book.put(parse_channel("hook", {"kind": "webhook", "url": url}), ADMIN)
    outbox = Outbox(state, book)
    sender = Sender(outbox, book, Sending(Outbound(AllowedHosts.of(["127.0.0.1"]))))
    await sender.start()
    for number in range(first, count):
        with state.change() as connection:
            outbox.add(connection, numbered(number))
        say(f"{number}")
        await asyncio.sleep(0)
    while await asyncio.to_thread(outbox.waiting):
        await asyncio.sleep(0.01)
    await sender.stop()
    state.close()
    say("done")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
