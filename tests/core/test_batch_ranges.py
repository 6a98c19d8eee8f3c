"""Ranges of record numbers in a batch: no more, and no larger, than any process makes."""

import pytest

from trimtab_core.batches import MAX_RANGES, Batch, ProcessAccounting, decode, encode
from trimtab_core.errors import BatchError


def claiming(*ranges: tuple[int, int], sent: int = 0) -> Batch:
    process = ProcessAccounting(b"process0", "test", "shop", "pod#0", ranges, sent, {})
    return Batch("a", b"bootboot", 1, 10, 10, 0, processes=[process])


def test_a_batch_with_more_ranges_than_any_agent_makes_is_refused() -> None:
    many = [(2 * n, 1) for n in range(MAX_RANGES + 1)]
    assert decode(encode(claiming(*many[:-1]))).processes[0].ranges == many[:-1]
    with pytest.raises(BatchError, match=f"at most {MAX_RANGES} ranges"):
        decode(encode(claiming(*many)))


@pytest.mark.parametrize(
    "batch", [claiming((2**53 - 1, 2)), claiming((2**62, 1)), claiming(sent=2**53 + 1)]
)
def test_a_process_with_record_numbers_that_none_reaches_costs_itself(batch: Batch) -> None:
    assert decode(encode(claiming((2**53 - 1, 1), sent=2**53))).processes
    found = decode(encode(batch))
    assert (found.processes, len(found.malformed)) == ([], 1)
