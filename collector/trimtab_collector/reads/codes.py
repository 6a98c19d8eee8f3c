"""Requests by status code, as the API shows them: `404`, and words for what has no such number."""

from trimtab_collector.contract.statuscodes import OTHER_CODE, UNKNOWN_CODE
from trimtab_collector.storage.columns import Columns
from trimtab_collector.storage.statuses import no_statuses

__all__ = ["codes_of"]


def codes_of(columns: Columns) -> list[dict[str, int]]:
    """Return the requests of each point by status code; they add up to its requests.

    Codes are in ascending order; `other` and `unknown` come last.
    """
    requests = columns.value("requests").tolist()
    statuses = columns.statuses or no_statuses(len(requests))
    codes, counts = statuses.codes.tolist(), statuses.counts.tolist()
    found = []
    end = 0
    for size, total in zip(statuses.sizes.tolist(), requests, strict=True):
        begin, end = end, end + size
        row = {
            str(code): count
            for code, count in zip(codes[begin:end], counts[begin:end], strict=True)
            if code
        }
        # 0 is the lowest, so it is the first where there is one.
        if size and not codes[begin]:
            row[OTHER_CODE] = counts[begin]
        if rest := total - sum(row.values()):
            row[UNKNOWN_CODE] = rest
        found.append(row)
    return found
