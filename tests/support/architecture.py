"""What the tests of the architecture look with: modules as sources, and what breaks a rule.

Sources are read with `ast`; nothing of them is imported or run.
"""

import ast
import functools
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

__all__ = [
    "Import",
    "Layers",
    "Source",
    "circles",
    "crossings",
    "doubles",
    "foreign",
    "idle_arrows",
    "imports",
    "long_functions",
    "type_checking",
]

#: package -> its folders and modules -> those of the package that each may import; `folder.*`
#: stands for each folder in that folder
Layers = Mapping[str, Mapping[str, tuple[str, ...]]]


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


@functools.cache
def imports(text: str) -> tuple[Import, ...]:
    """Return each import; `from a import b` is `a.b`, for b may be a module."""
    return tuple(_imports(ast.parse(text), at_top=True))


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


def foreign(source: Source, packages: Iterable[str], allowed: Iterable[str]) -> list[str]:
    """Return imports of what is neither of the package, of core, nor allowed, a sentence each."""
    packages, allowed = set(packages), set(allowed)
    found = []
    for line, name, at_top in imports(source.text):
        where = f"{source.module}:{line}"
        root = name.partition(".")[0]
        if not root:
            found.append(f"{where} imports {name} by a relative name")
        elif root in packages:
            if root not in (source.package, "trimtab_core"):
                found.append(f"{where}: {source.package} imports {root}, only core is for all")
        elif at_top and root not in sys.stdlib_module_names and root not in allowed:
            found.append(f"{where} imports {root} at its top: import it where it is used")
    return found


def type_checking(source: Source) -> list[str]:
    """Return the TYPE_CHECKING blocks of a module, a sentence each."""
    return [
        f"{source.module}:{node.lineno} has a TYPE_CHECKING block"
        for node in ast.walk(ast.parse(source.text if "TYPE_CHECKING" in source.text else ""))
        if "TYPE_CHECKING" in (getattr(node, "id", ""), getattr(node, "attr", ""))
        and isinstance(node, ast.expr)
    ]


def circles(sources: Iterable[Source]) -> list[str]:
    """Return each module that reaches itself by imports, late ones too, with the way it takes."""
    texts = {source.module: source.text for source in sources}
    graph = {module: _modules(module, text, texts) for module, text in texts.items()}
    return [" -> ".join(way) for way in _rounds(graph)]


