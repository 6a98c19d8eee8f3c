"""Django: every statement of its ORM and of its cursors, whichever the database."""

from types import ModuleType
from typing import Any, Final

from trimtab.instrumentation.patching import Patches
from trimtab.instrumentation.queries import hooked, text_of

__all__ = ["patch"]

#: Django's name of a vendor -> OpenTelemetry's of the system, where they differ
_SYSTEMS: Final = {"oracle": "oracle.db", "microsoft": "microsoft.sql_server"}


def patch(module: ModuleType, patches: Patches) -> None:
    """Measure its cursors; the ones that DEBUG uses call these."""
    for name in ("execute", "executemany"):
        patches.replace(
            module.CursorWrapper, name, lambda original: hooked(original, _describe, _rows)
        )


def _describe(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[str, str]:
    wrapper = args[0]
    sql = args[1] if len(args) > 1 else kwargs["sql"]
    vendor: str = wrapper.db.vendor
    return _SYSTEMS.get(vendor, vendor), text_of(sql, wrapper.cursor)


def _rows(args: tuple[Any, ...], result: Any) -> int:
    rows: int = args[0].cursor.rowcount
    return rows
