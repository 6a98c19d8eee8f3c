"""The shape of the tree: who may import whom, how long a file may be, what no file may name.

The checker reads imports with `ast` and runs nothing. Its own tests plant small sources that break
each rule, so that a rule that stopped looking would be seen.
"""

import functools
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.architecture import (
    Source,
    circles,
    crossings,
    doubles,
    foreign,
    idle_arrows,
    imports,
    long_functions,
    type_checking,
)
from support.layers import LAYERS

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 400

#: package -> folder that holds it
PACKAGES = {
    "trimtab_core": "core",
    "trimtab": "middleware",
    "trimtab_agent": "agent",
    "trimtab_collector": "collector",
}
#: package -> third-party packages that its files may import at the top
THIRD_PARTY: Mapping[str, frozenset[str]] = {
    "trimtab_core": frozenset({"msgpack"}),
    "trimtab": frozenset(),
    "trimtab_agent": frozenset({"psutil", "httpx", "zstandard"}),
    "trimtab_collector": frozenset(
        {
            *("starlette", "uvicorn", "httpx", "msgspec", "numpy", "zstandard"),
            *("socketio", "jwt", "argon2", "aiosmtplib"),
        }
    ),
}
#: module -> what it may import at the top beyond its package's row
THIRD_PARTY_OF_MODULE: Mapping[str, frozenset[str]] = {
    "trimtab_core.batches": frozenset({"zstandard"}),
    "trimtab_core.decompression": frozenset({"zstandard"}),
    # They are imported late, by a module that says what is missing.
    **{
        f"trimtab_collector.top.{module}": frozenset({"rich"})
        for module in ("drawing", "printing", "tables")
    },
}

MAX_FUNCTION_LINES = 60
#: functions that are longer, each with the reason
FUNCTIONS_OVER_60: Mapping[str, str] = {
    "trimtab.asgi.wrap.trimtab_asgi": "the hot path: a call costs more than a long function",
    "trimtab_collector.storage.sqlite.engine.SQLiteStore.__init__": "puts the engine together",
}


def broken_rules(source: Source) -> list[str]:
    """Return what a module's imports do against the rules, a sentence each."""
    allowed = THIRD_PARTY[source.package] | THIRD_PARTY_OF_MODULE.get(source.module, frozenset())
    return foreign(source, PACKAGES, allowed) + type_checking(source)


@functools.cache
def sources() -> list[Source]:
    """Return every module of the four packages."""
    found = []
    for package, folder in PACKAGES.items():
        for path in sorted((ROOT / folder / package).rglob("*.py")):
            words = path.relative_to(ROOT / folder).with_suffix("").parts
            module = ".".join(words[:-1] if words[-1] == "__init__" else words)
            found.append(Source(module, path.read_text(encoding="utf-8")))
    return found


