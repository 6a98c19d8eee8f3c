"""The overview as it is asked: computed once for all who ask the same between two commits.

An answer is kept until something is committed or an alert changes, and in any case for forty times
as long as it took: of a store that never stands still one question takes a fortieth of a core at
most, however many dashboards ask it. It is never older than ten seconds, which is how often agents
write.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from trimtab_collector.contract.languages import LANG, language_of
from trimtab_collector.contract.overview import OVERVIEW_LIMIT, Overview, OverviewSentence
from trimtab_collector.contract.parameters import APDEX, Parameters
from trimtab_collector.keeping import Computed
from trimtab_collector.overview.findings import out_of_ordinary
from trimtab_collector.overview.happened import happened
from trimtab_collector.overview.sentence import Sentences
from trimtab_collector.overview.situation import Situation, Sources
from trimtab_collector.overview.standing import standing
from trimtab_collector.overview.tiles import tiles
from trimtab_collector.overview.wording import OverviewWords

__all__ = ["Overviews", "overview"]

#: answers that are kept, the latest asked
_KEPT: Final = 64
_LONGEST_S: Final = 10.0
_LOCKS: Final = 16
_OWNERS: Final = ("environment", "service")
_HOUR_S: Final = 3600


@dataclass(slots=True)
class _KeptOverview:
    """An answer, when it was made, and after which change."""

    computed: Computed[Overview]
    made_s: float
    change: int


class Overviews:
    """Answers for overviews; reading threads, `changed` from any."""

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.monotonic) -> None:
        self._sources = sources
        self._clock = clock
        self._guard = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], _KeptOverview] = OrderedDict()
        #: whoever asks what is being computed waits for it
        self._locks = [threading.Lock() for _ in range(_LOCKS)]
        self._change = 0

    def changed(self, _news: object = None) -> None:
        """Note that something was committed, or that an alert changed; quick."""
        # A change that is missed by a race is seen ten seconds later at most.
        self._change += 1

    def overview(self, parameters: Parameters) -> Overview:
        """Return the overview that parameters ask for; raises TooMuchError."""
        key = (
            *sorted(parameters.where.items()),
            *sorted((name, text) for name, text in parameters.given.items() if name != LANG.name),
            language_of(parameters),
        )
        with self._locks[hash(key) % _LOCKS]:
            kept = self._fresh(key)
            if kept is not None:
                return kept
            change = self._change
            computed = Computed.by(lambda: _compute(self._sources, parameters), self._clock)
            with self._guard:
                self._kept[key] = _KeptOverview(computed, self._clock(), change)
                self._kept.move_to_end(key)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return computed.value

    def sentence(
        self, parameters: Parameters, from_s: float | None = None, to_s: float | None = None
    ) -> OverviewSentence:
        """Return the sentence alone: of another range, or, without one, of the last hour."""
        values = {name: parameters.values.get(name) for name in (APDEX.name, LANG.name)}
        values = {name: value for name, value in values.items() if value is not None}
        where = {name: parameters.where[name] for name in _OWNERS if name in parameters.where}
        asked = replace(parameters, where=where, values=values)
        if from_s is not None and to_s is not None:
            asked = replace(asked, from_s=from_s, to_s=to_s)
            return _sentence(self._sources, asked)
        now_s = asked.now_s
        given = {name: text for name, text in parameters.given.items()
                 if name in (*_OWNERS, "tz", APDEX.name)}  # fmt: skip
        asked = replace(asked, from_s=now_s - _HOUR_S, to_s=now_s, given=given)
        return self.overview(asked).sentence

    def _fresh(self, key: tuple[Any, ...]) -> Overview | None:
        with self._guard:
            kept = self._kept.get(key)
            if kept is None:
                return None
            age_s = self._clock() - kept.made_s
            same = kept.change == self._change
            if age_s >= (_LONGEST_S if same else kept.computed.kept_s(longest_s=_LONGEST_S)):
                return None
            self._kept.move_to_end(key)
            return kept.computed.value


def overview(overviews: Overviews, parameters: Parameters) -> Overview:
    """Return the overview: one sentence, figures beside what is usual, services, what happened."""
    return overviews.overview(parameters)


def _compute(sources: Sources, parameters: Parameters) -> Overview:
    situation = Situation(sources, parameters)
    words = OverviewWords(language_of(parameters), parameters.tz, parameters.now_s)
    findings = out_of_ordinary(situation.observed)
    services = standing(situation, findings)
    limit = parameters.values.get(OVERVIEW_LIMIT.name, OVERVIEW_LIMIT.default)
    spans = situation.observed.spans
    return Overview(
        **spans.series.fields(),
        lately_from=parameters.shown(spans.start_s),
        lately_to=parameters.shown(spans.end_s),
        language=words.language,
        sentence=Sentences(situation, words, findings).choose(),
        tiles=tiles(situation, words),
        services=services[:limit],
        services_left_out=max(0, len(services) - limit),
        happened=happened(situation, words),
    )


def _sentence(sources: Sources, parameters: Parameters) -> OverviewSentence:
    situation = Situation(sources, parameters)
    words = OverviewWords(language_of(parameters), parameters.tz, parameters.now_s)
    return Sentences(situation, words, out_of_ordinary(situation.observed)).choose()
