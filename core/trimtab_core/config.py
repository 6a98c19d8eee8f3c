"""Settings of a process: defaults, then trimtab.toml, then the environment, then flags; later wins.

A settings class is a frozen dataclass whose fields are made by `setting`. Its section names the
table in the file (`[agent]`) and, with the field's name, the variable: field `data_dir` of section
`agent` is `TRIMTAB_AGENT_DATA_DIR` and the flag `--data-dir`. The app's own section is `app`; its
variables have no section (`TRIMTAB_SERVICE`). `<variable>_FILE` names a file to read a value from.

An unknown key in a file is an error with a suggestion; an unknown TRIMTAB_ variable is a warning,
because orchestrators inject such names.
"""

import dataclasses
import math
import os
import stat
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar, get_args, get_type_hints

from trimtab_core.errors import SettingsError

__all__ = [
    "Address",
    "Description",
    "data_directory",
    "default_socket",
    "describe",
    "from_table",
    "load",
    "parse_address",
    "setting",
    "shown",
    "state_directory",
    "variable",
]

_T = TypeVar("_T")
#: sun_path of a Unix socket address: 108 bytes with the final zero
MAX_SOCKET_PATH: Final = 107
_TRUE: Final = {"1", "true", "yes", "on"}
_FALSE: Final = {"0", "false", "no", "off"}


