"""What redaction hides, and what it leaves as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.redaction import MASK, Redactor

_REDACTOR = Redactor.of(["customer.taxId", "legs.account", "pin"])


def test_declared_fields_are_masked_wherever_lists_lead() -> None:
    payload = {
        "pin": 1234,
        "customer": {"taxId": "X-1", "name": "Ada"},
        "legs": [{"account": "A1", "qty": 1}, {"qty": 2}, [{"account": "A2"}]],
    }
    redacted = _REDACTOR.redact(payload)
    assert redacted.view == {
        "pin": MASK,
        "customer": {"taxId": MASK, "name": "Ada"},
        "legs": [{"account": MASK, "qty": 1}, {"qty": 2}, [{"account": MASK}]],
    }
    assert set(redacted.masked) == {"pin", "customer.taxId", "legs.account"}
    # and the payload itself is as it was
    assert payload["pin"] == 1234
    assert payload["customer"] == {"taxId": "X-1", "name": "Ada"}


def test_a_whole_branch_can_be_sensitive() -> None:
    redactor = Redactor.of(["customer.taxId", "customer"])
    assert redactor.redact({"customer": {"taxId": "X", "name": "Ada"}}).view == {"customer": MASK}


@pytest.mark.parametrize(
    "payload", [{}, {"other": 1}, {"customer": "Ada"}, {"customer": None}, {"legs": []}, {"pin": None}]
)
def test_a_payload_without_the_fields_is_returned_as_it_is(payload: dict[str, Any]) -> None:
    redacted = _REDACTOR.redact(payload)
    assert redacted.view is payload
    assert redacted.masked == ()


def test_a_tool_that_needs_a_field_can_read_it() -> None:
    view = _REDACTOR.without(["pin"]).redact({"pin": 1234, "customer": {"taxId": "X"}}).view
    assert view == {"pin": 1234, "customer": {"taxId": MASK}}


def test_answers_and_comments_are_masked_by_name_and_by_value() -> None:
    payload = {"pin": 123456, "customer": {"taxId": "DE-99-1"}}
    answer = {"echo": {"pin": 123456, "ref": "for DE-99-1"}, "codes": [123456, True, None], "n": 3}
    assert _REDACTOR.redact_foreign(answer, payload) == {
        "echo": {"pin": MASK, "ref": f"for {MASK}"},
        "codes": [MASK, True, None],
        "n": 3,
    }
    assert _REDACTOR.redact_foreign("customer DE-99-1 called", payload) == f"customer {MASK} called"


_names = st.sampled_from(["pin", "customer", "taxId", "legs", "account", "other"])
_payloads = st.dictionaries(
    _names,
    st.recursive(
        st.integers() | st.text(max_size=5) | st.none(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
        max_leaves=10,
    ),
    max_size=4,
)
_redactors = st.lists(st.lists(_names, min_size=1, max_size=3).map(".".join), max_size=4).map(Redactor.of)


@given(payload=_payloads, redactor=_redactors)
def test_redacting_twice_is_redacting_once(payload: dict[str, Any], redactor: Redactor) -> None:
    once = redactor.redact(payload).view
    assert redactor.redact(once).view == once


@given(payload=_payloads, redactor=_redactors)
def test_redaction_never_changes_the_payload(payload: dict[str, Any], redactor: Redactor) -> None:
    before = json.dumps(payload)
    redactor.redact(payload)
    assert json.dumps(payload) == before


@given(payload=_payloads, path=st.lists(_names, min_size=1, max_size=3))
def test_no_value_at_a_declared_path_is_left(payload: dict[str, Any], path: list[str]) -> None:
    view = Redactor.of([".".join(path)]).redact(payload).view
    assert all(value in (None, MASK) for value in _values_at(view, path))


def _values_at(value: Any, path: list[str]) -> list[Any]:
    if isinstance(value, list):
        return [found for item in value for found in _values_at(item, path)]
    if not path:
        return [value]
    if isinstance(value, dict) and path[0] in value:
        return [value[path[0]]] if len(path) == 1 else _values_at(value[path[0]], path[1:])
    return []
