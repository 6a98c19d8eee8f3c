"""What waits for an agent waits by time, within a bound, and is sent or counted as dropped."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.clock import Clock
from trimtab.events import EventQueue
from trimtab.metrics.backlog import BacklogWindow, MeasureBacklog
from trimtab.metrics.measures import Measures
from trimtab.pending import Pending
from trimtab_core.measures import COUNTER, Delta, MeasureKey
from trimtab_core.messages import Deltas, parse

BEGIN_S = 1_700_006_400
#: A window has the wall clock's seconds from here on; the monotonic clock began with it.
US = 1_000_000


class Waiting:
    """A backlog whose clocks the test moves; each of `add` comes a second after the one before."""

    def __init__(self, most_bytes: int = 2**30) -> None:
        self.mono = Clock(1000)
        self.offset_s = float(BEGIN_S - 1000)
        self.backlog = MeasureBacklog(
            most_bytes, lambda: (self.mono.ns + round(self.offset_s * 1e9), self.mono.ns)
        )

    def add(self, *names: str, is_all: bool = True, after_s: float = 1) -> None:
        self.mono.advance_s(after_s)
        self.backlog.add([(key(name), one()) for name in names], is_all=is_all)

    def taken(self, most: int = 1000) -> list[BacklogWindow]:
        found = []
        while (window := self.backlog.next(most, 10_000)) is not None:
            found.append(window)
        return found


def key(name: str) -> MeasureKey:
    return MeasureKey("hits", COUNTER, "1", (("name", name),))


def one() -> Delta:
    return Delta(1, 1.0, 0.0, 0.0, 1.0)


def spans(windows: list[BacklogWindow]) -> list[tuple[float, float, float]]:
    """Return begin and end in seconds since the beginning, and what was added."""
    return [
        (
            (window.begin_us + window.offset_us) / US - BEGIN_S,
            (window.end_us + window.offset_us) / US - BEGIN_S,
            sum(delta.sum for delta in window.deltas.values()),
        )
        for window in windows
    ]


def test_what_waits_is_in_windows_of_the_wall_clock() -> None:
    waiting = Waiting()
    for _ in range(30):
        waiting.add("a")
    assert spans(waiting.taken()) == [(0, 10, 10), (10, 20, 10), (20, 30, 10)]
    assert waiting.backlog.is_empty


def test_what_is_taken_just_after_the_end_of_a_window_belongs_to_it() -> None:
    waiting = Waiting()
    for after_s in (9, 0.9):
        waiting.add("a", after_s=after_s)
    assert not waiting.backlog.is_over
    waiting.mono.advance_s(0.3)
    assert waiting.backlog.is_over
    waiting.add("a", after_s=0)
    assert not waiting.backlog.is_over
    waiting.add("a", after_s=0.1)
    waiting.add("a", after_s=10)
    assert spans(waiting.taken()) == [
        (pytest.approx(7.6), 10, 3),
        (pytest.approx(10.2), 20, 2),
    ]


def test_what_is_sent_at_once_says_since_when_it_was_added() -> None:
    waiting = Waiting()
    for second in range(1, 6):
        waiting.add("a")
        assert spans(waiting.taken()) == [(second - 1, second, 1)]
    waiting.add()
    waiting.add("a")
    assert spans(waiting.taken()) == [(6, 7, 1)]


def test_a_jump_of_the_wall_clock_begins_another_window() -> None:
    waiting = Waiting()
    waiting.add("a", after_s=5)
    waiting.offset_s -= 3600
    waiting.add("a")
    first, second = waiting.taken()
    assert first.offset_us - second.offset_us == 3600 * US
    assert (first.begin_us, second.begin_us) == (1_003_600_000, 1005 * US)


def test_what_was_not_sent_to_its_end_goes_back_in_front() -> None:
    waiting = Waiting()
    for name in "abcdefghij":
        waiting.add(name)
    part = waiting.backlog.next(4, 1000)
    assert part is not None
    waiting.add("k")
    waiting.backlog.put_back(part)
    first, second = waiting.taken()
    assert [each.attributes[0][1] for each in first.deltas] == [*"abcdefghij"]
    assert spans([first, second]) == [(0, 10, 10), (10, 11, 1)]
    waiting.backlog.put_back(first)
    assert spans(waiting.taken()) == [(0, 10, 10)]


def test_over_the_bound_the_oldest_are_joined_to_minutes_then_to_hours() -> None:
    waiting = Waiting(20_000)
    for _ in range(2 * 3600):
        waiting.add("a", "b", "c")
        assert waiting.backlog.size_bytes <= 20_000
    found = spans(waiting.taken())
    assert waiting.backlog.dropped == 0
    assert sum(count for _, _, count in found) == 3 * 2 * 3600
    lengths = [round(end - begin) for begin, end, _ in found]
    assert lengths == sorted(lengths, reverse=True)
    assert 600 < lengths[0] <= 3600
    assert lengths[-1] == 10
    # A steady rate is one in each of them, and together they are the whole time.
    assert all(count == pytest.approx(3 * (end - begin)) for begin, end, count in found)
    assert sum(lengths) == 2 * 3600


def test_a_clock_that_jumps_to_and_fro_costs_nothing_that_a_steady_one_would_not() -> None:
    waiting = Waiting(20_000)
    for second in range(2 * 3600):
        waiting.offset_s += {3: 3600, 7: -3600}.get(second % 11, 0)
        waiting.add("a", "b", "c")
    assert waiting.backlog.size_bytes <= 20_000
    assert waiting.backlog.dropped == 0
    found = waiting.taken()
    assert sum(d.sum for window in found for d in window.deltas.values()) == 3 * 2 * 3600
    ends = [window.end_us for window in found]
    assert ends == sorted(ends)


def test_no_call_joins_or_drops_more_than_it_has_time_for() -> None:
    waiting = Waiting()
    for number in range(50):
        waiting.add(*(f"{number % 2} {each}" for each in range(200)), after_s=10)
    backlog = waiting.backlog
    backlog._most_bytes = 1_000_000
    before, calls = backlog.size_bytes, 0
    while backlog.size_bytes > 1_000_000:
        waiting.add(after_s=0.25)
        assert before - backlog.size_bytes < 100_000, "some 80 deltas of 800 bytes and names"
        before = backlog.size_bytes
        calls += 1
    assert 20 < calls < 1000


def test_when_nothing_can_be_joined_the_oldest_are_dropped_and_counted() -> None:
    waiting = Waiting(20_000)
    names = [f"{number}" for number in range(4000)]
    for name in names:
        waiting.add(name, after_s=10)
        assert waiting.backlog.size_bytes <= 20_000
    kept = [each.attributes[0][1] for window in waiting.taken() for each in window.deltas]
    assert kept == names[-len(kept) :]
    assert len(kept) + waiting.backlog.dropped == len(names)
    assert kept


def test_what_is_older_than_the_collector_takes_is_dropped_and_counted() -> None:
    waiting = Waiting()
    waiting.add("a")
    waiting.add("b", after_s=6 * 86_400 + 10)
    assert [[*window.deltas] for window in waiting.taken()] == [[key("b")]]
    assert waiting.backlog.dropped == 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from([0.05, 1.0, 1.25, 9.7, 600.0]),
            st.lists(st.sampled_from("abcdefgh"), max_size=4),
            st.sampled_from(["add", "add", "add", "part", "send", "back", "jump"]),
        ),
        max_size=60,
    )
)
def test_all_is_sent_once_or_counted_and_bytes_are_those_of_what_waits(
    history: list[tuple[float, list[str], str]],
) -> None:
    waiting = Waiting(6_000)
    added: Counter[str] = Counter()
    sent: Counter[str] = Counter()
    for after_s, names, then in history:
        added.update({*names})
        waiting.add(*{*names}, after_s=after_s, is_all=then != "part")
        waiting.offset_s -= 100 * (then == "jump")
        if then in ("send", "back") and (part := waiting.backlog.next(2, 1000)) is not None:
            if then == "back":
                waiting.backlog.put_back(part)
            else:
                sent.update({each.attributes[0][1]: d.count for each, d in part.deltas.items()})
    for window in waiting.taken(3):
        assert window.begin_us <= window.end_us <= window.limit_us
        sent.update({each.attributes[0][1]: delta.count for each, delta in window.deltas.items()})
    assert waiting.backlog.is_empty
    assert all(sent[name] <= added[name] for name in sent)
    if not waiting.backlog.dropped:
        assert sent == +added
    assert waiting.backlog.size_bytes <= 500, "an empty window goes on, at most"


def test_measures_that_wait_are_sent_by_their_time_the_oldest_first() -> None:
    clock = Clock(BEGIN_S)
    measures = Measures(clock)
    measures.backlog = MeasureBacklog(clocks_ns=lambda: (clock.ns, clock.ns))
    pending = Pending(measures, EventQueue())
    counter = measures.family("hits", COUNTER).at()
    for second in range(40):
        clock.advance_s(1)
        counter.add(second // 10)
        pending.gather(is_linked=False)
    assert pending.next_frame() is None, "there is nobody to send it to"
    pending.connected()
    pending.gather()
    found = []
    while (frame := pending.next_frame()) is not None:
        message = parse(frame)
        pending.sent()
        if isinstance(message, Deltas):
            ((_, delta),) = message.deltas
            found.append((message.wall_us // US - BEGIN_S, message.span_us // US, delta.sum))
    assert found == [(10, 10, 0), (20, 10, 10), (30, 10, 20), (40, 10, 30)]
    assert pending.is_empty


def test_an_emitter_without_an_agent_leaves_the_measures_to_one_that_has_one() -> None:
    measures = Measures()
    alone, linked = (Pending(measures, EventQueue()) for _ in range(2))
    counter = measures.family("hits", COUNTER).at()
    counter.add(1)
    alone.gather(is_linked=False)
    linked.connected()
    linked.gather()
    counter.add(2)
    alone.gather(is_linked=False)
    assert not linked.is_empty
    linked.gather()
    found = 0.0
    while (frame := linked.next_frame()) is not None:
        message = parse(frame)
        found += sum(d.sum for _, d in message.deltas) if isinstance(message, Deltas) else 0
        linked.sent()
    assert found == 3
