"""Datasette on a database of its own: `uvicorn --factory examples.records:create`.

RECORDS_DATA names the directory of the database (default `.cache/records`); it holds the same
tables as the shop's, seeded afresh.
"""

import os
from pathlib import Path
from typing import Any

from datasette.app import Datasette

from examples.shop.database import Database

__all__ = ["create"]


def create() -> Any:
    """Return Datasette's ASGI application."""
    database = Database(Path(os.environ.get("RECORDS_DATA", ".cache/records")))
    return Datasette(files=[str(database.path)], settings={"num_sql_threads": 2}).app()
