"""Alert rules and dashboard, held to what the API tells and to the runbooks, without Prometheus."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import prometheus_client
import pytest
import yaml

from streamflow.api.telemetry import metrics

ROOT = Path(__file__).parents[2]
PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"
SCREEN_HEIGHT = 26  # of Grafana's rows, on a screen of 1080 lines


@pytest.fixture(scope="module")
def rules() -> list[dict[str, Any]]:
    read = yaml.safe_load((ROOT / "deploy" / "prometheus" / "rules.yml").read_text())
    return [rule for group in read["groups"] for rule in group["rules"]]


@pytest.fixture(scope="module")
def alerts(rules: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [rule for rule in rules if "alert" in rule]


@pytest.fixture(scope="module")
def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((PROVISIONING / "dashboards" / "streamflow.json").read_text())
    return list(dashboard["panels"])


SUFFIXES: dict[str, dict[str, set[str]]] = {
    "Counter": {"_total": set()},
    "Gauge": {"": set()},
    "Histogram": {"_bucket": {"le"}, "_count": set(), "_sum": set()},
}


def defined() -> list[tuple[str, str, set[str]]]:
    """Kind, name and labels of each of the API's metrics, as the library is given them."""
    found = []

    def noting(kind: str, original: Any) -> Any:
        def build(name: str, documentation: str, labels: Any = (), **given: Any) -> Any:
            found.append((kind, name, set(labels)))
            return original(name, documentation, labels, **given)

        return build

    with ExitStack() as stack:
        for module in (prometheus_client, metrics):
            for kind in SUFFIXES:
                if (original := getattr(module, kind, None)) is not None:
                    stack.enter_context(patch.object(module, kind, noting(kind, original)))
        metrics.Metrics()
    return found


def exposed() -> dict[str, set[str]]:
    """The names of the samples of the API's metrics, each with its labels."""
    return {
        f"{name}{suffix}": {*labels, *more}
        for kind, name, labels in defined()
        for suffix, more in SUFFIXES[kind].items()
    }


def test_every_metric_and_label_of_rules_and_dashboard_is_one_that_the_api_tells(
    rules: list[dict[str, Any]], panels: list[dict[str, Any]]
) -> None:
    known = {
        **exposed(),
        **{rule["record"]: {"version", "le"} for rule in rules if "record" in rule},
    }
    expressions = [rule["expr"] for rule in rules]
    expressions += [target["expr"] for panel in panels for target in panel["targets"]]
    asked = set()
    for expression in expressions:
        for name, selector in re.findall(
            r"([\w:]*streamflow_\w+(?::\w+)?)(?:\{([^}]*)\})?", expression
        ):
            labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
            assert name in known, expression
            assert labels <= known[name], expression
            asked.add(name)
    assert len(asked) > 10


def test_metrics_are_named_by_prometheus_conventions() -> None:
    assert len(defined()) > 10
    for kind, name, _ in defined():
        if kind == "Histogram":
            assert name.endswith(("_seconds", "_probability")), name
        assert not re.search(r"_(ms|milliseconds|minutes|days|mb|percent)$", name), name


def test_every_alert_says_how_bad_it_is_and_names_a_runbook_that_is_there(
    alerts: list[dict[str, Any]],
) -> None:
    for alert in alerts:
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert alert["annotations"]["summary"]
        document, _, anchor = alert["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / document).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", one).lower().replace(" ", "-") for one in headings}
        assert anchor in anchors, alert["alert"]


def test_every_alert_is_made_to_fire_by_the_tests(alerts: list[dict[str, Any]]) -> None:
    names = {alert["alert"] for alert in alerts}
    tests = ROOT / "tests" / "integration"
    by_promtool = yaml.safe_load((tests / "alerts.yml").read_text())["tests"]
    fired = {
        one["alertname"]
        for test in by_promtool
        for one in test["alert_rule_test"]
        if one["exp_alerts"]
    }
    assert fired == names
    assert all(f'"{name}"' in (tests / "test_monitoring.py").read_text() for name in names)


def test_the_dashboard_fits_one_screen_and_answers_its_four_questions(
    panels: list[dict[str, Any]],
) -> None:
    taken = [
        (x, y)
        for panel in panels
        for where in [panel["gridPos"]]
        for x in range(where["x"], where["x"] + where["w"])
        for y in range(where["y"], where["y"] + where["h"])
    ]
    assert len(taken) == len(set(taken)), "two panels overlap"
    assert max(x for x, _ in taken) < 24
    assert max(y for _, y in taken) < SCREEN_HEIGHT
    asked = {panel["title"].partition(":")[0] for panel in panels}
    assert asked == {"Up", "Fast", "Fresh", "Sane"}


def test_grafana_is_given_the_dashboard_and_the_data_source_that_it_asks(
    panels: list[dict[str, Any]],
) -> None:
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "streamflow.yaml").read_text())[
        "providers"
    ]
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    mounted = dict(one.split(":")[:2] for one in services["grafana"]["volumes"])
    assert provider["options"]["path"] == (f"{mounted['./deploy/grafana/provisioning']}/dashboards")
    sources = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yaml").read_text())
    known = {source["uid"] for source in sources["datasources"]}
    assert {panel["datasource"]["uid"] for panel in panels} <= known
