"""What nobody declared sensitive and is: card numbers, IBANs, e-mail addresses, secrets."""

from __future__ import annotations

import json
import time
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.detectors import MASK, Detector, masked_text, suspicious
from service.domain.expressions import ExpressionError, compile_expression
from service.domain.patterns import Patterns
from service.domain.redaction import Redactor

_ALL = frozenset(Detector)
_FOUND = [
    ("card 4111 1111 1111 1111, exp 12/27", f"card {MASK}, exp 12/27"),
    ("4111-1111-1111-1111 123", f"{MASK} 123"),
    ("no 12 5555555555554444", f"no 12 {MASK}"),
    ("amex 3782 822463 10005", f"amex {MASK}"),
    ("IBAN DE44 5001 0517 5407 3249 31 EUR 500", f"IBAN {MASK} EUR 500"),
    ("GB82WEST12345698765432", MASK),
    ("from NO9386011117947.", f"from {MASK}."),
    ("ask ada.lovelace+x@mail.example.org today", f"ask {MASK} today"),
    ("Żółć@example.pl", MASK),
    ("Authorization: Bearer abcdef0123456789", f"Authorization: Bearer {MASK}"),
    ("id eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", f"id {MASK}"),
    ("AKIAIOSFODNN7EXAMPLE", MASK),
    ("ghp_0123456789abcdefghijABCDEFGHIJ012345", MASK),
    ("password=hunter22&x=1", f"password={MASK}&x=1"),
    ('{"api_key": "0123abcd"}', f'{{"api_key": "{MASK}"}}'),
    ("amqp://app:s3cr3t@mq.example:5672", f"amqp://app:{MASK}@mq.example:5672"),
    (
        "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: x\nMIIE==\n-----END RSA PRIVATE KEY----- after",
        f"{MASK} after",
    ),
    ("-----BEGIN PRIVATE KEY-----\ncut off", MASK),
]
_LEFT = [
    "ORD-1001",
    "4111 1111 1111 1112",
    "1767614400000",
    "2026-01-05T12:00:00.000000Z",
    "US0378331005",
    "037833100",
    "DE44500105175407324932",
    "550e8400-e29b-41d4-a716-446655440000",
    "00000000-0000-4111-1111-111111111111",
    "41111111-1111-1111-8abc-0123456789ab",
    "a @ b",
    "@home",
    "the token ring",
    "basic training",
    "https://tools.example/trace?id=1",
]


@pytest.mark.parametrize(("text", "seen"), _FOUND)
def test_what_is_sensitive_is_masked_and_the_rest_of_the_text_is_left(text: str, seen: str) -> None:
    assert masked_text(text, _ALL) == seen
    # and nothing of it is found a second time
    assert masked_text(seen, _ALL) == seen


@pytest.mark.parametrize("text", _LEFT)
def test_what_only_looks_like_it_is_left(text: str) -> None:
    assert masked_text(text, _ALL) == text


@pytest.mark.parametrize("text", [text for text, _ in _FOUND])
def test_the_cheap_question_never_overlooks_what_a_detector_finds(text: str) -> None:
    assert suspicious(orjson.dumps({"note": text}), _ALL)


def test_the_cheap_question_spares_an_everyday_payload() -> None:
    payload = {"orderId": "ORD-1001", "amount": 250000.0, "isin": "US0378331005", "tradeDate": "2026-01-05"}
    assert not suspicious(orjson.dumps(payload), _ALL)


@given(text=st.text(st.sampled_from('4105 -@.aAkeyDE:/="\\'), max_size=60) | st.text(max_size=30))
def test_the_cheap_question_is_right_about_any_text(text: str) -> None:
    for detector in Detector:
        if masked_text(text, frozenset({detector})) != text:
            assert suspicious(json.dumps({"x": text}, ensure_ascii=False).encode("utf-8", "replace"), {detector})


def test_a_payload_is_searched_to_its_depths_and_says_what_was_found_where() -> None:
    payload = {
        "card": 4111111111111111,
        "legs": [{"memo": "to DE44500105175407324931"}],
        "login": {"password": "x1", "attempts": 3, "apiKey": None},
        "quantity": 5,
    }
    redacted = Redactor.of([], detectors=Detector).redact(payload)
    assert redacted.view == {
        "card": MASK,
        "legs": [{"memo": f"to {MASK}"}],
        "login": {"password": MASK, "attempts": 3, "apiKey": None},
        "quantity": 5,
    }
    assert redacted.detected == ("card (cardNumber)", "legs.memo (iban)", "login.password (secret)")
    assert payload["card"] == 4111111111111111


