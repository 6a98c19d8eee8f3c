"""Tells faults of the disk, which pass by themselves, from faults of what is to be written."""

import sqlite3

__all__ = ["passes"]


def passes(error: Exception) -> bool:
    """Tell whether the same batch may be stored later: the disk or memory is at fault, not it."""
    if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError)):
        return False
    return isinstance(error, (sqlite3.DatabaseError, OSError, MemoryError))
