"""Settings: what wins over what, what is converted, and what each wrong one says."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from trimtab_agent.settings import AgentSettings
from trimtab_agent.settings import resolve as resolve_agent
from trimtab_collector.settings import load as load_collector
from trimtab_core.config import (
    Address,
    default_socket,
    describe,
    load,
    parse_address,
    setting,
)
from trimtab_core.errors import SettingsError
from trimtab_core.flags import add_flags


@dataclass(frozen=True, slots=True)
class Sample:
    """One setting of every kind."""

    data_dir: str = setting("/var", "where data lies")
    port: int = setting(80, "port", least=1, most=65535)
    wait_s: float = setting(1.5, "wait", unit="s", least=0)
    strict: bool = setting(False, "be strict")
    names: tuple[str, ...] = setting((), "some names")
    mode: str = setting("a", "mode", choices=("a", "b"))
    key: str = setting("", "a key", secret=True)


def loaded(environ: dict[str, str] | None = None, **options: object) -> Sample:
    environ = {"TRIMTAB_CONFIG": os.devnull, **(environ or {})}
    return load(Sample, "agent", environ=environ, **options)[0]  # type: ignore[arg-type]


def refused(environ: dict[str, str] | None = None, **options: object) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(environ, **options)
    return str(caught.value)


@pytest.fixture
def file(tmp: Path) -> Path:
    return tmp / "trimtab.toml"


@pytest.mark.parametrize(
    ("mode", "good"), [(0o600, True), (0o644, True), (0o664, True), (0o646, False), (0o666, False)]
)
def test_the_file_of_the_working_directory_must_not_be_writable_by_others(
    file: Path, monkeypatch: pytest.MonkeyPatch, mode: int, good: bool
) -> None:
    file.write_text("[agent]\nport = 7\n")
    file.chmod(mode)
    os.chown(file, -1, os.getegid())
    monkeypatch.chdir(file.parent)
    if good:
        assert load(Sample, "agent", environ={})[0].port == 7
        return
    with pytest.raises(SettingsError, match="one that others can write to: it says where secrets"):
        load(Sample, "agent", environ={})
    # Who names a file vouches for it.
    assert load(Sample, "agent", environ={"TRIMTAB_CONFIG": "trimtab.toml"})[0].port == 7


@pytest.mark.parametrize("is_link", [False, True], ids=["file", "link"])
def test_the_file_of_the_working_directory_must_be_of_root_or_this_user(
    file: Path, monkeypatch: pytest.MonkeyPatch, is_link: bool
) -> None:
    user = os.geteuid()
    if is_link:
        (file.parent / "own.toml").write_text("[agent]\nport = 7\n")
        file.symlink_to("own.toml")
    else:
        file.write_text("[agent]\nport = 7\n")
    monkeypatch.chdir(file.parent)
    assert load(Sample, "agent", environ={})[0].port == 7
    if user:
        # Only root can give a file to another user: be another one instead.
        monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    else:
        os.chown(file, 65534, -1, follow_symlinks=False)
    with pytest.raises(
        SettingsError, match=r"expected a settings file of root or user .* a file of"
    ):
        load(Sample, "agent", environ={})


def test_later_sources_win_default_file_environment_flag(file: Path) -> None:
    file.write_text('[agent]\nport = 1\nwait_s = 2\ndata_dir = "/file"\n')
    environ = {"TRIMTAB_AGENT_PORT": "2", "TRIMTAB_AGENT_WAIT_S": "3"}
    got = loaded(environ, file=file, flags={"port": "3", "data_dir": None})
    assert (got.strict, got.data_dir, got.wait_s, got.port) == (False, "/file", 3.0, 3)


def test_the_file_is_named_by_a_variable_or_lies_here(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text("[agent]\nport = 7\n")
    assert load(Sample, "agent", environ={"TRIMTAB_CONFIG": str(file)})[0].port == 7
    monkeypatch.chdir(file.parent)
    assert load(Sample, "agent", environ={})[0].port == 7
    file.unlink()
    assert load(Sample, "agent", environ={})[0].port == 80


def test_a_file_that_was_named_must_be_there(tmp: Path) -> None:
    assert "cannot read the settings file" in refused(file=tmp / "none.toml")


def test_a_value_can_come_from_a_file_of_its_own(tmp: Path) -> None:
    (tmp / "key").write_text("  s3cret\n")
    assert loaded({"TRIMTAB_AGENT_KEY_FILE": str(tmp / "key")}).key == "s3cret"
    both = {"TRIMTAB_AGENT_KEY_FILE": str(tmp / "key"), "TRIMTAB_AGENT_KEY": "direct"}
    assert loaded(both).key == "direct"
    missing = refused({"TRIMTAB_AGENT_KEY_FILE": str(tmp / "none")})
    assert missing.startswith("TRIMTAB_AGENT_KEY_FILE: cannot read")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[agent]\nprot = 1", "[agent] prot is unknown; did you mean port?"),
        ("[agnet]\nport = 1", "unknown table [agnet]; did you mean agent?"),
        ("port = 1", "unknown table [port]"),
        ("[agent]\nport = ", "expected TOML in"),
        ("[agent]\nport = 'many'", "[agent] port: expected a whole number, got 'many'"),
        ("[agent]\nport = true", "[agent] port: expected a whole number, got True"),
        ("[agent]\nport = 1.5", "[agent] port: expected a whole number, got 1.5"),
        ("[agent]\nport = 0", "[agent] port: expected 1 to 65535, got 0"),
        ("[agent]\nnames = [1]", "[agent] names: expected a list of texts"),
        ("[agent]\nkey = 3", "[agent] key: expected a text, got int (not shown)"),
        ("agent = 3", "expected a table [agent]"),
        ("[[agent]]\nport = 1", "expected a table [agent]"),
        ("\udcff", "expected TOML in"),
        ("[agent]\nport = " + "9" * 5000, "expected TOML in"),
        ("[agent]\nport = 0x" + "f" * 5000, "[agent] port: expected a number up to 2**53"),
        ("x = " + "[" * 5000, "expected TOML in"),
    ],
)
def test_what_is_wrong_in_the_file_is_said_with_its_place(
    file: Path, text: str, words: str
) -> None:
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    message = refused(file=file)
    assert words in message
    assert str(file) in message


def test_another_parts_table_is_not_ours_to_check(file: Path) -> None:
    file.write_text("[collector]\nwhatever = 1\n[app]\nport = 'x'\n")
    assert loaded(file=file) == Sample()


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("PORT", "70000", "TRIMTAB_AGENT_PORT: expected 1 to 65535, got 70000"),
        ("PORT", "", "expected a whole number, got ''"),
        ("PORT", "9" * 5000, "expected a whole number, got '999"),
        ("WAIT_S", "-1", "expected at least 0 s, got -1.0"),
        ("WAIT_S", "nan", "expected a number, got 'nan'"),
        ("WAIT_S", "inf", "expected a number, got 'inf'"),
        ("STRICT", "maybe", "expected true or false, got 'maybe'"),
        ("MODE", "c", "expected one of ('a', 'b'), got 'c'"),
    ],
)
def test_what_is_wrong_in_a_variable_is_said_with_its_name(
    name: str, value: str, words: str
) -> None:
    assert words in refused({f"TRIMTAB_AGENT_{name}": value})


@pytest.mark.parametrize("word", ["1", "true", "YES", " on "])
def test_words_for_true(word: str) -> None:
    assert loaded({"TRIMTAB_AGENT_STRICT": word}).strict is True


@pytest.mark.parametrize("word", ["0", "False", "no", "off"])
def test_words_for_false(word: str) -> None:
    assert loaded({"TRIMTAB_AGENT_STRICT": word}, flags={}).strict is False


def test_a_list_is_separated_by_commas(file: Path) -> None:
    assert loaded({"TRIMTAB_AGENT_NAMES": "a, b,,c "}).names == ("a", "b", "c")
    file.write_text('[agent]\nnames = ["x", "y"]\n')
    assert loaded(file=file).names == ("x", "y")


def test_an_unknown_variable_is_a_warning_with_a_suggestion() -> None:
    environ = {"TRIMTAB_CONFIG": os.devnull, "TRIMTAB_AGENT_PROT": "1", "PATH": "/bin"}
    got, warnings = load(Sample, "agent", environ=environ)
    assert got == Sample()
    assert warnings == [
        "TRIMTAB_AGENT_PROT is no setting of trimtab; did you mean TRIMTAB_AGENT_PORT?"
    ]


def test_the_app_has_no_section_in_its_variables_and_leaves_the_others_alone() -> None:
    environ = {
        "TRIMTAB_CONFIG": os.devnull, "TRIMTAB_PORT": "9", "TRIMTAB_AGENT_PROT": "1",
        "TRIMTAB_COLLECTOR_X": "1", "TRIMTAB_RUN": "1", "TRIMTAB_DASHBOARD": "off",
        "TRIMTAB_KYE": "x",
    }  # fmt: skip
    got, warnings = load(Sample, "app", environ=environ)
    assert got.port == 9
    assert warnings == ["TRIMTAB_KYE is no setting of trimtab; did you mean TRIMTAB_KEY?"]


def test_flags_come_from_the_class_and_secrets_get_none() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Sample)
    options = vars(parser.parse_args(["--data-dir", "/d", "--no-strict", "--wait-s", "2"]))
    assert "key" not in options
    assert options["port"] is None
    got = loaded({"TRIMTAB_AGENT_STRICT": "1"}, flags=options)
    assert (got.data_dir, got.strict, got.wait_s) == ("/d", False, 2.0)


def test_a_wrong_flag_is_named_as_it_is_written() -> None:
    assert refused(flags={"wait_s": "soon"}).startswith("--wait-s: expected a number")


def test_a_secret_is_not_shown() -> None:
    assert "s3cret" not in repr(loaded({"TRIMTAB_AGENT_KEY": "s3cret"}))


def test_the_table_of_the_docs_has_a_row_a_setting() -> None:
    rows = {row.name: row for row in describe(Sample, "agent")}
    assert list(rows) == ["data_dir", "port", "wait_s", "strict", "names", "mode", "key"]
    assert rows["wait_s"][1:4] == ("TRIMTAB_AGENT_WAIT_S", "1.5", "s")
    assert (rows["strict"].default, rows["names"].default) == ("false", "none")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:///run/a.sock", Address("unix", path="/run/a.sock")),
        ("tcp://127.0.0.1:8622", Address("tcp", host="127.0.0.1", port=8622)),
        ("tcp://[::1]:1", Address("tcp", host="::1", port=1)),
        ("unix:///" + "x" * 106, Address("unix", path="/" + "x" * 106)),
    ],
)
def test_addresses_are_read(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", "/run/a.sock", "unix://a.sock", "tcp://host", "tcp://:1", "tcp://h:0", "tcp://h:65536",
     "tcp://h:x", "http://h:1"],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="expected unix:///path or tcp://host:port"):
        parse_address(text)


@pytest.mark.parametrize("path", ["/" + "x" * 107, "/" + "ü" * 54])
def test_a_socket_path_that_is_too_long_is_said_in_bytes(path: str) -> None:
    length = len(path.encode())
    with pytest.raises(SettingsError, match=f"at most 107 bytes, .* has {length}: choose a short"):
        parse_address(f"unix://{path}")


def test_the_default_socket_follows_the_state_directory() -> None:
    address = parse_address(default_socket({"XDG_STATE_HOME": "/state"}))
    assert address.path in ("/state/trimtab/agent.sock", "/run/trimtab/agent.sock")


def agent_directory(data_dir: str, environ: dict[str, str]) -> str:
    return resolve_agent(AgentSettings(data_dir=data_dir), environ).data_dir


def collector_directory(data_dir: str, environ: dict[str, str]) -> str:
    return load_collector(flags={"data_dir": data_dir}, environ=environ)[0].data_dir


@pytest.mark.parametrize(
    ("part", "directory"),
    [("agent", agent_directory), ("collector", collector_directory)],
    ids=["agent", "collector"],
)
def test_agent_and_collector_find_their_data_directory_by_one_rule(
    part: str,
    directory: Callable[[str, dict[str, str]], str],
    tmp: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp))
    monkeypatch.setenv("XDG_STATE_HOME", "/not/asked")
    monkeypatch.chdir(tmp)
    assert directory("", {"XDG_STATE_HOME": "/state"}) == f"/state/trimtab/{part}"
    assert directory("", {}) == str(tmp / ".local/state/trimtab" / part)
    assert directory("~/spool", {}) == str(tmp / "spool")
    assert directory("near", {}) == str(tmp / "near")
    assert directory("/far", {}) == "/far"


def test_the_agent_takes_its_socket_from_the_environment_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TRIMTAB_AGENT", "unix:///not/asked")
    there = "unix:///given/agent.sock"
    assert resolve_agent(AgentSettings(), {"TRIMTAB_AGENT": there}).socket == there
    assert "/not/asked" not in resolve_agent(AgentSettings(), {}).socket