def files() -> list[Path]:
    """Return every file that git holds or would add; in a tree without git, every plain file."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=False)
    if done.returncode == 0:
        found = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    else:
        found = [
            path
            for path in ROOT.rglob("*")
            if not any(part.startswith(".") for part in path.relative_to(ROOT).parts[:-1])
        ]
    return sorted({path for path in found if path.is_file() and not path.is_symlink()})


#: Put together here, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a package registry": re.compile(
        "|".join(
            ["pypi" + r"\.org", "python" + "hosted", r"registry\.npm" + "js", "deb" + r"\.deb"]
        )
    ),
    "an index option": re.compile("--(extra-)?index" + "-url|--find" + "-links"),
    "a path of one machine": re.compile(r"(?<![\w.{}<>-])/(?:" + "wo" + "rk|ro" + r"ot)/[\w.]"),
    "a name of one user": re.compile(r"(?<![\w.-])/ho" + r"me/[a-z]\w*/"),
}


def forbidden_words(text: str) -> list[str]:
    """Return what a text names that no file may, with its line number."""
    return [
        f"line {number} names {what}"
        for number, line in enumerate(text.splitlines(), 1)
        for what, pattern in FORBIDDEN.items()
        if pattern.search(line)
    ]


# ---------------------------------------------------------------- the tree


def test_the_four_packages_are_where_they_are_looked_for() -> None:
    assert {source.package for source in sources()} == set(PACKAGES)


def test_arrows_run_to_core_only_and_third_party_imports_are_the_allowed_ones() -> None:
    assert [rule for source in sources() for rule in broken_rules(source)] == []


def test_no_module_imports_itself_on_a_detour() -> None:
    assert circles(sources()) == []


def test_within_a_package_arrows_run_as_the_table_of_layers_allows() -> None:
    assert crossings(sources(), LAYERS) == []


def test_the_table_of_layers_allows_nothing_that_no_import_needs() -> None:
    assert idle_arrows(sources(), LAYERS) == []


def test_every_row_of_the_table_of_layers_is_a_folder_or_module() -> None:
    modules = {source.module for source in sources()}
    rows = [f"{package}.{row}".rstrip(".*") for package, table in LAYERS.items() for row in table]
    folders = {module.rpartition(".")[0] for module in modules}
    assert [row for row in rows if row not in modules | folders] == []


def test_a_public_class_name_exists_once_and_in_the_collector_any_type_name() -> None:
    assert doubles(sources(), {"trimtab_collector"}) == []


def test_functions_are_short_but_for_those_with_a_reason() -> None:
    long = {
        name: lines
        for source in sources()
        for name, lines in long_functions(source, MAX_FUNCTION_LINES).items()
    }
    assert set(long) == set(FUNCTIONS_OVER_60), f"lines of long functions: {long}"


def test_the_services_of_the_demo_know_nothing_of_trimtab() -> None:
    services = [
        *(ROOT / "examples" / "shop").glob("*.py"),
        *(ROOT / "examples" / "library").glob("*.py"),
        ROOT / "examples" / "records.py",
    ]
    roots = {
        name.partition(".")[0]
        for path in services
        for _, name, _ in imports(path.read_text(encoding="utf-8"))
    }
    assert {"starlette", "flask", "datasette"} <= roots
    assert not roots & set(PACKAGES)


def test_no_python_file_is_longer_than_a_reader_keeps_in_mind() -> None:
    lengths = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in files()
        if path.suffix == ".py" or path == ROOT / "dev"
    }
    assert len(lengths) > 20
    long = [f"{path.relative_to(ROOT)}: {n} lines" for path, n in lengths.items() if n > MAX_LINES]
    assert long == [], f"at most {MAX_LINES} lines: split along a seam"


def test_no_file_names_a_registry_or_a_machine() -> None:
    found = []
    for path in files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found += [f"{path.relative_to(ROOT)}: {word}" for word in forbidden_words(text)]
    assert found == []


def test_constraints_hold_exact_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert pins
    assert [pin for pin in pins if not re.fullmatch(r"[a-z0-9-]+==[0-9][\w.]*", pin)] == []
    names = [pin.partition("==")[0] for pin in pins]
    assert names == sorted(set(names))


# ---------------------------------------------------------------- the checker


@pytest.mark.parametrize(
    ("module", "text", "word"),
    [
        ("trimtab.asgi", "from trimtab_agent import agent", "trimtab imports trimtab_agent"),
        ("trimtab_core.frames", "import trimtab", "trimtab_core imports trimtab"),
        ("trimtab_agent.cli", "def f():\n    import trimtab_collector.app", "only core is for all"),
        ("trimtab_agent.cli", "importlib.import_module('trimtab.run')", "only core is for all"),
        ("trimtab_core.frames", "import zstandard", "imports zstandard at its top"),
        ("trimtab.asgi", "try:\n    import msgpack\nexcept ImportError: pass", "imports msgpack"),
        ("trimtab_collector.app", "class A:\n    import redis", "imports redis at its top"),
        ("trimtab_agent.cli", "from . import agent", "by a relative name"),
        ("trimtab_agent.cli", "if typing.TYPE_CHECKING:\n    import httpx", "TYPE_CHECKING"),
        ("trimtab_agent.cli", "if TYPE_CHECKING:\n    pass", "TYPE_CHECKING"),
    ],
)
def test_the_checker_sees_a_planted_breach(module: str, text: str, word: str) -> None:
    found = broken_rules(Source(module, text))
    assert len(found) == 1
    assert word in found[0]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("trimtab_core.batches", "import zstandard, msgpack"),
        ("trimtab.templates", "def f():\n    from django.urls import resolve"),
        (
            "trimtab.asgi",
            "import os.path\nfrom trimtab import context, run\nimport trimtab_core",
        ),
        ("trimtab_collector.app", "import numpy as np\nfrom starlette.routing import Route"),
    ],
)
def test_the_checker_lets_the_allowed_pass(module: str, text: str) -> None:
    assert broken_rules(Source(module, text)) == []


def test_the_checker_sees_a_circle_also_one_hidden_in_a_function() -> None:
    planted = [
        Source("trimtab", "from trimtab.a import A"),
        Source("trimtab.a", "import trimtab.b"),
        Source("trimtab.b", "def late():\n    from trimtab import c"),
        Source("trimtab.c", "from trimtab.a import A"),
    ]
    assert circles(planted) == ["trimtab.a -> trimtab.b -> trimtab.c -> trimtab.a"]
    assert circles([*planted[:3], Source("trimtab.c", "import os")]) == []


def test_a_module_that_reads_names_from_its_own_face_is_in_a_circle() -> None:
    planted = [Source("trimtab", "from trimtab.a import A"), Source("trimtab.a", "import trimtab")]
    assert circles(planted) == ["trimtab -> trimtab.a -> trimtab"]


def test_the_checker_sees_registries_and_machines() -> None:
    planted = ["https://pypi" + ".org/simple", "--index" + "-url x", "cd /wo" + "rk/main", "plain"]
    found = forbidden_words("\n".join(planted))
    assert [line.partition(" names")[0] for line in found] == ["line 1", "line 2", "line 3"]


@pytest.mark.parametrize(
    ("module", "target"),
    [
        ("contract.body", "storage.store"),
        ("storage.columns", "contract.errors"),
        ("storage.columns", "storage.sqlite.engine"),
        ("storage.memory.engine", "storage.sqlite.engine"),
        ("storage.sqlite.engine", "storage.sqlite.upkeep.cli"),
        ("reads.routes", "storage.sqlite.engine"),
        ("reads.routes", "api.web"),
        ("reads.routes", "watch"),
        ("auth.access", "storage.store"),
        ("statefile", "auth.access"),
        ("ingest", "contract.body"),
        ("ingest", "storage.sqlite.engine"),
        ("api.web", "ingest"),
        ("api.web", "storage.columns"),
        ("api.web", "auth.keys"),
        ("app", "storage.memory.engine"),
        ("cli", "storage.sqlite.engine"),
        ("cli", "storage.sqlite.upkeep.files"),
        ("common", "app"),
    ],
)
@pytest.mark.parametrize("form", ["import {}", "def late():\n    import {}"], ids=["top", "late"])
def test_the_checker_sees_an_arrow_against_the_layers(module: str, target: str, form: str) -> None:
    name, target = f"trimtab_collector.{module}", f"trimtab_collector.{target}"
    others = [each for each in sources() if each.module != name]
    (found,) = crossings([*others, Source(name, form.format(target))], LAYERS)
    assert re.fullmatch(rf"{name}:\d imports {target}: \S+ may import .+", found)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("trimtab_agent.spool.files", "import trimtab_agent.forwarder"),
        ("trimtab_agent.probes.redis", "import trimtab_agent.listener"),
        ("trimtab_agent.gauges.host", "import trimtab_agent.settings"),
        ("trimtab_agent.spool.spool", "import trimtab_agent.window"),
        ("trimtab_agent.answers", "import trimtab_agent.probes.http"),
        ("trimtab_agent.settings", "import trimtab_agent.answers"),
        ("trimtab_agent.forwarder", "import trimtab_agent.probes.http"),
        ("trimtab_agent.new", "import trimtab_agent.app"),
        ("trimtab_agent.agent", "import trimtab_agent.gauges.host\nimport trimtab_agent.spool.no"),
        ("trimtab.templates.flask", "from trimtab.instrumentation import queries"),
        ("trimtab.metrics.metric", "import trimtab.sinks"),
        ("trimtab.metrics.measures", "import trimtab.runtime"),
        ("trimtab.metrics.new", "import trimtab.templates"),
        ("trimtab.runtime", "import trimtab.endings"),
        ("trimtab.recorder", "from trimtab.metrics import measures"),
        ("trimtab.tables", "import trimtab.settings"),
        ("trimtab.instrumentation.new", "from trimtab.endings import Endings"),
        ("trimtab.templates.new", "def late():\n    import trimtab.asgi"),
        ("trimtab.newcomer", "import trimtab.context"),
        ("trimtab.asgi", "import trimtab.servers"),
        ("trimtab.sinks.new", "import trimtab.servers"),
        ("trimtab.extra.new", "import os"),
    ],
)
def test_agent_and_middleware_have_layers_too(module: str, text: str) -> None:
    found = crossings([*sources(), Source(module, text)], LAYERS)
    assert len(found) == (0 if module == "trimtab_agent.agent" else 1)


@pytest.mark.parametrize("module", ["reads.zz", "ingest", "storage.zz", "storage.sqlite.zz", "cli"])
def test_an_engine_that_no_row_names_is_closed_to_all(module: str) -> None:
    storage, text = "trimtab_collector.storage", "from trimtab_collector.storage.{} import engine"
    engine = Source(f"{storage}.clickhouse.engine", text.format("sqlite"))
    breach = Source(f"trimtab_collector.{module}", text.format("clickhouse"))
    others = [source for source in sources() if source.module != breach.module]
    found = crossings([*others, Source(f"{storage}.clickhouse", ""), engine, breach], LAYERS)
    assert sorted(line.split(":")[0] for line in found) == sorted([breach.module, engine.module])


@pytest.mark.parametrize(
    ("rows", "way"),
    [
        ({"a": ("b",), "b": ("a",)}, "a -> b -> a"),
        ({"": ("a",), "a": ("",)}, "trimtab -> a -> trimtab"),
        ({"a": ("b.c",), "b": ("d",), "d": ("a",)}, "a -> b -> d -> a"),
        ({"a": (), "b": ("a",), "b.c": ("a", "b")}, ""),
        ({"a.low": (), "b": ("a.low",), "a": ("b", "a.low")}, ""),
    ],
)
def test_the_checker_sees_rows_that_name_each_other_also_on_a_detour(
    rows: Mapping[str, tuple[str, ...]], way: str
) -> None:
    wanted = [f"the table of layers lets trimtab run round: {way}"] if way else []
    assert crossings([], {"trimtab": rows}) == wanted


def test_the_checker_lets_arrows_pass_that_run_down_or_within_a_folder() -> None:
    text = (
        "from trimtab_collector.contract.body import Body\nimport trimtab_collector.reads.figures\n"
        "from trimtab_collector.storage import store, columns\nimport trimtab_core.sketch"
    )
    assert crossings([*sources(), Source("trimtab_collector.reads.new", text)], LAYERS) == []


def test_the_checker_sees_a_class_name_that_exists_twice() -> None:
    planted = [
        Source("trimtab.a", "class Point: ...\nclass _Row: ..."),
        Source("trimtab_agent.b", "class Point: ...\nclass _Row: ..."),
    ]
    assert doubles(planted) == ["Point is a class of trimtab.a and of trimtab_agent.b"]
    alias = Source("trimtab_collector.c", "Point = int\nclass _Row: ...\nPLACE = 1")
    assert doubles([planted[0], alias], ["trimtab_collector"]) == [
        "Point is a class of trimtab.a and of trimtab_collector.c"
    ]
    one, other = Source("trimtab.a", "_Row = int"), Source("trimtab.b", "class _Row: ...")
    assert doubles([one, other], ["trimtab"]) == ["_Row is a class of trimtab.a and of trimtab.b"]


def test_the_checker_counts_the_lines_of_a_function_without_those_within_it() -> None:
    inner = "    def inner():\n" + "        pass\n" * 50
    text = "class A:\n    x = 1\ndef outer():\n" + "    pass\n" * 40 + inner
    assert long_functions(Source("trimtab.a", text), 60) == {}
    assert long_functions(Source("trimtab.a", text), 45) == {"trimtab.a.outer.inner": 51}
    assert long_functions(Source("trimtab.a", text), 40) == {
        "trimtab.a.outer": 41, "trimtab.a.outer.inner": 51
    }  # fmt: skip
