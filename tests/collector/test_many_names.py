"""Reads of very many names: groups are told apart as numbers, comparisons are bounded."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.stores.apiworld import World, world
from trimtab_collector.storage import dictionary
from trimtab_collector.storage.store import TooMuchError

codes = st.integers(0, 5)


@given(
    st.lists(st.tuples(codes, codes, codes), min_size=1, max_size=30), st.sampled_from([20, 2**62])
)
def test_groups_are_the_distinct_rows_in_order(rows: Sequence[tuple[int, ...]], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dictionary, "_MOST_CODES", most)
        columns = [np.array(column, np.int32) for column in zip(*rows, strict=True)]
        found, inverse = dictionary._distinct([(column, 6) for column in columns])
    groups = list(zip(*(column.tolist() for column in found), strict=True))
    assert groups == sorted(set(rows))
    assert [groups[place] for place in inverse.tolist()] == list(rows)


@pytest.fixture(scope="module")
def days(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("days")) as found:
        yield found


@pytest.mark.parametrize(("path", "most"), [*product(("/compare", "/explain"), (1, 20_000))])
def test_a_comparison_of_too_many_groups_says_how_to_ask_for_less(
    days: World, path: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trimtab_collector.reads.sides._MOST_GROUPS", most)
    if most > 1:
        assert days.ask(path, against="day")
        return
    with pytest.raises(TooMuchError, match="choose one service or environment"):
        days.ask(path, against="day")
