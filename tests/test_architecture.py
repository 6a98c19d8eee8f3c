"""The shape of the tree: who may import whom, how long a file may be, what no file may name.

The checker reads imports with `ast` and runs nothing. Its own tests plant small sources that break
each rule, so that a rule that stopped looking would be seen.
"""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

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
        {"starlette", "uvicorn", "httpx", "msgspec", "numpy", "zstandard"}
    ),
}
#: module -> what it may import at the top beyond its package's row
THIRD_PARTY_OF_MODULE: Mapping[str, frozenset[str]] = {
    "trimtab_core.batches": frozenset({"zstandard"}),
}


#: what lies behind `storage/store.py`, and the modules that may know it
ENGINES = ("trimtab_collector.storage.sqlite", "trimtab_collector.storage.memory")
MAY_NAME_ENGINES = frozenset({"trimtab_collector.app", "trimtab_collector.cli"})


class Import(NamedTuple):
    """One import of a module; at_top means that importing the module runs it."""

    line: int
    name: str
    at_top: bool


class Source(NamedTuple):
    """A module of one of the four packages: its dotted name and its text."""

    module: str
    text: str

    @property
    def package(self) -> str:
        return self.module.partition(".")[0]


def imports(text: str) -> Iterator[Import]:
    """Yield each import; `from a import b` yields `a.b`, for b may be a module."""
    yield from _imports(ast.parse(text), at_top=True)


def _imports(node: ast.AST, *, at_top: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(child.lineno, alias.name, at_top)
        elif isinstance(child, ast.ImportFrom):
            prefix = "." * child.level + (child.module or "")
            for alias in child.names:
                yield Import(child.lineno, f"{prefix}.{alias.name}", at_top)
        elif isinstance(child, ast.Call) and _is_late_import(child):
            argument = child.args[0]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                yield Import(child.lineno, argument.value, False)
        function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from _imports(child, at_top=at_top and not function)


def _is_late_import(call: ast.Call) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__") and bool(call.args)


def broken_rules(source: Source) -> list[str]:
    """Return what a module's imports do against the rules, a sentence each."""
    allowed = THIRD_PARTY[source.package] | THIRD_PARTY_OF_MODULE.get(source.module, frozenset())
    found = []
    for line, name, at_top in imports(source.text):
        where = f"{source.module}:{line}"
        root = name.partition(".")[0]
        if not root:
            found.append(f"{where} imports {name} by a relative name")
        elif root in PACKAGES:
            if root not in (source.package, "trimtab_core"):
                found.append(f"{where}: {source.package} imports {root}, only core is for all")
        elif at_top and root not in sys.stdlib_module_names and root not in allowed:
            found.append(f"{where} imports {root} at its top: import it where it is used")
    found += [
        f"{source.module}:{node.lineno} has a TYPE_CHECKING block"
        for node in ast.walk(ast.parse(source.text))
        if "TYPE_CHECKING" in (getattr(node, "id", ""), getattr(node, "attr", ""))
        and isinstance(node, ast.expr)
    ]
    return found


def circles(sources: Iterable[Source]) -> list[str]:
    """Return each module that reaches itself by imports, late ones too, with the way it takes."""
    texts = {source.module: source.text for source in sources}
    graph = {module: _modules(module, text, texts) for module, text in texts.items()}
    found: list[str] = []
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> None:
        if module in way:
            found.append(" -> ".join([*way[way.index(module) :], module]))
        elif module not in done:
            for target in sorted(graph[module]):
                visit(target, [*way, module])
            done.add(module)

    for module in sorted(graph):
        visit(module, [])
    return found


def _modules(module: str, text: str, known: Mapping[str, str]) -> set[str]:
    """Return the modules of ours that a text imports: the longest known prefix of each name."""
    targets = set()
    for _, name, _ in imports(text):
        while name and name not in known:
            name = name.rpartition(".")[0]
        # `from package import module` inside the package means the module, not the face.
        if name and name != module:
            targets.add(name)
    return targets


def named_engines(sources: Iterable[Source]) -> list[str]:
    """Return each import of an engine of the store by a module that is to know the seam alone.

    No engine knows another one, either.
    """
    return [
        f"{source.module}:{line} imports {name}"
        for source in sources
        if source.module not in MAY_NAME_ENGINES
        for line, name, _ in imports(source.text)
        for engine in ENGINES
        if name.startswith(engine) and not source.module.startswith(engine)
    ]


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


def test_only_the_app_and_the_console_name_an_engine() -> None:
    assert named_engines(sources()) == []


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


def test_the_checker_sees_who_names_an_engine() -> None:
    late = "def f():\n    from trimtab_collector.storage.sqlite.engine import SQLiteStore"
    memory = "from trimtab_collector.storage.memory import engine"
    planted = [
        Source("trimtab_collector.reads.routes", late),
        Source("trimtab_collector.storage.sqlite.engine", memory),
        Source("trimtab_collector.storage.memory.engine", memory),
        Source("trimtab_collector.app", late),
    ]
    assert [line.partition(":")[0] for line in named_engines(planted)] == [
        "trimtab_collector.reads.routes",
        "trimtab_collector.storage.sqlite.engine",
    ]


def test_the_checker_sees_registries_and_machines() -> None:
    planted = ["https://pypi" + ".org/simple", "--index" + "-url x", "cd /wo" + "rk/main", "plain"]
    found = forbidden_words("\n".join(planted))
    assert [line.partition(" names")[0] for line in found] == ["line 1", "line 2", "line 3"]
