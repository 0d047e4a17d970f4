"""The alert rules have the form that Prometheus loads, and ask only for figures that /metrics tells."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from service.api.metrics import of_figures, of_ledgers
from service.engine.reconciliation import Kind
from service.persistence.metrics import Figures, Relayed
from service.persistence.queries import Ledger

PROJECT = Path(__file__).resolve().parents[2]
FILE = PROJECT / "deploy" / "prometheus" / "alerts.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(FILE.read_text("utf-8"))["groups"] for rule in group["rules"]
]


def told() -> dict[str, set[str]]:
    """Every figure by its name as a rule asks for it, with its labels."""
    found: dict[str, set[str]] = {}
    for metric in (*of_ledgers([Ledger("t", 1, 1, 0, 0, 0, 0, 0, 0)]), *of_figures(figures())):
        for sample in metric.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def figures() -> Figures:
    """One of everything, as the statements give it."""
    row: Any = SimpleNamespace
    return Figures(
        outbox=row(ready=1, held=1, paused=1, behind=1, oldest_seconds=1.5),
        lanes=row(lanes=2, served=1, dispatchers=1),
        work=row(retries=1, effects_unknown=1, notifications=1, suspects=1),
        dead_letters=[row(tenant_id="t", state="pending", error_kind="permanent", number=3)],
        kinds=[
            row(kind=Kind.MESSAGE_LOST, actions=4, found=0, looked_at=None),
            row(kind=Kind.TIMER_OVERDUE, actions=0, found=2, looked_at="now"),
        ],
        chores=[row(name="reconcile", age_seconds=1.0, seconds=0.1)],
        relays=[Relayed("exceptions.events", 10, 0.5)],
        pauses=[],
        audits=[row(name="exceptions.events", agree=True, age_seconds=12.0)],
    )


def names(expression: str) -> Iterator[tuple[str, str]]:
    """Each figure that an expression asks for, with its selector."""
    for match in re.finditer(r"\b(sentinai_\w+)(?:\{([^}]*)\})?", expression):
        yield match[1], match[2] or ""


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_has_what_prometheus_and_people_need(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Sentinai[A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"] and rule["annotations"]["description"]
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert rule["expr"].count("(") == rule["expr"].count(")")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_asks_for_figures_that_are_told(rule: dict[str, Any]) -> None:
    known = told()
    asked = list(names(rule["expr"]))
    assert asked
    for name, selector in asked:
        assert name in known, f"/metrics does not tell {name}"
        labels = set(re.findall(r"(\w+)=~?\"", selector)) | set(re.findall(r"by \((\w+)\)", rule["expr"]))
        assert labels <= set().union(*(known[other] for other, _ in asked))
    for label in re.findall(r"\$labels\.(\w+)", str(rule["annotations"])):
        assert f"by ({label})" in rule["expr"]


def test_every_alert_that_was_promised_is_there() -> None:
    alerts = {rule["alert"].removeprefix("Sentinai") for rule in RULES}
    assert alerts >= {
        "LedgerImbalance",
        "NothingMoves",
        "RelayBehind",
        "DeadLettersGrow",
        "LaneUnserved",
        "DeadLettersDiffer",
    }
    assert len(alerts) == len(RULES)


def test_every_figure_is_on_the_page_about_metrics() -> None:
    page = (PROJECT / "docs" / "metrics.md").read_text("utf-8")
    assert {name for name in told() if f"`{name}`" not in page} == set()
    assert set(re.findall(r"`(sentinai_\w+)`", page)) - set(told()) == set()
    assert {kind for kind in Kind if f"`{kind}`" not in page} == set()
    assert {rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in page} == set()
