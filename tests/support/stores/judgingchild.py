"""A child that stores windows and judges them, one after the other: to be killed and run again.

    python judgingchild.py DIRECTORY

Prints the end of each window once it is judged, and "end" when it is done. What it has judged is
not judged again by the next child; what it stored and did not judge is.
"""

import sys
from pathlib import Path

from support.clock import Clock
from support.stores.appending import append
from support.stores.batches import a_batch, key_of, point_of
from support.stores.engines import NOON
from trimtab_collector.alerts.book import AlertBook
from trimtab_collector.alerts.evaluator import Evaluator
from trimtab_collector.alerts.file import AlertsFile
from trimtab_collector.alerts.ruleset import RuleSet
from trimtab_collector.alerts.silences import SilenceBook
from trimtab_collector.auth.audit import AUDIT
from trimtab_collector.notify.channels import ChannelBook
from trimtab_collector.notify.outbox import Outbox
from trimtab_collector.statefile import StateFile
from trimtab_collector.storage.sqlite.engine import SQLiteStore

__all__ = ["EXPECTED", "WINDOWS"]

#: response times by window, ms: three times over the line, once over both
WINDOWS = [*[10] * 2, *[500] * 4, *[10] * 5, *[500] * 3, *[2000] * 4, *[10] * 5, *[500] * 4,
           *[10] * 5]  # fmt: skip
#: what is told, by the end of the window in seconds since the start
EXPECTED = [
    ("firing", "warning", 50),
    ("resolved", "warning", 90),
    ("firing", "warning", 140),
    ("escalated", "critical", 170),
    ("resolved", "critical", 210),
    ("firing", "warning", 260),
    ("resolved", "warning", 300),
]
RULES = """
[[rule]]
name = "slow"
metric = "responseTime"
warning = 100
critical = 1000
for = 20
keep_firing_for = 20
over = 10
[channels.hook]
kind = "webhook"
url = "https://hooks.example.com/alerts"
"""


def main() -> None:
    """Run until the end, or until killed."""
    directory = Path(sys.argv[1])
    (directory / "alerts.toml").write_text(RULES)
    clock = Clock(NOON)
    store = SQLiteStore(directory, clock=clock)
    state = StateFile(directory, (AUDIT,))
    file = AlertsFile(directory / "alerts.toml")
    rules, book = RuleSet(state, file), AlertBook(state)
    channels = ChannelBook(state)
    file.section("channels", channels.of_file)
    outbox = Outbox(state, channels, clock=clock)
    silences = SilenceBook(state)
    evaluator = Evaluator(store, state, rules, silences, book, outbox, clock=clock)
    file.start()
    # As its thread does at the start: nobody could be heard while there was no child.
    evaluator.agents.excuse(NOON + 10 * len(WINDOWS))
    for number, ms in enumerate(WINDOWS):
        end_s = NOON + 10 * (number + 1)
        clock.now_s = end_s
        point = point_of([1000 * ms] * 30)
        batch = a_batch(number, {key_of(): point}, window_s=end_s - 10, closed_us=end_s * 10**6)
        append(store, batch)
        if book.judged_s is None or end_s > book.judged_s:
            evaluator.step(end_s)
            sys.stdout.write(f"{end_s - NOON}\n")
            sys.stdout.flush()
    store.close()
    state.close()
    sys.stdout.write("end\n")


if __name__ == "__main__":
    main()
