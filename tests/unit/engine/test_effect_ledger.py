"""What the effect ledger allows: nothing is ever repeated blindly."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.plans import ToolCall
from service.engine.effect_ledger import LEASE_MARGIN, Permission, judge_effect, lease_until
from service.persistence.stages import Effect

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
PAST, FUTURE = NOW - timedelta(seconds=1), NOW + timedelta(seconds=7)


def call(*, idempotent: bool) -> ToolCall:
    return ToolCall(tool="pay", url="https://tools.example.com/pay", parameters={}, idempotent=idempotent)


@pytest.mark.parametrize("idempotent", [True, False])
def test_a_first_call_goes_out(idempotent: bool) -> None:
    judgement = judge_effect(None, call(idempotent=idempotent), NOW)
    assert (judgement.permission, judgement.attempt) == (Permission.SEND, 1)


def test_a_confirmed_effect_is_never_called_again() -> None:
    effect = Effect("confirmed", 1, None, {"status": "ok"})
    assert judge_effect(effect, call(idempotent=True), NOW).permission is Permission.ADOPT


def test_while_another_delivery_makes_the_call_this_one_waits() -> None:
    assert judge_effect(Effect("sent", 1, FUTURE, None), call(idempotent=True), NOW).permission is Permission.HELD


def test_an_unanswered_call_goes_out_again_only_to_a_tool_that_ignores_repetitions() -> None:
    # given a call that was sent by a worker that is gone
    unanswered = Effect("sent", 1, PAST, None)
    # then an idempotent tool gets it again, under the next attempt
    again = judge_effect(unanswered, call(idempotent=True), NOW)
    assert (again.permission, again.attempt) == (Permission.SEND, 2)
    # and for any other tool a person decides
    assert judge_effect(unanswered, call(idempotent=False), NOW).permission is Permission.UNKNOWN


def test_a_call_the_tool_did_not_work_may_go_out_again() -> None:
    judgement = judge_effect(Effect("intent", 3, None, None), call(idempotent=False), NOW)
    assert (judgement.permission, judgement.attempt) == (Permission.SEND, 4)


def test_a_lease_outlives_the_call_and_the_time_to_write_its_answer_down() -> None:
    assert lease_until(call(idempotent=True), NOW) == NOW + timedelta(seconds=10) + LEASE_MARGIN


effects = st.builds(
    Effect,
    state=st.sampled_from(["intent", "sent", "confirmed", "failed", "unknown"]),
    attempt=st.integers(1, 9),
    lease_until=st.sampled_from([None, PAST, FUTURE]),
    output=st.none(),
)


@given(effects)
def test_what_may_have_happened_is_never_sent_to_a_tool_that_would_work_it_again(effect: Effect) -> None:
    permission = judge_effect(effect, call(idempotent=False), NOW).permission
    assert (permission is Permission.SEND) == (effect.state in ("intent", "failed"))
