"""Patterns of messages and signatures of failures: one cause is one cluster, different causes stay apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import (
    ConditionFailedError,
    NothingToApproveError,
    PayloadInvalidError,
    StepNotWaitingError,
    TemplateUnresolvedError,
    ToolNotApprovedError,
)
from service.domain.signatures import LONGEST_MESSAGE, LONGEST_PATTERN, pattern, signature
from service.engine.failures import StageFaultError
from service.persistence.sealing import SealKeyUnknownError

ALIKE = [
    # One cause, told of two exceptions.
    ("order 4711 is unknown", "order 4712 is unknown", "order <number> is unknown"),
    ("amount -1,234.50 EUR is too much", "amount 17 EUR is too much", "amount <number> EUR is too much"),
    ("rate 3.5% is out of 0.1..2", "rate 17% is out of 0.25..2", "rate <number> is out of <number>..<number>"),
    ("id 01a205fe-b64c-7364-9d0e-26506e68e860 is unknown", "id 01A205FE-B64C-7364-9D0E-26506E68E861 is unknown",
     "id <uuid> is unknown"),
    ("due 2026-01-31T12:00:00Z", "due 2026-02-01 09:30:00.123+01:00", "due <time>"),
    ("due 2026-01-31, not before 12:30", "due 2027-02-28, not before 9:00", "due <time>, not before <time>"),
    ("customer 'Smith & Sons' has no account", "customer 'O\\'Neill' has no account",
     "customer <quoted> has no account"),
    ('name "a b" is taken', "name 'c' is taken", "name <quoted> is taken"),
    ("reached jane.doe+x@example.com", "reached j@sub.example.org", "reached <email>"),
    ("account DE89 3704 0044 0532 0130 00 is closed", "account GB29NWBK60161331926819 is closed",
     "account <iban> is closed"),
    ("at 0x7f3a, offset deadbeef01", "at 0x1, offset 00c0ffee42", "at <hex>, offset <id>"),
    ("trade TRD-2026-0001 failed", "trade TRD-2026-0002 failed", "trade <id> failed"),
    ("position P0042317 failed", "position Q9917744 failed", "position <id> failed"),
    ("items[0].price and items[12].price", "items[3].price and items[4].price",
     "items<index>.price and items<index>.price"),
    ("see https://a.example/x?id=1", "see http://b.example:8080/", "see <url>"),
    ("the name x\n has   no address", "the name x has no address", "the name x has no address"),
]  # fmt: skip

APART = [
    ("tool 'settle' answered 404", "tool 'settle' answered 422"),
    ("tool 'settle' refused the item (ERR_1001)", "tool 'settle' refused the item (ERR_1002)"),
    ("tool 'settle' refused the item (INSUFFICIENT_FUNDS)", "tool 'settle' refused the item (ACCOUNT_CLOSED)"),
    ("rawPayload.amount is required (number) and missing", "rawPayload.currency is required (string) and missing"),
    ("tool 'x' could not be reached (Connection refused)", "tool 'x' could not be reached (timed out)"),
    ("the stage itself failed (KeyError; its log has the cause)", "the stage itself failed (TypeError; its log has)"),
]


@pytest.mark.parametrize(("one", "other", "expected"), ALIKE)
def test_messages_of_one_cause_have_one_pattern(one: str, other: str, expected: str) -> None:
    assert pattern(one) == expected
    assert pattern(other) == expected


@pytest.mark.parametrize(("one", "other"), APART)
def test_messages_of_different_causes_stay_apart(one: str, other: str) -> None:
    assert pattern(one) != pattern(other)


def test_what_belongs_to_the_pack_stays_although_it_is_quoted() -> None:
    # given the messages of errors that quote conditions and tools of a pack
    dear = ConditionFailedError("severityRules[0]", "rawPayload.amount > 1000 && x == 'A1'", "no such key: amount")
    cheap = ConditionFailedError("severityRules[3]", "rawPayload.amount > 10", "no such key: amount")
    refused = [ToolNotApprovedError(step, tool, "it is blocked") for step, tool in (("1", "pay"), ("2", "ship"))]
    # then the pattern has them, and two of them are two causes
    assert repr("rawPayload.amount > 1000 && x == 'A1'") in pattern(str(dear), dear.names)
    assert pattern(str(dear), dear.names) != pattern(str(cheap), cheap.names)
    assert pattern(str(refused[0]), refused[0].names).startswith("<number>: tool 'pay' may not be called")
    assert pattern(str(refused[0]), refused[0].names) != pattern(str(refused[1]), refused[1].names)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PayloadInvalidError(["rawPayload.lines must be of type array, not string (entity Order)"]),
         "rawPayload.lines must be of type array, not string (entity Order)"),
        (PayloadInvalidError(["2[14]: there are 130 items, the foreach's `max` allows 100"]),
         "<number><index>: there are <number> items, the foreach's `max` allows <number>"),
        (TemplateUnresolvedError("2[7].1", "item.orderId", "there is no orderId"),
         "<number><index>.<number>: {{ item.orderId }} cannot be resolved: there is no orderId; "
         "correct the playbook or send an update with the missing field, then redrive"),
        (StepNotWaitingError("3", None), "step <quoted> cannot be completed: the plan waits for no step"),
        (NothingToApproveError(1, 2), "<number> of <number> approvals were given; the last one needed lets the "
         "exception go on"),
        (StageFaultError(KeyError("secret")),
         "the stage itself failed (KeyError; its log has the cause): report it with the exception's id and redrive "
         "after the fix"),
        (SealKeyUnknownError("k-2026-01"), None),
    ],
)  # fmt: skip
def test_messages_of_this_code_base(error: Exception, expected: str | None) -> None:
    found = pattern(str(error), getattr(error, "names", ()))
    assert expected is None or found == expected
    assert not any(digit in found for digit in "0123456789")


def test_a_signature_is_of_stage_class_pattern_and_tool() -> None:
    # given one failure and four that differ in one thing each
    base = ("tool", "ToolUnavailable", "tool <quoted> answered 503", "settle")
    others = [
        ("triage", *base[1:]),
        (base[0], "ToolRefused", *base[2:]),
        (*base[:2], "tool <quoted> answered 500", base[3]),
        (*base[:3], None),
    ]
    # then all five are told apart, and the same failure is always the same
    found = [signature(*one) for one in (base, *others)]
    assert len(set(found)) == 5
    assert found[0] == signature(*base)
    assert all(len(one) == 16 and int(one, 16) >= 0 for one in found)


_PIECES = st.sampled_from(
    ["'", '"', "\\", "<", ">", "(", ")", "[", "]", "@", "://", "-", ".", ":", "T", "Z", " ", "\n", "é", "answered 503",
     "2026-01-31", "DE89370400440532013000", "a1b2c3d4", "0x1f", "12", "3.5e7", "x", "status ", "item ("]
)  # fmt: skip
MESSAGES = st.one_of(st.text(max_size=600), st.lists(_PIECES, max_size=400).map("".join))


@given(MESSAGES, st.lists(st.text(max_size=20), max_size=3))
def test_a_pattern_is_stable_and_bounded(message: str, names: list[str]) -> None:
    found = pattern(message, names)
    assert pattern(found, names) == found
    assert pattern(message, names) == found
    assert len(found) <= LONGEST_PATTERN


@given(
    st.from_regex(r"[A-Z]{3}-[0-9]{4,12}", fullmatch=True),
    st.decimals(allow_nan=False, allow_infinity=False, places=2, min_value=0, max_value=10**12),
    st.uuids(),
    st.datetimes(),
    st.text(st.characters(codec="utf-8", exclude_characters="'\\\n", exclude_categories=["Cc"]), max_size=30),
)
def test_what_differs_between_exceptions_is_not_in_a_pattern(
    trade: str, amount: object, identifier: object, moment: object, name: str
) -> None:
    def told(*parts: object) -> str:
        return "trade {} of {} for {}, due {}, by '{}'".format(*parts)

    expected = pattern(told("TRD-00017", "1.50", "01a205fe-b64c-7364-9d0e-26506e68e860", "2026-01-31", "Ann"))
    assert pattern(told(trade, f"{amount:f}", identifier, moment, name)) == expected


def test_only_the_beginning_of_an_endless_message_counts() -> None:
    assert pattern("9 " * 100_000) == pattern("9 " * LONGEST_MESSAGE)
