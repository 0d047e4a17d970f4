"""A backtest's comparison: what counts as a change, and what a report may show."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from service.domain.backtesting import Comparison, Side, differing, rule_of, shown_steps, side_of
from service.domain.dry_run import dry_run
from service.domain.redaction import Redactor
from tests.unit.domain.given import NOON, exception, packs

SOME_ID = UUID(int=7)


def side(**values: Any) -> Side:
    return Side(
        **{
            "exception_type": "LATE",
            "severity": "LOW",
            "approval": False,
            "playbook": "p",
            "steps": ({"step": "1"},),
            **values,
        }
    )


@pytest.mark.parametrize(
    ("after", "aspects"),
    [
        (side(), []),
        (side(exception_type="LOST"), ["type"]),
        (side(severity="HIGH"), ["severity"]),
        (side(approval=True), ["approval"]),
        (side(playbook="q"), ["playbook"]),
        (side(steps=()), ["plan"]),
        (side(absent=("severityRules[0]",)), []),
        (side(severity=None, approval=None, playbook=None, steps=None, error="E: broken"), ["failure"]),
    ],
)
def test_what_differs_is_named(after: Side, aspects: list[str]) -> None:
    assert differing(side(), after) == aspects


def test_a_plan_that_nobody_has_seen_is_not_compared() -> None:
    assert differing(side(approval=True, playbook=None, steps=None), side(approval=True)) == []


def test_the_same_rule_failing_again_is_no_change_and_another_one_is() -> None:
    first = "ConditionFailedError: severityRules[0].condition: the condition 'a' cannot be evaluated"
    other = first.replace("[0]", "[1]")
    assert differing(side(error=first), side(error=first + " now")) == []
    assert differing(side(error=first), side(error=other)) == ["failure"]
    assert rule_of(first) == "severityRules[0].condition"
    assert rule_of("PayloadInvalidError: orderId is required (entity Order)") == "PayloadInvalidError"


def test_everything_is_counted_and_only_so_many_differences_are_kept() -> None:
    # given a comparison that keeps two
    comparison = Comparison(kept=2)
    for number in range(5):
        after = side(severity="HIGH", approval=True) if number else side()
        comparison.add(SOME_ID, NOON, side(), after)
    comparison.skip("beingDecided")
    # then it counts all
    report = comparison.report()
    assert (report["decided"], report["changed"], report["skipped"]) == (5, 4, {"beingDecided": 1})
    assert report["severities"] == {"LOW": {"HIGH": 4, "LOW": 1}}
    assert report["approvals"] == {"before": 0, "after": 4, "more": 4, "less": 0}
    assert (len(report["differences"]), report["differencesLeftOut"]) == (2, 2)


def test_a_dry_run_is_shown_with_masked_parameters() -> None:
    # given a plan that hands a name to a tool, and a pack that calls the name sensitive
    playbook = {
        "exceptionType": "LATE",
        "steps": [
            {
                "action_type": "call_tool",
                "params": {"tool": "trace", "parameters": {"id": "{{ exception.rawPayload.name }}"}},
            }
        ],
    }
    run = dry_run(exception(payload={"name": "Ada Lovelace"}), packs({"playbooks": [playbook]}), NOON)
    # when it is shown by packs of which either masks the name
    told = side_of(run, [Redactor.of(["name"])]).told()
    # then the call is there and the name is not
    assert told["tools"][0]["tool"] == "trace"
    assert "Lovelace" not in json.dumps(told)
    assert "Lovelace" in json.dumps(shown_steps(run.plan, {}, []))
