"""What a change of a pack means, told by path and by part."""

from __future__ import annotations

import copy
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.domain.pack_diff import difference
from tests.unit.domain.given import EXAMPLES

OLD: dict[str, Any] = {
    "domainName": "Deliveries",
    "severityRules": [{"condition": "a", "severity": "LOW"}, {"condition": "b", "severity": "HIGH"}],
    "tools": {"trace": {"endpoint": "https://x", "timeoutSeconds": 1}, "old": {}},
    "playbooks": [{"name": "p", "steps": [{"action": "one"}]}],
}


def changed(**keys: Any) -> dict[str, Any]:
    return {**copy.deepcopy(OLD), **keys}


def told(new: dict[str, Any]) -> tuple[set[tuple[str, str]], set[tuple[str, str, str]]]:
    """Changes as (path, kind), parts as (part, name, kind)."""
    found = difference(OLD, new)
    return {(one.path, one.kind) for one in found.changes}, {(one.part, one.name, one.kind) for one in found.parts}


def test_layout_and_order_of_keys_are_no_difference() -> None:
    assert difference(OLD, dict(reversed(list(OLD.items())))).same


def test_a_rule_put_first_is_one_rule_more() -> None:
    rules = [{"condition": "c", "severity": "CRITICAL"}, *OLD["severityRules"]]
    changes, parts = told(changed(severityRules=rules))
    assert changes == {("severityRules[0]", "added")}
    assert parts == {("severity rule", "CRITICAL if c", "added")}


def test_the_order_of_rules_is_a_difference() -> None:
    changes, parts = told(changed(severityRules=OLD["severityRules"][::-1]))
    assert {kind for _, kind in changes} == {"moved"}
    assert {kind for *_, kind in parts} == {"moved"}


def test_a_changed_rule_is_told_to_the_value() -> None:
    rules = [OLD["severityRules"][0], {"condition": "b", "severity": "LOW"}]
    (change,) = difference(OLD, changed(severityRules=rules)).changes
    assert (change.path, change.before, change.after) == ("severityRules[1].severity", "HIGH", "LOW")


def test_tools_and_playbooks_are_told_by_name() -> None:
    new = changed(
        tools={"trace": {"endpoint": "https://x", "timeoutSeconds": 2}, "new": {}},
        playbooks=[{"name": "q", "steps": []}, {"name": "p", "steps": [{"action": "one"}, {"action": "two"}]}],
    )
    changes, parts = told(new)
    assert parts == {
        ("tool", "trace", "changed"),
        ("tool", "old", "removed"),
        ("tool", "new", "added"),
        ("playbook", "q", "added"),
        ("playbook", "p", "changed"),
    }
    assert ("playbooks[1].steps[1]", "added") in changes


def test_other_keys_are_told_by_their_name() -> None:
    _, parts = told(changed(sla={"minutesToResolve": {"HIGH": 5}}))
    assert parts == {("sla", "", "added")}


def test_two_different_examples_differ_and_each_is_itself() -> None:
    documents = [json.loads(path.read_bytes()) for path in sorted(EXAMPLES.glob("*.domain.json"))]
    for document in documents:
        assert difference(document, copy.deepcopy(document)).same
    assert not difference(documents[0], documents[1]).same


values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from("ab"),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["name", "x", "tools"]), inner, max_size=3)
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(["tools", "playbooks", "severityRules", "sla"]), values, max_size=4)


@given(before=documents, after=documents)
def test_there_is_a_difference_exactly_where_the_documents_differ(before: Any, after: Any) -> None:
    canonical = [json.dumps(one, sort_keys=True) for one in (before, after)]
    assert difference(before, after).same == (canonical[0] == canonical[1])
