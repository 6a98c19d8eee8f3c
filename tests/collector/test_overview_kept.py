"""How long an overview is kept: computed once for all who ask the same."""

from collections.abc import Mapping

from support.clock import Clock
from support.stores.towns import LINES, NOW_S, FiredAlerts, steady, town
from trimtab_collector.overview.overviews import Overviews
from trimtab_collector.overview.situation import Sources


def test_an_answer_is_kept_while_nothing_comes_and_forty_times_as_long_as_it_took() -> None:
    clock, took_s = Clock(0), 0.1

    def lines() -> Mapping[str, tuple[float, float]]:
        clock.advance_s(took_s)
        return LINES

    with town() as place:
        place.fill(NOW_S - 1200, NOW_S, steady(place))
        sources = Sources(place.world.reader, place.world.marks, FiredAlerts(), lines)
        overviews = Overviews(sources, clock)
        parameters = place.parameters()

        def is_kept_for_s(after_s: float) -> bool:
            before = overviews.overview(parameters)
            clock.advance_s(after_s)
            return overviews.overview(parameters) is before

        assert is_kept_for_s(9.9)
        assert not is_kept_for_s(0.2)
        overviews.changed()
        assert is_kept_for_s(3.9)
        assert not is_kept_for_s(0.2)
        took_s = 5
        clock.advance_s(10)
        overviews.overview(parameters)
        overviews.changed()
        assert is_kept_for_s(9.9)
        assert not is_kept_for_s(0.2)
