"""Guards of people and time: timers, approvals, steps by hand."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

TIMERS = "service/persistence/statements/timers.py"
APPROVALS = "service/api/views/approvals.py"
STEPS = "service/api/views/steps.py"
TEST_TIMERS = "tests/integration/dispatch/test_timers.py"
TEST_APPROVALS = "tests/integration/api/test_approvals.py"
TEST_STEPS = "tests/integration/api/test_steps.py"

MUTATIONS = (
    Mutation(
        "dispatchers do not wait for each other's timers",
        TIMERS,
        "ORDER BY exception_id FOR UPDATE SKIP LOCKED",
        "ORDER BY exception_id FOR UPDATE",
        f"{TEST_TIMERS}::test_an_exception_that_is_being_worked_holds_up_nobodys_timers",
    ),
    Mutation(
        "a timer of a plan that was replaced wakes nobody",
        TIMERS,
        (
            "       AND g.plan_id = (SELECT p.plan_id FROM plans p\n"
            "                         WHERE p.exception_id = g.exception_id ORDER BY p.sequence DESC LIMIT 1)\n"
        ),
        "",
        f"{TEST_TIMERS}::test_a_timer_of_a_plan_that_was_replaced_wakes_nobody",
    ),
    Mutation(
        "a timer of an exception that has ended wakes nobody",
        TIMERS,
        "a.status IN ('WAITING', 'PENDING_STEP', 'PENDING_APPROVAL')",
        "true",
        f"{TEST_TIMERS}::test_a_timer_of_what_has_ended_wakes_nobody",
    ),
    Mutation(
        "a timer's input waits for its predecessor",
        TIMERS,
        "w.stage, w.at_rest AND w.place = 1",
        "w.stage, true",
        TEST_TIMERS,
    ),
    Mutation(
        "of two timers one is worked at a time",
        TIMERS,
        "w.at_rest AND w.place = 1",
        "w.at_rest",
        f"{TEST_TIMERS}::test_of_two_timers_of_one_exception_at_rest_the_earlier_is_worked_first",
    ),
    Mutation(
        "a timer of a step that is over wakes nobody",
        TIMERS,
        "AND s.state IN ('done', 'failed', 'skipped'))",
        "AND false)",
        f"{TEST_TIMERS}::test_a_timer_of_a_step_that_is_over_wakes_nobody",
    ),
    Mutation(
        "an approval is of the plan that was seen",
        APPROVALS,
        "if plan_hash is not None and plan_hash != approval.plan_hash:",
        "if False:",
        f"{TEST_APPROVALS}::test_a_decision_about_a_plan_that_changed_is_refused",
    ),
    Mutation(
        "two approvals are of two keys",
        APPROVALS,
        "if caller.key_id in approval.given:",
        "if False:",
        f"{TEST_APPROVALS}::test_two_people_have_to_approve",
    ),
    Mutation(
        "the first of two approvals is not enough",
        APPROVALS,
        "if given < approval.needed:",
        "if False:",
        f"{TEST_APPROVALS}::test_two_people_have_to_approve",
    ),
    Mutation(
        "only an unknown effect is resolved",
        STEPS,
        'if effect.state != "unknown":',
        "if False:",
        f"{TEST_STEPS}::test_only_an_unknown_effect_can_be_resolved",
    ),
    Mutation(
        "an answer fits its form",
        STEPS,
        "        if faults:\n",
        "        if False:\n",
        f"{TEST_STEPS}::test_an_answer_that_does_not_fit_its_form_is_told_where",
    ),
)
