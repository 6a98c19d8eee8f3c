"""Settings of PostgreSQL as the sessions of others get them: server, database and role together.

A session sees only its own values, and those it begins with depend on its role. So the values that
`ALTER DATABASE` and `ALTER ROLE` have set are read from the catalogue, for every role that is
connected to the database. What a session sets for itself afterwards nobody else can see.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

__all__ = ["session_defaults"]

_SETTINGS: Final[Mapping[str, str]] = {
    "statement_timeout": "postgresql.setting.statement_timeout",
    "jit": "postgresql.setting.jit",
}
#: reset_val is what the session began with, whatever it has set since
_SERVER: Final = """SELECT /* trimtab */ name, reset_val
FROM pg_catalog.pg_settings WHERE name = ANY(%s)"""
_ROLES: Final = """SELECT /* trimtab */ DISTINCT usesysid FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND usesysid IS NOT NULL
AND usesysid <> (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)"""
# Without a row of its own a database or role has what the server has.
_ALTERED: Final = """SELECT /* trimtab */ setdatabase <> 0, setrole, unnest(setconfig)
FROM pg_catalog.pg_db_role_setting WHERE setdatabase IN (0,
(SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database()))"""
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d|)")
_SECONDS: Final = {"us": 1e-6, "": 1e-3, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0,
                   "d": 86_400.0}  # fmt: skip
_ON: Final = frozenset({"on", "true", "yes", "1", "tru", "tr", "t", "ye", "y"})
#: a role that no row names
_NO_ROLE: Final = 0


def session_defaults(connection: Any) -> dict[str, float]:
    """Return settings by gauge: seconds, 0 for no limit; 1 for on, 0 for off.

    Of several roles that are connected the one with the longest time, none being the longest, and
    on if it is on for any. Without another role it is what a role without settings of its own
    gets. The connection must be new, and have none of these settings in its options. Raises
    psycopg.Error.
    """
    server = dict(connection.execute(_SERVER, (list(_SETTINGS),)).fetchall())
    roles = [role for (role,) in connection.execute(_ROLES).fetchall()] or [_NO_ROLE]
    altered = _altered(connection.execute(_ALTERED).fetchall())
    found = {}
    for name, gauge in _SETTINGS.items():
        texts = [_of_role(name, role, altered, server) for role in roles]
        values = [value for text in texts if (value := _number(name, text)) is not None]
        if values:
            longest = 0.0 if name != "jit" and 0.0 in values else max(values)
            found[gauge] = longest
    return found


_Altered = Mapping[tuple[bool, int, str], str]


def _altered(rows: Iterable[Sequence[Any]]) -> _Altered:
    """Return what was altered: in this database alone, role (0 for all), setting -> text."""
    found = {}
    for in_database, role, text in rows:
        name, _, value = text.partition("=")
        found[bool(in_database), int(role), name.lower()] = value
    return found


def _of_role(name: str, role: int, altered: _Altered, server: Mapping[str, str]) -> str | None:
    """Return what a new session of a role gets; the most particular counts."""
    for in_database, whose in ((True, role), (False, role), (True, _NO_ROLE), (False, _NO_ROLE)):
        if (text := altered.get((in_database, whose, name))) is not None:
            return text
    return server.get(name)


def _number(name: str, text: str | None) -> float | None:
    if text is None:
        return None
    text = text.strip().lower()
    if name == "jit":
        return float(text in _ON)
    found = _DURATION.fullmatch(text)
    return float(found[1]) * _SECONDS[found[2]] if found else None
