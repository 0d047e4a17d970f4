"""A pack's text: what is read from JSON and YAML, and on which line everything stands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from service.domain.packs import PackInvalidError
from service.domain.packs.reading.documents import PackKind, read_document
from tests.unit.domain.given import EXAMPLES

_JSON = """{
\t"domainName": "Deliveries",
\t"severityRules": [
\t\t{"condition": "true",
\t\t "severity": "HIGH"},
\t\t{
\t\t\t"severity": "LOW"
\t\t}
\t],
\t"tools": {"odd name": {"endpoint": "https://x.example"}}
}"""

_YAML = """\
domainName: Deliveries
notificationPolicies:
  - on: [ExceptionEscalated]
    channel: webhook
severityRules:
  - condition: "true"
    severity: HIGH
  - severity: LOW
"""


def _refused(text: str, name: str = "") -> list[tuple[int | None, str, str]]:
    with pytest.raises(PackInvalidError) as refused:
        read_document(text, name)
    return [(fault.line, fault.path, fault.message) for fault in refused.value.faults]


def test_every_part_of_a_json_text_knows_its_line() -> None:
    read = read_document(_JSON, "Deliveries.domain.json")
    assert read.document == json.loads(_JSON)
    assert read.kind is PackKind.DOMAIN
    assert [
        read.line_of(path)
        for path in (
            "domainName",
            "severityRules",
            "severityRules[0].severity",
            "severityRules[1]",
            "tools['odd name'].endpoint",
        )
    ] == [2, 3, 5, 6, 10]


def test_what_is_missing_is_told_where_it_should_be() -> None:
    read = read_document(_JSON)
    assert read.line_of("severityRules[1].condition") == 6
    assert read.line_of("tools['odd name'].parameters.id.type") == 10
    assert read.line_of("playbooks") is None


def test_yaml_says_what_json_says_with_its_lines() -> None:
    read = read_document(_YAML, "d.yaml")
    # `on` is a key like any other, not a boolean
    assert read.document["notificationPolicies"] == [{"on": ["ExceptionEscalated"], "channel": "webhook"}]
    assert read.document["severityRules"] == [{"condition": "true", "severity": "HIGH"}, {"severity": "LOW"}]
    assert [read.line_of(path) for path in ("severityRules[0].severity", "severityRules[1].condition")] == [7, 8]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026-01-05", "2026-01-05"),
        ("no", "no"),
        ("007", "007"),
        ("1e6", 1e6),
        ("-3", -3),
        ("~", None),
        ("", None),
        ("true", True),
        ("'true'", "true"),
        ("12:30", "12:30"),
        (".nan", ".nan"),
    ],
)
def test_a_yaml_scalar_is_read_by_the_rules_of_json(text: str, value: Any) -> None:
    assert read_document(f"key: {text}", "x.yml").document == {"key": value}


def test_a_tenant_pack_is_told_by_its_tenant_in_either_spelling() -> None:
    assert read_document('{"tenantId": "A"}').kind is PackKind.TENANT
    assert read_document("tenant_id: A").kind is PackKind.TENANT


@pytest.mark.parametrize(
    ("text", "name", "line", "path", "message"),
    [
        ('{\n"a" 1}', "x.json", 2, "", "not JSON"),
        ('{"a": 1,\n"a": 2}', "", 2, "a", "said twice; its first line is 1"),
        ('{"a":\n[1, NaN]}', "", 2, "a[1]", "not a number"),
        ('{"a": 1e999}', "", 1, "a", "not a number"),
        ('{"a": "\\u0000"}', "", 1, "a", "NUL"),
        ('{"a": "\\ud800"}', "", 1, "a", "surrogate"),
        ("[1]", "", None, "", "one object"),
        ("", "x.yaml", None, "", "one object"),
        ("a: 1\nb:\n  a: 1\n  a: 2", "", 4, "b.a", "said twice; its first line is 3"),
        ("a:\n\tb: 1", "", 2, "", "a tab cannot indent"),
        ("a: &x {b: 1}\nc:\n  <<: *x", "", 3, "c['<<']", "merge keys"),
        ("a: !!python/object:os.system x", "", 1, "a", "cannot be said in JSON"),
        ("a: !!set {x}", "", 1, "a", "cannot be said in JSON"),
        ("a: !!binary aGk=", "", 1, "a", "cannot be said in JSON"),
        ("a: !!int x", "", 1, "a", "not a value of type"),
        ("a: 1e999", "", 1, "a", "not a number"),
        ("? [1, 2]\n: 3", "", 1, "", "a key has to be a text"),
        ("a: 1\n---\nb: 2", "", 2, "", "not YAML"),
        ("a: &x [*x]", "", 1, "a" + "[0]" * 63, "alias of itself"),
    ],
)
def test_what_a_pack_cannot_hold_is_told_with_its_line(
    text: str, name: str, line: int | None, path: str, message: str
) -> None:
    [(told_line, told_path, told)] = _refused(text, name)
    assert (told_line, told_path) == (line, path)
    assert message in told


def test_a_text_made_to_exhaust_its_reader_is_a_fault() -> None:
    laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert "aliases included" in _refused(laughs)[0][2]
    for text in ('{"a":' + "[" * 100 + "]" * 100 + "}", '{"a":' * 100_000, "a: " + "[" * 3_000):
        assert _refused(text)


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.*.json")), ids=lambda path: path.name)
def test_the_example_packs_read_as_the_standard_parser_reads_them(file: Path) -> None:
    assert read_document(file.read_text(), file.name).document == json.loads(file.read_text())


_scalars = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=6)
_documents = st.dictionaries(
    _texts,
    st.recursive(
        _scalars | _texts, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3)
    ),
    max_size=3,
)


@given(document=_documents, indent=st.none() | st.just("\t") | st.integers(0, 3), ascii_only=st.booleans())
def test_any_json_is_read_as_it_was_meant(document: dict[str, Any], indent: Any, ascii_only: bool) -> None:
    read = read_document(json.dumps(document, indent=indent, ensure_ascii=ascii_only), "x.json")
    assert read.document == document


@given(document=_documents)
def test_any_yaml_of_json_values_is_read_as_it_was_meant(document: dict[str, Any]) -> None:
    quoted = yaml.safe_dump(document, default_style='"', allow_unicode=False)
    # what is quoted is a text, unless it carries a tag
    assert read_document(quoted, "x.yaml").document == document
