"""The page on playbooks: its examples are read without a fault, and every kind of step and key is on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.domain.packs import parse_domain_pack
from service.domain.packs.playbooks import Match
from service.domain.packs.steps import ActionType, BranchParams, ForeachParams, StepBase, WaitParams

_PAGE = (Path(__file__).parents[3] / "docs" / "playbooks.md").read_text()
_TRACE = {"name": "trace", "action_type": "call_tool", "params": {"tool": "traceParcel"}, "step_order": 100}


def _examples() -> Iterator[Any]:
    for found in re.finditer(r"```json\n(.*?)```", _PAGE, re.DOTALL):
        yield json.loads(found[1])


def _document(example: Any) -> dict[str, Any]:
    """A pack with the example in it, and with the tools and the earlier step that it speaks of."""
    if "steps" in example:
        playbook = example
    else:
        steps = example if isinstance(example, list) else [example]
        first = [] if any(step.get("name") == "trace" for step in steps) else [{**_TRACE, "step_order": 1}]
        ordered = [{**step, "step_order": order} for order, step in enumerate(steps, 2)]
        playbook = {"exceptionType": "PARCEL_LATE", "steps": [*first, *ordered]}
    tools = ("traceParcel", "settleLeg", "bookCarrier", "cancelBooking", "payCarrier")
    return {
        "domainName": "Parcels",
        "exceptionTypes": {"PARCEL_LATE": {}},
        "tools": {name: {"endpoint": "https://tools.example/x"} for name in tools},
        "playbooks": [playbook],
    }


@pytest.mark.parametrize("example", list(_examples()), ids=lambda example: str(example)[:50])
def test_the_pages_examples_are_read_without_a_fault(example: Any) -> None:
    assert [w for w in parse_domain_pack(_document(example)).warnings if "notif" not in w.message] == []


@pytest.mark.parametrize(
    "names",
    [
        list(ActionType),
        list(StepBase.model_fields),
        list(Match.model_fields),
        [*WaitParams.model_fields][:4],
        [*ForeachParams.model_fields],
        [field for field in BranchParams.model_fields if field not in ("condition", "otherwise")],
    ],
)
def test_every_kind_of_step_and_every_key_is_on_the_page(names: list[str]) -> None:
    assert [name for name in names if f"`{name}`" not in _PAGE and f'"{name}"' not in _PAGE] == []
