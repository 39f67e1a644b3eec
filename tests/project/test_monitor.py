"""The dashboard and the alerts ask for metrics that exist, with the labels that they have."""

from __future__ import annotations

import json
import re

import yaml
from prometheus_client import CollectorRegistry, generate_latest

from pyfly_session.core.merge import Outcome
from pyfly_session.observability import Telemetry
from tests.project.pages import DOCS, blocks_of

_USE = re.compile(r"(?P<name>pyfly_session_\w+_(?:total|bucket|count))(?:\{(?P<labels>[^}]*)\})?")
_BY = re.compile(r"\bby \(([^)]*)\)")
# Those that Prometheus adds.
_ADDED = {"job", "le"}


def expressions() -> list[str]:
    dashboard = json.loads((DOCS / "assets" / "grafana-dashboard.json").read_text("utf-8"))
    found = [each["expr"] for panel in dashboard["panels"] for each in panel["targets"]]
    found += [
        each["query"]["query"]
        for each in dashboard["templating"]["list"]
        if "label" in str(each["query"])
    ]
    for block in blocks_of(DOCS / "how-to" / "monitor.md"):
        if block.language == "yaml":
            groups = yaml.safe_load(block.text)["groups"]
            found += [rule["expr"] for group in groups for rule in group["rules"]]
    return found


def exposed() -> dict[str, set[str]]:
    """Return the labels of each metric, as Prometheus gets them."""
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from opentelemetry.sdk.metrics import MeterProvider

    registry = CollectorRegistry()
    reader = PrometheusMetricReader()
    registry.register(reader._collector)
    telemetry = Telemetry(meter_provider=MeterProvider([reader]))
    telemetry.loads.add(1, {"pyfly.session.load.result": "found"})
    telemetry.commits.add(1, {"pyfly.session.commit.outcome": Outcome.ENDED.name.lower()})
    telemetry.events.add(1, {"pyfly.session.event": "unavailable"})
    telemetry.malformed.add(1)
    attributes = {"db.operation.name": "get", "db.system.name": "redis", "error.type": "e"}
    telemetry.duration.record(0.1, attributes)
    found: dict[str, set[str]] = {}
    for line in generate_latest(registry).decode().splitlines():
        if line.startswith("pyfly_session"):
            name, _, rest = line.partition("{")
            found[name] = {each.partition("=")[0] for each in rest.split('",')}
    return found


def test_every_expression_asks_for_what_there_is() -> None:
    metrics = exposed()
    asked = expressions()
    assert len(asked) > 10
    for expression in asked:
        uses = list(_USE.finditer(expression))
        assert uses, expression
        labels = {each.strip() for group in _BY.findall(expression) for each in group.split(",")}
        for use in uses:
            assert use["name"] in metrics, expression
            given = re.findall(r"(\w+)\s*(?:=~|!=|=)", use["labels"] or "")
            assert {*given, *labels} - _ADDED <= metrics[use["name"]], expression
