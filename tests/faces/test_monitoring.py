"""The alert rules and the dashboard that come with the filter fit the numbers that it shows."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from smimefilter.obs.meter import PrometheusMeter
from tests.support.postoffice import ALICE, DAVE, Stock, filter_alone, letter

PROJECT = Path(__file__).parents[2]
RULES = PROJECT / "config" / "monitoring" / "alerts.yaml"
DASHBOARD = PROJECT / "config" / "monitoring" / "grafana.json"
DOCUMENT = PROJECT / "docs" / "metrics.md"
GENERAL = {"up"}  # of Prometheus itself
TARGET = {"job", "instance", "le"}  # labels that Prometheus adds, and that of buckets


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load(RULES.read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    shown = [target["expr"] for panel in panels for target in panel["targets"]]
    return [rule["expr"] for rule in rules()] + shown


def parts(expression: str) -> list[Any]:
    """All nodes of an expression. Raises `ValueError` where it is none."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(expression), lambda node: found.append(node) or True)
    return found


def selectors(expression: str) -> Iterator[Any]:
    for node in parts(expression):
        if isinstance(node, promql_parser.VectorSelector):
            yield node


def used() -> set[str]:
    variables = json.loads(DASHBOARD.read_text())["templating"]["list"]
    asked = [one["query"]["query"] for one in variables if one["type"] == "query"]
    in_variables = {name for query in asked for name in re.findall(r"smimefilter_\w+", query)}
    return in_variables | {one.name for each in expressions() for one in selectors(each)}


@pytest.fixture
def shown(stock: Stock, tmp_path: Path, free_port: Callable[[], int]) -> set[str]:
    """The names of all samples that a filter shows that had a mail."""
    port = free_port()
    with filter_alone(stock, tmp_path, metrics={"port": port}) as office:
        office.hand_over(ALICE, [DAVE], letter(ALICE, DAVE))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
            text = page.read().decode()
    samples: set[str] = set()
    for family in text_string_to_metric_families(text):
        bare = family.name + "_total" * (family.type == "counter")
        samples |= {sample.name for sample in family.samples} or {bare}
    return samples


def documented() -> dict[str, set[str]]:
    """Labels by metric."""
    rows = re.findall(
        r"^\| `(smimefilter_\w+)` \| \w+ \|([^|]*)\|", DOCUMENT.read_text(), re.MULTILINE
    )
    return {name: {*re.findall(r"`(\w+)`", labels)} for name, labels in rows}


def base(name: str) -> str:
    """The documented metric that a sample belongs to."""
    found = [one for one in documented() if name == one]
    without = re.sub(r"_(bucket|sum|count|created|total)$", "", name)
    return (found or [one for one in documented() if one.removesuffix("_total") == without])[0]


def test_what_is_used_is_shown_and_what_is_shown_is_documented(shown: set[str]) -> None:
    assert len(used()) > 4
    assert used() - GENERAL - shown == set()
    assert {base(name) for name in shown} == set(documented())


def test_labels_are_those_of_the_metrics() -> None:
    registry = PrometheusMeter()._registry
    real = {
        next(iter(names)): set(collector._labelnames)  # type: ignore[attr-defined]
        for collector, names in registry._collector_to_names.items()
    }
    told = {name.removesuffix("_total"): labels for name, labels in documented().items()}
    assert {name.removesuffix("_total"): one for name, one in real.items()} == told
    for expression in expressions():
        names = {one.name for one in selectors(expression)} - GENERAL
        known = TARGET.union(*(documented()[base(name)] for name in names))
        asked = {
            matcher.name for one in selectors(expression) for matcher in one.matchers.matchers
        }
        grouped = {
            label
            for node in parts(expression)
            if isinstance(node, promql_parser.AggregateExpr) and node.modifier
            for label in node.modifier.labels
        }
        assert asked | grouped <= known, expression


def test_rules_are_such_as_prometheus_takes() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len({*names}) == len(names) > 5
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert promql_parser.parse_duration(rule.get("for", "1m"))
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        assert set(rule["annotations"]) == {"summary", "description"}
        (kept,) = [
            {*node.modifier.labels}
            for node in parts(rule["expr"])[:4]
            if isinstance(node, promql_parser.AggregateExpr) and node.modifier
        ][:1] or [{"instance", "job", "state"}]
        named = set(re.findall(r"\$labels\.(\w+)", str(rule["annotations"])))
        assert named <= kept, rule["alert"]


def test_a_rule_that_is_none_is_found() -> None:
    with pytest.raises(ValueError, match=r".+"):
        promql_parser.parse("sum by (x) (rate(smimefilter_recipients_total[5m])")


def test_panels_of_the_dashboard() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert {panel["type"] for panel in panels} <= {"stat", "timeseries"}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert all(one["datasource"]["uid"] == "${datasource}" for one in panel["targets"])