def _rounds(graph: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return ways along a graph's arrows that end where they begin; none if there is none."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(node: str, way: list[str]) -> None:
        if node in way:
            found.append([*way[way.index(node) :], node])
        elif node not in done:
            for target in sorted(graph[node]):
                visit(target, [*way, node])
            done.add(node)

    for node in sorted(graph):
        visit(node, [])
    return found


def _modules(module: str, text: str, known: Mapping[str, str]) -> set[str]:
    """Return the modules of ours that a text imports."""
    targets = {_target(name, known) for _, name, _ in imports(text)}
    return targets - {"", module}


def _target(name: str, known: Mapping[str, str]) -> str:
    """Return the module of ours that an imported name leads to: its longest known prefix."""
    # `from package import module` inside the package means the module, not the face.
    while name and name not in known:
        name = name.rpartition(".")[0]
    return name


def crossings(sources: Iterable[Source], layers: Layers) -> list[str]:
    """Return each import within a package that its row in the table does not allow.

    A module belongs to the row with the longest name that leads to it; the row of the empty name
    has the modules that lie in the package itself. A row names other rows, or modules of them; a
    table whose rows lead back to themselves is refused, too.
    """
    texts = {source.module: source.text for source in sources}
    layers = {package: _spread(package, layers[package], texts) for package in layers}
    found = [sentence for package, rows in layers.items() for sentence in _cycles(package, rows)]
    for module, text in texts.items():
        package, _, place = module.partition(".")
        rows = layers.get(package)
        if rows is None:
            continue
        row = _row(place, rows)
        if row is None:
            found.append(f"{module} has no row in the table of layers")
            continue
        for line, name, _ in imports(text):
            target = _target(name, texts)
            if target.partition(".")[0] != package:
                continue
            other = target.partition(".")[2]
            if _row(other, rows) not in (row, None) and not _allows(rows[row], other, rows):
                may = ", ".join(rows[row]) or "nothing"
                found.append(f"{module}:{line} imports {target}: {row or package} may import {may}")
    return found


def idle_arrows(sources: Iterable[Source], layers: Layers) -> list[str]:
    """Return each permission of the table that no import needs."""
    texts = {source.module: source.text for source in sources}
    found = []
    for package, rows in layers.items():
        spread = _spread(package, rows, texts)
        used: dict[str | None, set[str]] = {}
        for module, text in texts.items():
            if module.partition(".")[0] == package:
                places = {
                    name.partition(".")[2]
                    for name in _modules(module, text, texts)
                    if name.partition(".")[0] == package
                }
                used.setdefault(_row(module.partition(".")[2], spread), set()).update(places)
        found += [
            f"{package}.{row} may import {each}, and does not"
            for row, allowed in spread.items()
            for each in allowed
            if not any(_allows((each,), place, spread) for place in used.get(row, ()))
        ]
    return found


def _spread(
    package: str, rows: Mapping[str, tuple[str, ...]], modules: Iterable[str]
) -> Mapping[str, tuple[str, ...]]:
    """Return rows with one for each folder that `folder.*` stands for and no row names."""
    folders = {module.rpartition(".")[0] for module in modules}
    spread = {row: allowed for row, allowed in rows.items() if not row.endswith(".*")}
    for row in rows.keys() - spread.keys():
        for folder in folders:
            parent, _, name = folder.removeprefix(f"{package}.").rpartition(".")
            if parent == row.removesuffix(".*"):
                spread.setdefault(f"{parent}.{name}", rows[row])
    return spread


def _cycles(package: str, rows: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return each way on which a row may import itself."""
    # What a row names may be a module of another: it counts as that row.
    graph = {
        row: {other for each in allowed if (other := _row(each, rows)) is not None} - {row}
        for row, allowed in rows.items()
    }
    return [
        f"the table of layers lets {package} run round: "
        + " -> ".join(row or package for row in way)
        for way in _rounds(graph)
    ]


def _row(place: str, rows: Collection[str]) -> str | None:
    """Return the row that a place in a package belongs to, None when there is none."""
    leading = [row for row in rows if row and (place == row or place.startswith(f"{row}."))]
    if leading:
        return max(leading, key=len)
    return "" if "" in rows and "." not in place else None


def _allows(allowed: Iterable[str], place: str, rows: Collection[str]) -> bool:
    """Return whether one of the allowed leads to a place without going into another row."""
    row = _row(place, rows)
    return any(
        _row(each, rows) == row and (place == each or place.startswith(f"{each}.") or each == "")
        for each in allowed
    )


def doubles(sources: Iterable[Source], whole: Collection[str] = ()) -> list[str]:
    """Return each name of a public class that several modules define.

    Of the packages in `whole`, private classes and aliases of types count as well.
    """
    homes: dict[str, list[str]] = {}
    for source in sources:
        for node in ast.parse(source.text).body:
            name = _type_name(node, with_all=source.package in whole)
            if name:
                homes.setdefault(name, []).append(source.module)
    return [
        f"{name} is a class of {' and of '.join(modules)}"
        for name, modules in homes.items()
        if len(modules) > 1
    ]


def _type_name(node: ast.stmt, *, with_all: bool) -> str:
    """Return the name of the class that a statement defines, or with all of the alias; or none."""
    if isinstance(node, ast.ClassDef):
        return node.name if with_all or not node.name.startswith("_") else ""
    if with_all and isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        name = node.targets[0].id
        return name if name.lstrip("_")[:1].isupper() and not name.isupper() else ""
    return ""


def long_functions(source: Source, most: int) -> dict[str, int]:
    """Return functions with more lines than `most`, without those of functions within them."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, name: str) -> int:
        """Return how many lines the functions at or below a node take."""
        inner = name
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inner = f"{name}.{node.name}"
        below = sum(visit(child, inner) for child in ast.iter_child_nodes(node))
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return below
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines - below > most:
            found[inner] = lines - below
        return lines

    visit(ast.parse(source.text), source.module)
    return found
