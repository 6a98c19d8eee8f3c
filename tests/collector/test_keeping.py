"""How long what was computed is kept."""

from support.clock import Clock
from trimtab_collector.keeping import Computed


def test_what_took_long_is_kept_forty_times_as_long_within_its_limits() -> None:
    clock = Clock()

    def compute() -> str:
        clock.advance_s(0.25)
        return "found"

    found = Computed.by(compute, clock)
    assert (found.value, found.kept_s()) == ("found", 10.0)
    assert found.kept_s(shortest_s=20) == 20.0
    assert found.kept_s(longest_s=2) == 2.0
