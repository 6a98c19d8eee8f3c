"""Opens a store at a moment of its own and asks it once, in a fresh process.

Arguments: directory, epoch seconds, service. Prints {"open_s", "read_s"}.
"""

import json
import sys
import time
from pathlib import Path

from trimtab_collector.storage.columns import quantiles_us
from trimtab_collector.storage.sqlite.engine import SQLiteStore
from trimtab_collector.storage.store import Selection


def main() -> None:
    """Open, ask, print."""
    directory, now_s, service = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    begun = time.perf_counter()
    store = SQLiteStore(directory, clock=lambda: now_s)
    open_s = time.perf_counter() - begun
    begun = time.perf_counter()
    rows = store.read(Selection((now_s - 3600, now_s), ("route",), {"service": service}))
    quantiles_us(rows.columns, (0.99,))
    read_s = time.perf_counter() - begun
    print(json.dumps({"open_s": open_s, "read_s": read_s, "rows": len(rows.t)}), flush=True)
    store.close()


if __name__ == "__main__":
    main()