def test_a_detector_that_is_off_finds_nothing() -> None:
    redactor = Redactor.of([], detectors=_ALL - {Detector.EMAIL})
    payload = {"mail": "ada@example.org"}
    assert redactor.redact(payload).view is payload


def test_a_tool_that_needs_a_field_gets_it_whatever_would_mask_it() -> None:
    redactor = Redactor.of(["customer.taxId"], Patterns.of(keys=["(?i)ssn"]), Detector)
    payload = {"mail": "ada@example.org", "copy": "ada@example.org", "ssn": "123", "customer": {"taxId": "X-1"}}
    needs = redactor.without(["mail", "ssn", "customer.taxId"])
    assert needs.redact(payload).view == {**payload, "copy": MASK}
    # and is told apart from the one that does not need it
    assert len({needs.key, redactor.key, redactor.without(["mail"]).key}) == 3


def test_patterns_mask_fields_by_name_and_parts_of_values() -> None:
    redactor = Redactor.of([], Patterns.of(keys=["(?i)^ssn$"], values=[r"\bMRN-\d+\b", r"^\d{6}$"]))
    payload = {"SSN": 123, "note": "MRN-77 and MRN-8", "pin": 123456, "deep": [{"ssn": {"a": 1}}], "ssnx": 1}
    view = {"SSN": MASK, "note": f"{MASK} and {MASK}", "pin": MASK, "deep": [{"ssn": MASK}], "ssnx": 1}
    assert redactor.redact(payload).view == view
    assert redactor.redact(view).view == view


def test_answers_and_comments_are_searched_as_payloads_are() -> None:
    redactor = Redactor.of([], Patterns.of(keys=["ssn"]), Detector)
    payload = {"ssn": "078-05-1120"}
    assert redactor.redact_foreign("078-05-1120 called from ada@example.org", payload) == f"{MASK} called from {MASK}"
    assert redactor.redact_foreign({"echo": ["078-05-1120"], "ssn": 5}, payload) == {"echo": [MASK], "ssn": MASK}


@pytest.mark.parametrize("source", ["(a", "(?=x)", r"(a)\1"])
def test_what_re2_cannot_run_is_not_a_pattern(source: str) -> None:
    with pytest.raises(ExpressionError, match="not a regular expression of RE2"):
        compile_expression(source)


@pytest.mark.parametrize(
    "text",
    [
        "a" * 200_000 + "@",
        "a@" * 100_000,
        "-eyJaaaaaaaa" * 20_000,
        "AA00 " * 40_000,
        "DE44 5001 " * 20_000,
        "411 " * 50_000,
        "4" * 200_000,
        "://a:" * 40_000,
        "bearer " * 30_000,
        "-----BEGIN PRIVATE KEY-----" * 8_000,
    ],
    ids=lambda text: text[:12],
)
def test_no_text_makes_a_detector_slow(text: str) -> None:
    began = time.process_time()
    masked_text(text, _ALL)
    # linear: a fifth of a megabyte takes tens of milliseconds; anything quadratic takes minutes
    assert time.process_time() - began < 10


def test_a_pattern_made_to_hang_does_not() -> None:
    began = time.process_time()
    Patterns.of(values=["(a+)+$"]).masked("a" * 50_000 + "b")
    assert time.process_time() - began < 10


_values = st.recursive(
    st.integers() | st.text(max_size=8) | st.sampled_from([text for text, _ in _FOUND]) | st.none() | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["note", "ssn", "password", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(payload=st.dictionaries(st.sampled_from(["note", "ssn", "password", "a"]), _values, max_size=4))
def test_redacting_twice_is_redacting_once_and_leaves_the_payload(payload: dict[str, Any]) -> None:
    redactor = Redactor.of(["a.note"], Patterns.of(keys=["ssn"], values=["[A-Z]{2}"]), Detector)
    before = json.dumps(payload)
    once = redactor.redact(payload).view
    assert redactor.redact(once).view == once
    assert json.dumps(payload) == before


@given(secret=st.text("abcdefgh0123456789", min_size=6, max_size=12), around=st.text(max_size=5))
def test_no_declared_value_survives_in_an_answer(secret: str, around: str) -> None:
    redactor = Redactor.of(["customer.code"], Patterns.of(keys=["^pin"]))
    payload = {"customer": {"code": secret}, "pin1": f"{secret}x"}
    answer = {"told": f"{around}{secret}{around}", "list": [secret, f"{secret}x"], "code": 1, "pin9": secret}
    assert secret not in json.dumps(redactor.redact_foreign(answer, payload), ensure_ascii=False)
