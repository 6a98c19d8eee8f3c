"""Settings of the app side: names from everywhere, and nothing that can stop an app."""

import logging
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.runtime import Process
from trimtab.settings import AppSettings, read_settings
from trimtab_core.config import describe
from trimtab_core.frames import encode
from trimtab_core.messages import Hello, parse

CLEAN = {"TRIMTAB_CONFIG": os.devnull}
OTEL = {
    "OTEL_SERVICE_NAME": "otel-service",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=x, deployment.environment.name = stage ,"
    "service.version=2,broken",
}


def test_names_come_from_trimtab_then_opentelemetry_then_the_program() -> None:
    own = {"TRIMTAB_SERVICE": "own", "TRIMTAB_ENVIRONMENT": "prod", "TRIMTAB_VERSION": "3"}
    got = read_settings({**CLEAN, **OTEL, **own})
    assert (got.service, got.environment, got.version) == ("own", "prod", "3")
    got = read_settings({**CLEAN, **OTEL})
    assert (got.service, got.environment, got.version) == ("otel-service", "stage", "2")
    only = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=attribute,deployment.environment=old"}
    got = read_settings({**CLEAN, **only})
    assert (got.service, got.environment, got.version) == ("attribute", "old", "")
    assert read_settings(CLEAN).environment == "default"
    assert read_settings(CLEAN).service
    assert read_settings(CLEAN).host == os.uname().nodename


def test_code_goes_before_the_environment() -> None:
    got = read_settings({**CLEAN, "TRIMTAB_SERVICE": "env", "TRIMTAB_ROUTES": "5"}, service="code")
    assert (got.service, got.routes) == ("code", 5)


@pytest.mark.parametrize("name", ["\n", " ", "\x00\x01", "\udce9"])
def test_a_name_of_which_nothing_is_left_is_none(name: str) -> None:
    got = read_settings({**CLEAN, **OTEL}, service=name, environment=name, version=name, host=name)
    assert (got.service, got.environment, got.version) == ("otel-service", "stage", "2")
    assert got.host


@given(
    st.dictionaries(
        st.sampled_from([f"TRIMTAB_{row.variable[8:]}" for row in describe(AppSettings, "app")]),
        st.text(st.characters(exclude_characters="\0")),
    )
)
def test_no_environment_stops_an_app_and_its_hello_is_one(environ: dict[str, str]) -> None:
    logging.disable(logging.WARNING)
    try:
        got = read_settings({**CLEAN, **environ})
    finally:
        logging.disable(logging.NOTSET)
    hello = Hello(got.environment, got.service, got.version, got.host, 1, bytes(8))
    encode(hello.frame())
    assert parse(hello.frame()) == hello


@pytest.mark.parametrize(
    "text",
    ["app = 3", "[app]\nservice = 3", "[app]\nno_such = 1", "[ap]\n", "[app", "\xff", "[[app]]"],
)
def test_no_settings_file_stops_an_app(
    tmp: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp / "trimtab.toml"
    file.write_bytes(text.encode("latin-1"))
    environ = {"TRIMTAB_CONFIG": str(file), "TRIMTAB_ROUTES": "7"}
    with caplog.at_level(logging.WARNING, "trimtab.settings"):
        got = read_settings(environ, service="s")
    assert (got.service, got.routes) == ("s", 7)
    assert len(caplog.records) == 1
    assert str(file) in caplog.text


def test_a_settings_file_that_is_missing_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "trimtab.settings"):
        assert read_settings({"TRIMTAB_CONFIG": "/none/such.toml"}).enabled
    assert "cannot read the settings file /none/such.toml" in caplog.text


def test_the_file_of_the_app_has_its_own_table(tmp: Path) -> None:
    file = tmp / "trimtab.toml"
    file.write_text('[app]\nservice = "filed"\nserver_timing = true\n[agent]\nwhatever = 1\n')
    got = read_settings({"TRIMTAB_CONFIG": str(file)})
    assert (got.service, got.server_timing) == ("filed", True)


def test_one_wrong_setting_does_not_cost_the_others(caplog: pytest.LogCaptureFixture) -> None:
    environ = {
        **CLEAN, "TRIMTAB_ROUTES": "0", "TRIMTAB_INTERVAL_MS": "1", "TRIMTAB_BUFFER_KIB": "100",
        "TRIMTAB_SERVICE_FILE": "/none", "TRIMTAB_ENABLED": "perhaps",
    }  # fmt: skip
    with caplog.at_level(logging.WARNING, "trimtab.settings"):
        got = read_settings(environ, backlog_kib="many", version="v1")
    default = AppSettings()
    assert (got.routes, got.interval_ms, got.enabled) == (
        default.routes, default.interval_ms, True,
    )  # fmt: skip
    assert (got.buffer_kib, got.version, got.backlog_kib) == (100, "v1", default.backlog_kib)
    assert len(caplog.records) == 5
    assert all("the default is used" in record.getMessage() for record in caplog.records)


def test_the_cap_on_routes_is_the_largest_of_all_wrappers_in_whatever_order() -> None:
    process = Process()
    for routes, most in ((50, 50), (20, 50), (70, 70), (50, 70)):
        process.runtime(read_settings(CLEAN, routes=routes, service=f"of {routes}"))
        assert process.routes.most == most
