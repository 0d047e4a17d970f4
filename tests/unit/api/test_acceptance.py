"""What makes two requests the same."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.api.acceptance import content_hash, external_key
from service.api.intake_schemas import NewException

names = st.text(st.sampled_from("ab:%3A25"), min_size=1, max_size=6)


def item(**members: Any) -> NewException:
    return NewException.model_validate({"sourceSystem": "ERP", "rawPayload": {"a": 1, "b": {"c": 2}}, **members})


def test_order_and_what_says_nothing_do_not_make_a_difference() -> None:
    assert content_hash(item()) == content_hash(item(rawPayload={"b": {"c": 2}, "a": 1}, severity=None, tenantId="T"))


def test_every_member_makes_a_difference() -> None:
    variants = [
        item(),
        item(sourceSystem="CRM"),
        item(externalId="1"),
        item(exceptionType="1"),
        item(entity="1"),
        item(severity="LOW"),
        item(occurredAt="2026-01-31T12:00:00Z"),
        item(rawPayload={"a": 1, "b": {"c": 3}}),
        item(rawPayload={"a": "1", "b": {"c": 2}}),
    ]
    assert len({content_hash(variant) for variant in variants}) == len(variants)


@given(st.lists(names, min_size=3, max_size=5), st.data())
def test_a_colon_in_a_name_does_not_make_two_pairs_one(parts: list[str], data: st.DataObject) -> None:
    # given one text with colons, cut into source and id at two of them
    cuts = st.integers(1, len(parts) - 1)
    pairs = [(":".join(parts[:cut]), ":".join(parts[cut:])) for cut in (data.draw(cuts), data.draw(cuts))]
    # then the keys are the same exactly when the cut is
    first, second = (external_key(*pair) for pair in pairs)
    assert (first == second) == (pairs[0] == pairs[1])


def test_an_ordinary_source_is_named_as_it_is() -> None:
    assert external_key("ERP", "SF-1") == "external:ERP:SF-1"
