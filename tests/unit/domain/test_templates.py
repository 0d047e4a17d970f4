"""What a template gives, and what it refuses."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain import templates
from service.domain.exceptions import Severity
from service.domain.templates import TemplateError, UnresolvedError, parse, render, view_of
from tests.unit.domain.given import NOON, exception


def _rendered(template: Any, payload: dict[str, Any] | None = None) -> Any:
    record = exception("LATE", payload or {}, severity=Severity.HIGH, deadline_at=NOON)
    return render(parse(template), view_of(record, record.raw_payload))


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{ exception.rawPayload.orderId }}", "ORD-1"),
        ("{{exception.rawPayload.orderId}}", "ORD-1"),
        ("{exception.raw_payload.orderId}", "ORD-1"),
        ("{{ exception.rawPayload.amount }}", 12.5),
        ("{{ exception.rawPayload.legs.1.id }}", "b"),
        ("{{ exception.rawPayload.legs }}", [{"id": "a"}, {"id": "b"}]),
        ("order {exception.rawPayload.orderId}: {{ exception.rawPayload.amount }}", "order ORD-1: 12.5"),
        ("{{ exception.exceptionType }}/{exception.severity}", "LATE/HIGH"),
        ("{{ exception.deadlineAt }}", "2026-01-05T12:00:00+00:00"),
        ("{exception.tenant_id} {exception.source_system}", "ACME ledger"),
        ("no placeholder, {not one} either", "no placeholder, {not one} either"),
        (7, 7),
        ({"a": ["{{ exception.rawPayload.orderId }}", 1], "b": {"c": True}}, {"a": ["ORD-1", 1], "b": {"c": True}}),
    ],
)
def test_a_template_takes_its_values_from_the_exception(template: Any, value: Any) -> None:
    assert _rendered(template, {"orderId": "ORD-1", "amount": 12.5, "legs": [{"id": "a"}, {"id": "b"}]}) == value


@pytest.mark.parametrize(
    ("template", "expression"),
    [
        ("{{ exception.rawPayload.orderId }}", "exception.rawPayload.orderId"),
        ("x {exception.rawPayload.a.b} y", "exception.rawPayload.a.b"),
        ("{{ exception.rawPayload.list.7 }}", "exception.rawPayload.list.7"),
        ("{{ exception.entity }}", "exception.entity"),
    ],
)
def test_what_the_exception_does_not_have_is_an_error_that_names_the_expression(template: str, expression: str) -> None:
    with pytest.raises(UnresolvedError) as failure:
        _rendered(template, {"a": {}, "list": []})
    assert failure.value.expression == expression


@pytest.mark.parametrize(
    "template",
    [
        "{{ exception.rawPayload.orderId",
        "exception.rawPayload.orderId }}",
        "{{ rawPayload.orderId }}",
        "{{ exception }}",
        "{{ exception.colour }}",
        "{{ exception.severity.name }}",
        "{{ exception.rawPayload.a + 1 }}",
        "{{ steps.one }}",
        "{{ steps.one.colour }}",
        "{{ index.x }}",
        "{{}}",
        {"deep": ["{{ exception.nothing }}"]},
    ],
)
def test_what_cannot_be_parsed_is_refused_when_the_pack_is_read(template: Any) -> None:
    with pytest.raises(TemplateError):
        parse(template)


_names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)
_values = st.recursive(
    st.integers() | st.booleans() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=8,
)


@given(name=_names, value=_values)
def test_a_lone_placeholder_gives_the_very_value(name: str, value: Any) -> None:
    assert _rendered(f"{{{{ exception.rawPayload.{name} }}}}", {name: value}) == value


@given(value=st.text(alphabet=st.characters(blacklist_characters="{}"), max_size=50))
def test_text_without_braces_is_a_constant(value: str) -> None:
    assert templates.placeholders(parse(value)) == []
    assert _rendered(value) == value


@given(payload=st.dictionaries(_names, st.text(max_size=10), min_size=1, max_size=3))
def test_a_value_is_never_read_as_a_template(payload: dict[str, str]) -> None:
    # given a payload whose values look like templates
    poisoned = {name: "{{ exception.tenantId }}" + text for name, text in payload.items()}
    name = next(iter(poisoned))
    # then they come through as they are
    assert _rendered(f"<{{exception.rawPayload.{name}}}>", poisoned) == f"<{poisoned[name]}>"
