"""The published schemas: the packs we ship are valid by them, other dialects pass, and what is wrong is underlined."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from service.domain.packs import PackKind, parse_domain_pack
from service.domain.packs.reading.documents import kind_of
from service.domain.packs.schemas import pack_schema
from tests.unit.domain.given import EXAMPLES, domain_document
from tests.unit.domain.test_pack_dialects import _SNAKE

_VALIDATORS = {kind: Draft202012Validator(pack_schema(kind)) for kind in PackKind}
_PAGE = (Path(__file__).parents[3] / "docs" / "packs.md").read_text()


def _underlined(document: Any, kind: PackKind = PackKind.DOMAIN) -> list[str]:
    return sorted(error.json_path for error in _VALIDATORS[kind].iter_errors(document))


@pytest.mark.parametrize("kind", PackKind)
def test_the_schemas_are_schemas(kind: PackKind) -> None:
    schema = pack_schema(kind)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"].endswith("2020-12/schema")
    json.dumps(schema)
    # every key that people write is described at the place where their editor shows it
    assert "domainName" in schema["properties"]
    assert schema["$defs"]["Severity"]["anyOf"][0]["enum"] == ["LOW", "MEDIUM", "HIGH", "CRITICAL"]


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.*.json")), ids=lambda path: path.name)
def test_the_example_packs_are_valid(file: Path) -> None:
    document = json.loads(file.read_text())
    assert _underlined(document, kind_of(document)) == []


def test_the_packs_of_the_page_are_valid() -> None:
    documents = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", _PAGE, re.DOTALL)]
    packs = [document for document in documents if "domainName" in document]
    assert packs
    assert [_underlined(document, kind_of(document)) for document in packs] == [[] for _ in packs]


def test_a_pack_in_another_dialect_does_not_light_up() -> None:
    assert _underlined(_SNAKE) == []


@pytest.mark.parametrize(
    ("keys", "place"),
    [
        ({"severityRules": [{"condition": "true", "severity": "TERRIBLE"}]}, "$.severityRules[0].severity"),
        ({"severityRules": [{"severity": "LOW"}]}, "$.severityRules[0]"),
        ({"tools": {"t": {"endpoint": 5}}}, "$.tools.t.endpoint"),
        ({"tools": {"t": {"kind": "sql", "connection": "c"}}}, "$.tools.t"),
        ({"playbooks": [{"exceptionType": "LATE", "steps": []}]}, "$.playbooks[0].steps"),
        (
            {"playbooks": [{"conditions": {"match": {"wheather": 1}}, "steps": ["Look"]}]},
            "$.playbooks[0].conditions.match",
        ),
        ({"guardrails": {"humanApprovalThreshold": 2}}, "$.guardrails.humanApprovalThreshold"),
        ({"detectorsOff": ["smell"]}, "$.detectorsOff[0]"),
    ],
)
def test_what_is_wrong_is_underlined_where_it_is(keys: dict[str, Any], place: str) -> None:
    assert any(
        found.startswith(place) or (place.startswith(found) and found != "$")
        for found in _underlined(domain_document(**keys))
    )


def test_a_pack_may_name_its_schema() -> None:
    document = domain_document(**{"$schema": "https://sentinai.example/schemas/domain-pack.json"})
    assert parse_domain_pack(document).warnings == ()
    assert _underlined(document) == []
