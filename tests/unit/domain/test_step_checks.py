"""What is wrong with a playbook's steps is told with its path, at any depth."""

from __future__ import annotations

from typing import Any

import pytest

from service.domain.packs import PackInvalidError, parse_domain_pack
from tests.unit.domain.given import call_tool, comment, domain_document, set_status


def _step(action_type: str, params: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    return {"action_type": action_type, "params": params or {}, **keys}


def _faults(*steps: Any) -> dict[str, str]:
    document = domain_document(playbooks=[{"exceptionType": "LATE", "steps": list(steps)}])
    try:
        parse_domain_pack(document)
    except PackInvalidError as error:
        return {fault.path.removeprefix("playbooks[0]."): fault.message for fault in error.faults}
    return {}


def _foreach(*steps: Any, items: Any = "{{ exception.rawPayload.legs }}", **params: Any) -> dict[str, Any]:
    return _step("foreach", {"items": items, "steps": list(steps), **params})


def _parallel(*branches: list[Any]) -> dict[str, Any]:
    return _step("parallel", {"branches": list(branches)})


def _later(expression: str) -> dict[str, Any]:
    return comment(f"{{{{ {expression} }}}}")


@pytest.mark.parametrize(
    ("steps", "path", "message"),
    [
        ([_step("wait", {})], "steps[0].params", "exactly one of"),
        ([_step("wait", {"minutes": 1, "event": "x"})], "steps[0].params", "exactly one of"),
        ([_step("wait", {"minutes": -1})], "steps[0].params.minutes", "greater than 0"),
        ([_step("wait", {"until": "tomorrow"})], "steps[0].params.until", "a time with its offset"),
        ([_step("wait", {"minutes": 1}, timeoutMinutes=1)], "steps[0].timeoutSeconds", "only a wait for an `event`"),
        ([comment(timeoutSeconds=1)], "steps[0].timeoutSeconds", "have a time limit"),
        ([{**call_tool(), "timeoutSeconds": 301}], "steps[0].timeoutSeconds", "300 seconds"),
        ([comment(timeoutSeconds=1, timeoutMinutes=1)], "steps[0]", "either `timeoutSeconds`"),
        ([_step("manual", {"form": {"type": "banana"}})], "steps[0].params.form.type", "JSON Schema"),
        ([_step("manual", {"form": {"$ref": "https://x"}})], "steps[0].params.form['$ref']", "itself only"),
        ([_step("manual", {"form": {"$ref": "#/$defs/x"}})], "steps[0].params.form['$ref']", "there is no"),
        ([_step("branch", {})], "steps[0].params", "`if` and `then`"),
        ([_step("branch", {"if": "1 +", "then": [comment()]})], "steps[0].params.if", "not a CEL expression"),
        ([_foreach(comment(), items="no template")], "steps[0].params.items", "one template"),
        ([_foreach(comment(), items=[1, 2], max=1)], "steps[0].params.items", "`max` allows 1"),
        ([_foreach(comment(), max=101)], "steps[0].params.max", "less than or equal to 100"),
        ([_parallel([set_status("RESOLVED")])], "steps[0].params.branches[0][0]", "side by side"),
        ([_step("parallel", {"branches": [[]]})], "steps[0].params.branches[0]", "at least 1"),
        ([_parallel([call_tool("none")])], "steps[0].params.branches[0][0].params.tool", "no tool"),
        ([_foreach(_foreach(comment()))], "steps", "smaller `max`"),
        ([comment(onFailure="explode")], "steps[0].onFailure", "must be"),
        ([comment(key="not a key")], "steps[0].key", "pattern"),
        ([comment(compensation=_step("wait", {"minutes": 1}))], "steps[0].compensation.action_type", "cannot be this"),
        ([comment(compensation=comment(key="k"))], "steps[0].compensation.key", "has no key"),
        ([{**_parallel([comment()]), "onFailure": "retry"}], "steps[0].onFailure", "inside the group"),
        # references
        ([_later("steps.a.output")], "steps[0].params.text", "no step has the key 'a'"),
        ([_later("steps.b.output"), comment(key="b")], "steps[0].params.text", "not over"),
        ([comment(key="a"), _later("steps.a.output")], None, None),
        ([_later("item")], "steps[0].params.text", "inside a foreach"),
        ([_foreach(_later("item.id"))], None, None),
        ([_foreach(comment(key="a")), _later("steps.a.output")], "steps[1].params.text", "inside a foreach"),
        ([comment(condition="steps.x.output == 1")], "steps[0].condition", "no step has the key 'x'"),
        ([comment(condition="item > 1")], "steps[0].condition", "inside a foreach"),
        ([comment(condition="rawPayload.legs.exists(item, item > 1)")], None, None),
        (
            [_step("parallel", {"branches": [[comment(key="a")], [_later("steps.a.output")]]})],
            "steps[0].params.branches[1][0].params.text",
            "not over",
        ),
        (
            [_step("parallel", {"branches": [[comment(key="a")]]}), _later("steps.a.output")],
            None,
            None,
        ),
        ([comment(), comment(), _later("steps.comment.output")], "steps[2].params.text", "several steps are called"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_path(steps: list[Any], path: str | None, message: str | None) -> None:
    faults = _faults(*steps)
    if path is None or message is None:
        assert faults == {}
    else:
        assert message in faults.get(path, f"not among {faults}")


def test_groups_have_a_depth() -> None:
    step = comment()
    for _ in range(8):
        step = _step("parallel", {"branches": [[step]]})
    assert any("nested 6 deep" in message for message in _faults(step).values())


def test_a_playbook_has_a_size() -> None:
    assert "500 steps" in _faults(*([comment()] * 501))["steps"]