def setting(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    least: float | None = None,
    most: float | None = None,
    choices: Sequence[str] = (),
    secret: bool = False,
    restart: bool = True,
) -> Any:
    """Return a dataclass field for one setting; doc is one line, unit and bounds are checked.

    restart False says that the process applies a change when it reads its settings again.
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "least": least,
        "most": most,
        "choices": tuple(choices),
        "secret": secret,
        "restart": restart,
    }
    return dataclasses.field(default=default, metadata=metadata, repr=not secret)


def variable(section: str, name: str) -> str:
    """Return the environment variable of a setting."""
    middle = "" if section == "app" else f"{section.upper()}_"
    return f"TRIMTAB_{middle}{name.upper()}"


def load(
    settings: type[_T],
    section: str,
    *,
    file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
) -> tuple[_T, list[str]]:
    """Return the settings, and a list of warnings.

    file None means `TRIMTAB_CONFIG`, else ./trimtab.toml where there is one, which must be of root
    or this user. flags hold values of the command line, None for those that were not given. Raises
    SettingsError for a wrong value.
    """
    environ = os.environ if environ is None else environ
    warnings: list[str] = []
    values = _from_file(settings, section, file, environ)
    values.update(_from_environment(settings, section, environ, warnings))
    for name, value in (flags or {}).items():
        if value is not None and name in _fields(settings):
            values[name] = _convert(settings, name, value, f"--{name.replace('_', '-')}")
    return settings(**values), warnings


class Description(NamedTuple):
    """One row of the settings table of the docs."""

    name: str
    variable: str
    default: str
    unit: str
    doc: str


def describe(settings: type, section: str) -> list[Description]:
    """Return one row per setting, in the order of the class."""
    return [
        Description(
            field.name,
            variable(section, field.name),
            shown(field.default),
            field.metadata["unit"],
            field.metadata["doc"],
        )
        for field in dataclasses.fields(settings)
        if field.metadata
    ]


class Address(NamedTuple):
    """The address that apps connect to: `unix` with a path, or `tcp` with host and port."""

    kind: str
    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        if self.kind == "unix":
            return f"unix://{self.path}"
        return (
            f"tcp://[{self.host}]:{self.port}"
            if ":" in self.host
            else (f"tcp://{self.host}:{self.port}")
        )


def parse_address(text: str) -> Address:
    """Return the address in `unix:///path` or `tcp://host:port`; raises SettingsError.

    An IPv6 address stands in brackets.
    """
    kind, _, rest = text.partition("://")
    if kind == "unix" and rest.startswith("/"):
        length = len(os.fsencode(rest))
        if length > MAX_SOCKET_PATH:
            raise SettingsError(
                f"a socket path has at most {MAX_SOCKET_PATH} bytes, {rest!r} has {length}: "
                "choose a shorter directory"
            )
        return Address("unix", path=rest)
    if kind == "tcp":
        host, _, port = rest.rpartition(":")
        # Without brackets, the end of an IPv6 address would be taken for a port.
        bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        good = bool(bare) and (":" in bare) == (bare != host)
        if good and port.isascii() and port.isdecimal() and 0 < int(port) < 65536:
            return Address("tcp", host=bare, port=int(port))
    raise SettingsError(
        f"expected unix:///path or tcp://host:port, with an IPv6 host in brackets, got {text!r}"
    )


def state_directory(environ: Mapping[str, str] | None = None, part: str = "") -> str:
    """Return where trimtab, or a part of it, keeps what it writes for this user.

    It lies in `XDG_STATE_HOME`, else in ~/.local/state.
    """
    environ = os.environ if environ is None else environ
    state = environ.get("XDG_STATE_HOME") or os.path.join("~", ".local/state")
    return os.path.join(os.path.expanduser(state), "trimtab", part).rstrip(os.sep)


def data_directory(named: str, environ: Mapping[str, str] | None, part: str) -> str:
    """Return the absolute path of a directory that a setting names; empty for that of the part.

    A leading `~` is the home directory, for files and variables come here without a shell.
    """
    return str(Path(named or state_directory(environ, part)).expanduser().absolute())


def default_socket(environ: Mapping[str, str] | None = None) -> str:
    """Return the address used if none is set.

    It is /run/trimtab/agent.sock if this user can write to that directory, else a socket in the
    user's state directory; without Unix sockets it is TCP on loopback.
    """
    if os.name == "nt":
        return "tcp://127.0.0.1:8622"
    if os.access("/run/trimtab", os.X_OK | os.W_OK):
        return "unix:///run/trimtab/agent.sock"
    return f"unix://{state_directory(environ, 'agent.sock')}"


def _fields(settings: type) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(settings)}


def _from_file(
    settings: type,
    section: str,
    file: str | os.PathLike[str] | None,
    environ: Mapping[str, str],
) -> dict[str, Any]:
    named = file or environ.get("TRIMTAB_CONFIG")
    path = Path(named) if named else Path("trimtab.toml")
    if not named:
        if not path.is_file():
            return {}
        _check_owner(path)
    import tomllib  # late: an app without a file need not load it

    try:
        with path.open("rb") as stream:
            tables = tomllib.load(stream)
    except OSError as error:
        raise SettingsError(f"cannot read the settings file {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        # Of no TOML, no UTF-8, and numbers of thousands of digits.
        raise SettingsError(f"expected TOML in {path}, got: {error}") from error
    known = {"app", "agent", "collector"}
    for name in tables:
        if name not in known:
            raise SettingsError(f"{path}: unknown table [{name}]{_suggestion(name, known)}")
        if not isinstance(tables[name], dict):
            raise SettingsError(f"{path}: expected a table [{name}], got {tables[name]!r:.40}")
    return from_table(settings, tables.get(section, {}), f"{path}: [{section}]")


def _check_owner(path: Path) -> None:
    """Raise SettingsError unless a file that nobody named was written by root or this user.

    It says where keys and tokens are sent, and may lie in a directory of others, such as /tmp.
    """
    if os.name == "nt":
        return
    user, group = os.geteuid(), os.getegid()
    found = path.stat()
    foreign = {path.lstat().st_uid, found.st_uid} - {0, user}
    shared = found.st_mode & stat.S_IWGRP and found.st_gid != group
    if foreign or shared or found.st_mode & stat.S_IWOTH:
        got = f"a file of user {foreign.pop()}" if foreign else "one that others can write to"
        raise SettingsError(
            f"./{path}: expected a settings file of root or user {user} that nobody else can write "
            f"to, got {got}: it says where secrets are sent; chown it, chmod go-w it, or name it "
            "by TRIMTAB_CONFIG or --config"
        )


def from_table(settings: type, table: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the checked values of a table that a file or a request holds; where names it.

    Raises SettingsError with the key, what was expected and what came; a secret is not shown.
    """
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name not in _fields(settings):
            raise SettingsError(f"{where} {name} is unknown{_suggestion(name, _fields(settings))}")
        values[name] = _convert(settings, name, value, f"{where} {name}")
    return values


