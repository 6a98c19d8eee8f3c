"""Where in the app's own code a call was made, or an exception was raised.

Frames of libraries, of Python's own modules and of trimtab are passed over; the verdict is kept by
file. What lies in site-packages is a library's, unless it was installed from a directory, as `pip
install .` does: the app's own distribution says so in `direct_url.json` (PEP 610). Paths are
relative to the working directory or to the innermost entry of sys.path that holds them, never
absolute: those name users and machines.
"""

import os
import sys
from collections.abc import Iterator
from types import CodeType, FrameType
from typing import Any, Final

import trimtab_core

__all__ = ["Finder", "Site", "caller", "describe", "raised_at"]

#: a frame of the app's own code: its file, line and function
Site = tuple[str, int, str]

_MOST_FILES: Final = 5000
_MOST_FRAMES: Final = 200
#: longest text of a site, in characters
_MOST_TEXT: Final = 256
#: exceptions looked at for one that was raised: members of groups, and causes
_MOST_ERRORS: Final = 20
#: trimtab itself, and Python's own modules
_OURS: Final = tuple(
    os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(path))), "")
    for path in (__file__, trimtab_core.__file__)
)
_FOREIGN: Final = (*_OURS, os.path.join(os.path.realpath(os.path.dirname(os.__file__)), ""))
_LIBRARIES: Final = ("/site-packages/", "/dist-packages/")
#: of distributions that were installed from a directory: files, and bytes of lists of files
_MOST_INSTALLED: Final = 20_000
_MOST_RECORD: Final = 4 * 1024 * 1024

#: file of a code object -> whether it is the app's own
_own: dict[str, bool] = {}
#: files in site-packages that are the app's own; None before one there was judged
_installed: frozenset[str] | None = None


class Finder:
    """Finds sites of calls that mostly come the same way, as those of one statement do."""

    __slots__ = ("_way",)

    def __init__(self) -> None:
        #: how many frames above it is, the code of the frame below it, its own code
        self._way: tuple[int, CodeType | None, CodeType | None] = (0, None, None)

    def find(self) -> Site | None:
        """Return the innermost frame of the app's own code, None if there is no such frame.

        Call it in the thread and context of the call in question. In a greenlet, the frames of the
        one that waits for it follow: SQLAlchemy's caller awaits there. 0.4 us where two frames
        are those of the last time; otherwise 0.1 us for each frame on the way.
        """
        above, below, own = self._way
        if above:
            try:
                frame = sys._getframe(above)
                if frame.f_code is own and sys._getframe(above - 1).f_code is below:
                    return own.co_filename, frame.f_lineno, own.co_name
            except ValueError:  # not that many frames
                pass
        return self._search()

    def _search(self) -> Site | None:
        frame: FrameType | None = sys._getframe(1)
        for above in range(_MOST_FRAMES):
            if frame is None:
                return _find_in_parent()
            code = frame.f_code
            if _is_own(code.co_filename):
                self._way = (above, sys._getframe(above).f_code, code) if above else self._way
                return code.co_filename, frame.f_lineno, code.co_name
            frame = frame.f_back
        return None


def _find_in_parent() -> Site | None:
    greenlet = sys.modules.get("greenlet")
    current: Any = greenlet.getcurrent().parent if greenlet is not None else None
    left = _MOST_FRAMES
    while current is not None:
        frame = current.gr_frame
        while frame is not None and left:
            code = frame.f_code
            if _is_own(code.co_filename):
                return code.co_filename, frame.f_lineno, code.co_name
            frame = frame.f_back
            left -= 1
        current = current.parent
    return None


def describe(site: Site | None) -> str:
    """Return `path/file.py:42 in function` for a site, the empty text for none."""
    if site is None:
        return ""
    path, line, function = site
    text = f"{_relative(path)}:{line} in {function}"[-_MOST_TEXT:]
    # A name that is not in the encoding of the file system could not be sent.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def caller(site: Site | None) -> str:
    """Return where the function of a site was called by the app's own code, the empty text if not.

    A helper that runs all queries of an app is the site of each of them. For the thread and context
    of the call in question.
    """
    frame: FrameType | None = sys._getframe(1)
    is_above = False
    for _ in range(_MOST_FRAMES):
        if frame is None or site is None:
            return ""
        code = frame.f_code
        if is_above and _is_own(code.co_filename):
            return describe((code.co_filename, frame.f_lineno, code.co_name))
        is_above = is_above or (code.co_filename, code.co_name) == (site[0], site[2])
        frame = frame.f_back
    return ""


