"""Prometheus text: names, values and the characters that need escaping."""

import pytest

from trimtab_core.catalog import CATALOG, CatalogMetric
from trimtab_core.exposition import MetricFamily, render


def test_a_family_has_its_help_its_type_and_a_line_a_sample() -> None:
    text = render(
        [
            MetricFamily("up", "gauge", "Is it up.", [("", {}, 1)]),
            MetricFamily("took", "histogram", "h", [("_bucket", {"le": "+Inf", "route": "/"}, 2)]),
        ]
    )
    assert text == (
        "# HELP up Is it up.\n# TYPE up gauge\nup 1\n"
        '# HELP took h\n# TYPE took histogram\ntook_bucket{le="+Inf",route="/"} 2\n'
    )


def test_backslash_quote_and_line_break_are_escaped_in_labels() -> None:
    text = render([MetricFamily("a", "gauge", "h", [("", {"x": 'C:\\new "one"\nline'}, 1)])])
    assert text.splitlines()[2] == r'a{x="C:\\new \"one\"\nline"} 1'


def test_backslash_and_line_break_are_escaped_in_help_and_quotes_are_not() -> None:
    text = render([MetricFamily("a", "gauge", 'a "b" \\ c\nd', [])])
    assert text.splitlines()[0] == r'# HELP a a "b" \\ c\nd'


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"), (1.0, "1"), (-3, "-3"), (0.1, "0.1"), (1e300, "1e+300"),
        (1e15, "1000000000000000.0"),
        (float("inf"), "+Inf"), (float("-inf"), "-Inf"), (float("nan"), "NaN"),
    ],
)  # fmt: skip
def test_values_are_written_as_prometheus_reads_them(value: float, shown: str) -> None:
    assert (
        render([MetricFamily("a", "gauge", "", [("", {}, value)])]).splitlines()[2] == f"a {shown}"
    )


def test_prometheus_names_follow_from_name_unit_and_kind() -> None:
    assert CatalogMetric("http.wait", "s", "histogram", "").prometheus_name == "http_wait_seconds"
    assert CatalogMetric("a.b", "{batch}", "counter", "").prometheus_name == "a_b_total"
    assert CatalogMetric("a.b", "By", "counter", "").prometheus_name == "a_b_bytes_total"


def test_the_catalogue_has_no_two_metrics_of_one_prometheus_name() -> None:
    names = [metric.prometheus_name for metric in CATALOG.values()]
    assert len(set(names)) == len(names) > 20
    assert all(metric.help.endswith(".") for metric in CATALOG.values())
    assert {metric.kind for metric in CATALOG.values()} <= {"gauge", "counter", "histogram"}
