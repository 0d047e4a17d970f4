"""What the retry policies promise: limits of their own, full jitter under a cap, never before the time named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.exceptions import Stage
from service.domain.retries import DEFAULTS, NEVER, RetryPolicy, Tries, wait_before
from service.errors import ErrorKind

TRANSIENT, LIMITED = ErrorKind.TRANSIENT, ErrorKind.RATE_LIMITED

seconds = st.floats(0, 1_000_000, allow_nan=False)
jitters = st.floats(0, 1)
policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 100),
    backoff_seconds=st.floats(0, 86_400),
    max_backoff_seconds=st.floats(0, 86_400),
    max_retry_after_seconds=st.floats(0, 604_800),
)


@pytest.mark.parametrize("stage", Stage)
@pytest.mark.parametrize("kind", [ErrorKind.PERMANENT, ErrorKind.POISON])
def test_what_will_fail_again_is_never_tried_again(stage: Stage, kind: ErrorKind) -> None:
    assert DEFAULTS.of(stage, kind) is NEVER
    assert Tries().exhausted(kind, NEVER)


@pytest.mark.parametrize("stage", Stage)
def test_every_stage_has_a_policy_for_what_may_pass(stage: Stage) -> None:
    for kind in (TRANSIENT, LIMITED):
        policy = DEFAULTS.of(stage, kind)
        assert policy.max_retries > 0
        assert 0 < policy.backoff_seconds <= policy.max_backoff_seconds
    assert DEFAULTS.of(stage, LIMITED).max_retry_after_seconds > 0


def test_the_wait_doubles_up_to_the_cap_and_all_of_it_is_jittered() -> None:
    policy = RetryPolicy(max_retries=9, backoff_seconds=2, max_backoff_seconds=10)
    assert [policy.backoff(failed, 1.0) for failed in range(5)] == [2, 4, 8, 10, 10]
    assert [policy.backoff(failed, 0.0) for failed in range(5)] == [0, 0, 0, 0, 0]
    assert policy.backoff(2, 0.25) == 2


@given(policies, st.integers(0, 10_000), jitters)
def test_no_backoff_is_beyond_the_cap(policy: RetryPolicy, failed: int, jitter: float) -> None:
    assert 0 <= policy.backoff(failed, jitter) <= policy.max_backoff_seconds


@given(policies, st.integers(0, 100), jitters, seconds)
def test_nobody_comes_back_before_the_time_named_unless_it_is_beyond_the_cap(
    policy: RetryPolicy, failed: int, jitter: float, asked: float
) -> None:
    # when somebody asked for a wait
    wait = wait_before(policy, failed, jitter, asked)
    # then it is kept
    assert wait.seconds >= min(asked, policy.max_retry_after_seconds)
    # and when it was cut, that is said
    assert wait.capped == (asked > policy.max_retry_after_seconds)
    assert wait.asked_seconds == asked
    # and what is added is jitter, so that all who were told the same do not come back together
    assert wait.seconds <= min(asked, policy.max_retry_after_seconds) + policy.max_backoff_seconds


def test_a_wait_nobody_asked_for_is_the_backoff_alone() -> None:
    wait = wait_before(RetryPolicy(3, 4, 60, 3_600), failed=1, jitter=0.5)
    assert (wait.seconds, wait.asked_seconds, wait.capped) == (4, None, False)


def test_a_busy_tool_does_not_use_up_the_tries_of_a_broken_one() -> None:
    # given a policy of two retries, and three rate limits before
    policy = RetryPolicy(max_retries=2)
    tries = Tries(failed=3, rate_limited=3)
    # then two more failures of another kind are allowed, and the third is the last
    for left in (2, 1):
        assert not tries.exhausted(TRANSIENT, policy), left
        tries = tries.after(TRANSIENT)
    assert tries.exhausted(TRANSIENT, policy)
    # and neither do these count against the rate limit
    assert not tries.exhausted(LIMITED, RetryPolicy(max_retries=4))
    assert tries.exhausted(LIMITED, RetryPolicy(max_retries=3))


def test_people_are_told_which_attempt_is_the_last() -> None:
    # given four attempts in all
    policy = RetryPolicy(max_retries=3)
    assert Tries().allowed(TRANSIENT, policy) == 4
    # then each rate limit in between moves the last one further
    assert Tries(failed=2, rate_limited=1).allowed(TRANSIENT, policy) == 5


@given(st.lists(st.sampled_from([TRANSIENT, LIMITED]), max_size=60), st.integers(0, 20), st.integers(0, 20))
def test_an_exception_is_given_up_at_the_limit_of_some_kind_and_never_before(
    failures: list[ErrorKind], transient: int, limited: int
) -> None:
    policies = {TRANSIENT: RetryPolicy(transient), LIMITED: RetryPolicy(limited)}
    tries = Tries()
    for number, kind in enumerate(failures):
        seen = failures[:number].count(kind)
        assert tries.exhausted(kind, policies[kind]) == (seen >= policies[kind].max_retries)
        assert tries.failed == number
        tries = tries.after(kind)