def _from_environment(
    settings: type, section: str, environ: Mapping[str, str], warnings: list[str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    names = {variable(section, name): name for name in _fields(settings)}
    for key, name in names.items():
        if key in environ:
            values[name] = _convert(settings, name, environ[key], key)
        elif f"{key}_FILE" in environ:
            path = environ[f"{key}_FILE"]
            try:
                text = Path(path).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{key}_FILE: cannot read {path!r}: {error}") from error
            values[name] = _convert(settings, name, text, f"{key}_FILE")
    prefix = variable(section, "")
    others = ("TRIMTAB_AGENT_", "TRIMTAB_COLLECTOR_") if section == "app" else ()
    reserved = {"TRIMTAB_CONFIG", *_RESERVED}
    for key in environ:
        if not key.startswith(prefix) or key.startswith(others) or key in reserved:
            continue
        if key.removesuffix("_FILE") not in names and key not in names:
            warnings.append(f"{key} is no setting of trimtab{_suggestion(key, names)}")
    return values


#: largest whole number of any setting
_MOST: Final = 2**53
#: Variables that trimtab sets for its own children, those of subcommands that ask a collector, and
#: that of the build.
_RESERVED: Final = (
    *("TRIMTAB_RUN", "TRIMTAB_RUN_CHAIN"),
    *("TRIMTAB_URL", "TRIMTAB_TOKEN"),
    "TRIMTAB_DASHBOARD",
)


def _convert(settings: type, name: str, value: Any, where: str) -> Any:
    hint = get_type_hints(settings)[name]
    meta = _fields(settings)[name].metadata
    if isinstance(hint, types.UnionType):
        hint = next(kind for kind in get_args(hint) if kind is not type(None))
    try:
        converted = _typed(hint, value, where)
    except SettingsError as error:
        if not meta["secret"]:
            raise
        wanted = str(error).partition(", got ")[0]
        raise SettingsError(f"{wanted}, got {type(value).__name__} (not shown)") from None
    if meta["choices"] and converted not in meta["choices"]:
        raise SettingsError(f"{where}: expected one of {meta['choices']}, got {converted!r}")
    least, most = meta["least"], meta["most"]
    if (least is not None and converted < least) or (most is not None and converted > most):
        bounds = f"at least {least}" if most is None else f"{least} to {most}"
        unit = f" {meta['unit']}" if meta["unit"] else ""
        raise SettingsError(f"{where}: expected {bounds}{unit}, got {converted!r}")
    return converted


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin = getattr(hint, "__origin__", hint)
    if origin is bool:
        if isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word in _TRUE | _FALSE:
            return word in _TRUE
        raise SettingsError(f"{where}: expected true or false, got {value!r}")
    if origin in (int, float):
        try:
            if isinstance(value, bool):
                raise ValueError
            told = origin(value.strip()) if isinstance(value, str) else value
            if isinstance(told, int) and abs(told) > _MOST:
                raise SettingsError(f"{where}: expected a number up to 2**53, got a larger one")
            number = origin(told)
            if not math.isfinite(number) or (isinstance(value, float) and number != value):
                raise ValueError
        except (ValueError, TypeError, OverflowError):
            kind = "a whole number" if origin is int else "a number"
            raise SettingsError(f"{where}: expected {kind}, got {value!r:.80}") from None
        return number
    if origin is tuple:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        if isinstance(value, (list, tuple)) and all(isinstance(part, str) for part in value):
            return tuple(value)
        raise SettingsError(f"{where}: expected a list of texts, got {value!r}")
    if not isinstance(value, str):
        raise SettingsError(f"{where}: expected a text, got {value!r}")
    return value


def _suggestion(name: str, known: Mapping[str, Any] | set[str]) -> str:
    from difflib import get_close_matches  # late: only a mistyped name needs it

    close = get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def shown(default: Any) -> str:
    """Return a default as the docs and --help show it."""
    if isinstance(default, bool):
        return "true" if default else "false"
    if isinstance(default, tuple):
        return ",".join(default) or "none"
    return str(default) if default not in ("", None) else "none"
