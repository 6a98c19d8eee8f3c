"""Judges every window once, as soon as it has arrived, and sends off what is due to be told.

It follows the event clock: a step ends where a window ends. A window is judged when every agent
that writes has sent it, or five seconds after its end. After a pause the steps of the last five
minutes are made up for; what lies before them is not judged, and moves no alert.
"""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Protocol

from trimtab_collector.alerts.agents import Agents
from trimtab_collector.alerts.bodies import notice_of
from trimtab_collector.alerts.book import AlertBook
from trimtab_collector.alerts.incidents import Telling
from trimtab_collector.alerts.judge import Began, Judged, Outcome
from trimtab_collector.alerts.machine import Alert, labels_of
from trimtab_collector.alerts.reading import MetricReader, Signal
from trimtab_collector.alerts.rules import Rule, severity_of
from trimtab_collector.alerts.ruleset import RuleSet
from trimtab_collector.alerts.silences import SilenceBook
from trimtab_collector.checkedrows import CheckedConnection
from trimtab_collector.contract.alerts import SERVICE_GONE
from trimtab_collector.contract.callers import Caller, Role
from trimtab_collector.contract.health import AlertsHealth, HealthPart
from trimtab_collector.notify.notice import Change, Notice, Promise
from trimtab_collector.statefile import StateFile
from trimtab_collector.storage.columns import WINDOW_S
from trimtab_collector.storage.store import Received, Store
from trimtab_core.logs import RateLimited

__all__ = ["LIVE_ONLY", "Evaluator", "NoticeSink"]

logger = logging.getLogger("trimtab.alerts")

#: recipients of what is shown, and sent to no channel
LIVE_ONLY: Final = ("live",)
#: windows that have not arrived by then are judged without what is missing
_GRACE_S: Final = 5.0
_CATCH_UP_S: Final = 300
#: without a look for so long, this process was not there to hear anybody
_PAUSE_S: Final = 15
#: what is asked of this process itself is known for steps that ended within so long
_NOW_S: Final = 30
#: judging that is so far behind stands still
_STANDS_S: Final = 120
#: of a storm, what changed with the first is looked for: each costs reads of the store
_MOST_EXPLAINED: Final = 5
#: pause before a step that could not be written is made again
_AGAIN_S: Final = 1.0
#: signals that are how it is now, whatever step they are asked for
_OF_NOW: Final = ("collectorTrouble", "clockSkew", SERVICE_GONE)
#: left out within so long is a trouble
_LEFT_OUT_S: Final = 600
#: how often values of open alerts are written although nothing happened
_KEEP_S: Final = 60


class NoticeSink(Protocol):
    """Where notices go; see `notify.outbox.Outbox`."""

    def add(self, connection: CheckedConnection, notice: Notice) -> None:
        """Keep a notice for each channel, within the transaction."""

    def beat(self, connection: CheckedConnection, at_s: float) -> None:
        """Keep a heartbeat, within the transaction."""


#: what changed about a place, of a rule and its labels, since a time up to another
Explain = Callable[[Rule, Mapping[str, str], float, float], Sequence[Change]]
#: the objective that a rule is about, by its labels and a time, and the line that it crosses
Promised = Callable[[Rule, Mapping[str, str], float], tuple[Promise | None, float | None]]


