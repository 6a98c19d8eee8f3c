"""Django's statements are measured on SQLite and on PostgreSQL, once, with DEBUG and without."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from support.processes.servers import clean_environment

#: Django keeps its settings for the life of a process, so it has one of its own.
SHOP = """
import asyncio, json, sys
from django.conf import settings
sys.path.insert(0, sys.argv[1])
database, debug = json.loads(sys.argv[2]), json.loads(sys.argv[3])
settings.configure(DATABASES={"default": database}, DEBUG=debug, USE_TZ=True)
import django
django.setup()
from django.db import DatabaseError, connection, models
from django.db.backends.utils import CursorWrapper
from support.apps.deltas import Look, in_request
from trimtab.instrumentation import instrument, uninstrument

class Word(models.Model):
    text = models.CharField(max_length=50)
    class Meta:
        app_label = "shop"

originals = [vars(CursorWrapper)[name] for name in ("execute", "executemany")]
with connection.schema_editor() as editor:
    editor.create_model(Word)
instrument("django", "sqlite3", "psycopg")
look = Look()

def view():
    Word.objects.bulk_create([Word(text=f"hunter2 {number}") for number in range(3)])
    found = [Word.objects.get(pk=number % 3 + 1).text for number in range(6)]
    assert found[0] == "hunter2 0", found
    assert Word.objects.filter(pk__in=[1, 2, 3], text__contains="hunter2").update(text="b") == 3
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'hunter2' AS raw")
        assert cursor.fetchone() == ("hunter2",)
        cursor.executemany("INSERT INTO shop_word (text) VALUES (%s)", [("x",), ("y",)])
        try:
            cursor.execute("SELECT 'hunter2' FROM missing")
        except DatabaseError as error:
            failed = type(error).__name__

with in_request() as context:
    view()

async def asked():
    with in_request() as context:
        assert await Word.objects.acount() == 5
    return sum("COUNT" in text for _, _, _, text in context.spans)

asked_for = asyncio.run(asked())
uninstrument()
connection.close()
print(json.dumps({
    "statements": look("db.client.operation.duration", "db.query.text", "db.system.name",
                       "error.type"),
    "rows": look("trimtab.db.rows", "db.query.text"),
    "calls": context.db_calls, "notes": context.notes, "async": asked_for, "texts": look.texts(),
    "restored": [vars(CursorWrapper)[name] is original for name, original
                 in zip(("execute", "executemany"), originals)],
}))
"""


def run(tmp_path: Path, database: dict[str, Any], debug: bool) -> dict[str, Any]:
    program = tmp_path / "shop.py"
    program.write_text(SHOP)
    tests = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program), str(tests), json.dumps(database),
         json.dumps(debug)],
        capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path,
        env=clean_environment(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def check(found: dict[str, Any], system: str, failed: str) -> None:
    shapes = {text: count for count, (text, _, error) in found["statements"] if not error}
    assert shapes['SELECT "shop_word"."id", "shop_word"."text" FROM "shop_word" '
                  'WHERE "shop_word"."id" = ? LIMIT ?'] == 6  # fmt: skip
    assert shapes["SELECT ? AS raw"] == 1
    (update,) = [text for text in shapes if text.startswith("UPDATE")]
    assert '"shop_word"."id" IN (?)' in update
    assert shapes[update] == 1
    assert {each for _, (_, each, _) in found["statements"]} == {system}
    assert [text for _, (text, _, error) in found["statements"] if error == failed] == [
        "SELECT ? FROM missing"
    ]
    rows = {text: count for count, (text,) in found["rows"]}
    assert rows[update] == 3
    assert rows["INSERT INTO shop_word (text) VALUES (?)"] == 2
    assert "hunter2" not in found["texts"]
    assert found["async"] == 1
    # On a busy machine a query may be slow as well.
    (note,) = [each for each in found["notes"] if each["kind"] == "n_plus_one"]
    assert note["count"] == 6
    assert note["site"].startswith("shop.py:")
    assert found["restored"] == [True, True]


@pytest.mark.parametrize("debug", [False, True], ids=["plain", "debug"])
def test_the_orm_and_cursors_on_sqlite_are_measured_once(tmp_path: Path, debug: bool) -> None:
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db")}
    found = run(tmp_path, database, debug)
    check(found, "sqlite", "OperationalError")


def test_the_orm_and_cursors_on_postgresql_are_measured_once(
    tmp_path: Path, database_dsn: str
) -> None:
    parts = urlsplit(database_dsn)
    database = {
        "ENGINE": "django.db.backends.postgresql", "NAME": parts.path[1:], "USER": parts.username,
        "PASSWORD": parts.password, "HOST": parts.hostname, "PORT": parts.port,
    }  # fmt: skip
    check(run(tmp_path, database, debug=False), "postgresql", "ProgrammingError")