def raised_at(error: BaseException) -> str:
    """Return the innermost line of the app's own code that an exception passed, as `describe` does.

    That is the line that raised it, or that called the library which did. It is the exception's
    own, not that of its cause. Where no code of the app is in its traceback, a member of the group
    that it may be tells, then its cause. Looks at 200 frames at most, from the outermost, and reads
    no source; 0.2 us for each, and 20 us for the text.
    """
    left = _MOST_FRAMES
    for each in _told_by(error):
        found: Site | None = None
        link = each.__traceback__
        while link is not None and left:
            code = link.tb_frame.f_code
            if _is_own(code.co_filename):
                found = code.co_filename, link.tb_lineno, code.co_name
            link = link.tb_next
            left -= 1
        if found is not None:
            return describe(found)
    return ""


def _told_by(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, members of it as a group, and what they were raised from."""
    waiting = [error]
    for _ in range(_MOST_ERRORS):
        if not waiting:
            return
        each = waiting.pop()
        yield each
        if each.__cause__ is not None:
            waiting.append(each.__cause__)
        if isinstance(each, BaseExceptionGroup):
            waiting.extend(reversed(each.exceptions[:_MOST_ERRORS]))


def _is_own(name: str) -> bool:
    found = _own.get(name)
    return _judge(name) if found is None else found


def _judge(name: str) -> bool:
    if len(_own) >= _MOST_FILES:
        _own.clear()
    if name.startswith("<"):
        own = False
    elif _is_installed(name):
        own = name in _own_installed() and not os.path.realpath(name).startswith(_OURS)
    else:
        own = not os.path.realpath(name).startswith(_FOREIGN)
    _own[name] = own
    return own


def _is_installed(name: str) -> bool:
    path = name.replace("\\", "/")
    return any(each in path for each in _LIBRARIES)


def _own_installed() -> frozenset[str]:
    """Return the files in site-packages that are the app's own; looked for once per process.

    It reads the disk for about 1 ms per 100 packages, and so does not read again.
    """
    global _installed
    if _installed is None:
        found: set[str] = set()
        for directory in dict.fromkeys(sys.path):
            if _is_installed(os.path.join(directory, "")):
                try:
                    found.update(_from_directories(directory))
                except (OSError, ValueError):
                    pass
        _installed = frozenset(found)
    return _installed


def _from_directories(directory: str) -> Iterator[str]:
    """Yield the modules in site-packages that were installed from a directory."""
    with os.scandir(directory) as entries:
        metadata = [each.path for each in entries if each.name.endswith(".dist-info")]
    left = _MOST_INSTALLED
    for path in metadata:
        try:
            with open(os.path.join(path, "direct_url.json"), encoding="utf-8") as file:
                if '"dir_info"' not in file.read(_MOST_RECORD):
                    continue
            with open(os.path.join(path, "RECORD"), encoding="utf-8") as file:
                names = [line.split(",", 1)[0] for line in file.read(_MOST_RECORD).splitlines()]
        except (OSError, ValueError):
            continue
        modules = [each for each in names if each.endswith(".py")][:left]
        left -= len(modules)
        yield from (os.path.join(directory, *each.split("/")) for each in modules)


def _relative(path: str) -> str:
    path = os.path.abspath(path)
    home = os.path.join(os.path.expanduser("~"), "")
    try:
        here = os.path.join(os.getcwd(), "")
    except OSError:
        here = ""
    # A path from above the homes would name the user.
    # An environment within the working directory says no more than the package in it.
    if (
        here
        and path.startswith(here)
        and not _is_installed(path)
        and (here == home or not home.startswith(here))
    ):
        return path[len(here) :]
    above = [
        prefix
        for prefix in (os.path.join(os.path.abspath(each), "") for each in sys.path if each)
        if path.startswith(prefix) and (prefix == home or not home.startswith(prefix))
    ]
    if above:
        return path[len(max(above, key=len)) :]
    return os.path.basename(path)