class Evaluator:
    """A thread that judges; `start` and `stop` from the loop."""

    def __init__(
        self,
        store: Store,
        state: StateFile,
        rules: RuleSet,
        silences: SilenceBook,
        book: AlertBook,
        outbox: NoticeSink,
        *,
        signals: Sequence[Callable[[float], Iterable[Signal]]] = (),
        skews: Callable[[], Mapping[str, float]] = dict,
        explain: Explain = lambda rule, labels, from_s, to_s: (),
        promised: Promised = lambda rule, labels, at_s: (None, None),
        began: Began = lambda rule, labels: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._rules = rules
        self._silences = silences
        self._book = book
        self._outbox = outbox
        self._explain = explain
        self._promised = promised
        self._began = began
        self._clock = clock
        self._more_signals = signals
        self._skews = skews
        self.agents = Agents(state)
        self._reader = MetricReader(store, self._signals)
        self._log = RateLimited(logger)
        self._wake = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._kept_s = 0.0
        self._beaten_s = 0.0
        self._explained = 0
        #: why the last step was not judged, else empty
        self.trouble = ""
        self.steps = 0
        self.failures = 0
        #: CPU seconds of the last step
        self.step_cpu_s = 0.0
        store.on_commit(self._committed)
        book.silenced_now = lambda: self._silenced(self._clock())

    def start(self) -> None:
        """Begin to judge."""
        self._thread = threading.Thread(target=self._run, name="trimtab-alerts", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the step that is being judged, and no more."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def health(self, caller: Caller) -> HealthPart:
        """Return what `/health` shows; judging that stands still is a trouble.

        Sentences name files and rules: only those who may read are told.
        """
        judged_s = self._book.judged_s
        behind_s = None if judged_s is None else round(self._clock() - judged_s, 1)
        judge = self._book.judge
        trouble = self.trouble or self._rules.file.error or self._lost()
        if not trouble and judge.left_out and (judged_s or 0) - judge.left_out_s < _LEFT_OUT_S:
            trouble = "more series cross lines than there are places: some have no alert"
        told = "the log says why" if trouble and caller.role is Role.ANYONE else trouble
        body = AlertsHealth(
            trouble=told or None,
            steps=self.steps,
            failures=self.failures,
            behind=behind_s,
            step_cpu=round(1000 * self.step_cpu_s, 1),
            alerts_left_out=self._book.judge.left_out,
        )
        return HealthPart(body, bool(trouble) or (behind_s or 0) > _STANDS_S)

    def _lost(self) -> str:
        """Return which rule names recipients that nobody has, empty when none does."""
        lost = self._rules.lost()
        if not lost:
            return ""
        rule, names = lost[0]
        more = f", and {len(lost) - 1} more rules" if len(lost) > 1 else ""
        return (
            f"rule {rule.name!r:.80} names {', '.join(names):.200}, which is no channel{more}: its "
            "messages go to the channels that are on by default"
        )

    def step(self, t_s: int) -> Outcome:
        """Judge the step that ends at t_s; from one thread at a time."""
        self._rules.file.refresh()
        if lost := self._lost():
            self._log.warning("recipients", "%s", lost)
        begun = time.thread_time()
        rules = {rule.id: rule for rule in self._rules.rules() if rule.enabled}
        judged = self._read(list(rules.values()), t_s)
        missing, dismissed = self.agents.missing(t_s), self.agents.dismissed()
        silenced = self._silenced(t_s)

        def is_missing(labels: Mapping[str, str]) -> bool:
            named = [(name, labels[name]) for name in ("environment", "service") if name in labels]
            # A host is known by one agent: without it there is no value to be good.
            return bool(named) and any(
                all(text == (at[0] if name == "environment" else at[1]) for name, text in named)
                for at in missing
            )

        with self._book.lock:
            try:
                outcome = self._book.judge.step(
                    *(t_s, WINDOW_S, judged, silenced, is_missing, dismissed, self._began)
                )
                self._explained = 0
                notices = [self._notice(rule, telling, t_s) for rule, telling in outcome.tellings]
                self._keep(outcome, notices, t_s, dismissed)
            except BaseException:
                # Memory must not run ahead of what is kept: nobody would be told.
                self._book.reload()
                raise
        self.step_cpu_s = time.thread_time() - begun
        self.steps += 1
        known = {id(alert) for alert in outcome.changed}
        held = [alert for alert in outcome.held if id(alert) not in known]
        self._book.announce([*outcome.changed, *held], outcome.rules)
        self._silences.look(t_s)
        return outcome

    def _silenced(self, t_s: float) -> Callable[[Rule, Alert], bool]:
        """Return what says whether an alert is silent at a time."""
        matchers = self._silences.matchers(t_s)

        def silenced(rule: Rule, alert: Alert) -> bool:
            labels = {**labels_of(rule, alert), "metric": rule.metric, "rule": rule.id}
            labels["severity"] = severity_of(alert.level or 1)
            return any(matcher.matches(labels, t_s) for matcher in matchers)

        return silenced

    def _keep(
        self, outcome: Outcome, notices: Sequence[Notice], t_s: float, dismissed: Collection[str]
    ) -> None:
        every = [each for rows in self._book.judge.alerts.values() for each in rows.values()]
        # How long one has recovered counts on after a restart; other values may be a minute old.
        more = [each for each in every if each.recovered_s or each.below_s]
        minutely = abs(t_s - self._kept_s) >= _KEEP_S
        if minutely:
            self._kept_s = t_s
            more = every
        with self._state.change() as connection:
            self._book.keep(connection, outcome, t_s, more)
            self.agents.settle(connection, dismissed)
            if minutely:
                self._book.keep_expected(connection)
            for notice in notices:
                if notice.recipients != LIVE_ONLY:
                    self._outbox.add(connection, notice)
            if abs(t_s - self._beaten_s) >= _KEEP_S:
                self._beaten_s = t_s
                self._outbox.beat(connection, t_s)
        self._book.judged_s = t_s
        self.agents.keep(t_s)

    def _notice(self, rule: Rule, telling: Telling, t_s: float) -> Notice:
        changes: Sequence[Change] = ()
        promise, line = None, None
        explains = telling.kind in ("firing", "escalated") and self._explained < _MOST_EXPLAINED
        if telling.alerts:
            first = telling.alerts[0]
            labels = labels_of(rule, first)
            try:
                promise, line = self._promised(rule, labels, t_s)
                if explains:
                    self._explained += 1
                    changes = self._explain(rule, labels, first.since_s, t_s)
            except Exception:
                # What changed with it is a help; the message must not wait for it.
                self.failures += 1
                logger.exception("what changed could not be found rule=%s", rule.id)
        return notice_of(rule, telling, t_s, changes, promise, line)

    def _read(self, rules: Sequence[Rule], t_s: int) -> list[Judged]:
        """Return rules with their values; one that cannot be read has none, and costs itself."""
        try:
            return self._reader.at(rules, t_s)
        except Exception as error:  # noqa: BLE001 - said below, by the rule that fails
            self._log.warning("together", "rules are read one by one: %r", error)
        judged = []
        for rule in rules:
            try:
                judged += self._reader.at([rule], t_s)
            except Exception as error:  # noqa: BLE001 - a rule costs itself, logged and counted
                self.failures += 1
                self._log.warning(rule.id, "a rule is not judged: %r rule=%s", error, rule.id)
                judged.append(Judged(rule, None))
        return judged

    def _signals(self, now_s: float) -> Iterable[Signal]:
        # Steps that are made up for lie before a start: how this process fared there, nobody knows.
        lies_back = self._clock() - now_s > _NOW_S
        for ask in (self._of_agents, *self._more_signals):
            try:
                found = list(ask(now_s))
                yield from (each for each in found if not (lies_back and each.metric in _OF_NOW))
            except Exception as error:  # noqa: BLE001 - what cannot be known moves no alert
                self.failures += 1
                self._log.warning(repr(ask), "signals could not be asked for: %r", error)

    def _of_agents(self, now_s: float) -> Iterable[Signal]:
        return self.agents.signals(now_s, self._skews())

    def _committed(self, batches: Sequence[Received]) -> None:
        self.agents.note(batches)
        self._wake.set()

    def _run(self) -> None:
        looked_s = -float("inf")
        while not self._stopping:
            now_s = self._clock()
            try:
                if abs(now_s - looked_s) > _PAUSE_S:
                    # At the start, and after a pause of this process or machine.
                    self.agents.excuse(now_s)
                looked_s = now_s
                due_s = self.due()
            except Exception as error:  # noqa: BLE001 - as below
                self.failures += 1
                self.trouble = f"no step was found to judge: {error!r:.200}"
                self._log.warning("due", "no step was found to judge: %r", error)
                due_s = None
            if due_s is None:
                self._wake.wait(0.5)
                self._wake.clear()
                continue
            try:
                self.step(due_s)
                self.trouble = ""
            except sqlite3.Error as error:
                # The disk is full, or another process holds the file: the step is made again.
                self.failures += 1
                self.trouble = f"a step could not be written: {error}"
                self._log.warning("written", "a step could not be written: %s", error)
                self._wake.wait(_AGAIN_S)
                self._wake.clear()
            except Exception as error:
                # The step is not repeated: whatever is wrong with it must not stop the next one.
                self.failures += 1
                self.trouble = f"a step was not judged: {error!r:.200}"
                logger.exception("a step was not judged")
                self._book.judged_s = due_s
            # A step that takes long is no pause.
            looked_s = self._clock()

    def due(self) -> int | None:
        """Return the end of the step that is to be judged now, None when there is none."""
        now_s = self._clock()
        judged_s = self._book.judged_s
        newest_s = int(now_s) // WINDOW_S * WINDOW_S
        # A clock that was put back does not stop the judging until it has caught up.
        if judged_s is not None and judged_s > newest_s + WINDOW_S:
            with self._book.lock:
                self._book.judge.clamp(newest_s)
            self.agents.clamp(now_s)
            judged_s = None
        if judged_s is None:
            judged_s = newest_s - WINDOW_S
        oldest_s = newest_s - _CATCH_UP_S
        due_s = int(max(judged_s, oldest_s) // WINDOW_S * WINDOW_S + WINDOW_S)
        if due_s > newest_s:
            return None
        if now_s < due_s + _GRACE_S and not self.agents.are_complete(due_s):
            return None
        return due_s
