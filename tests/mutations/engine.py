"""Guards of the stages: positions, fences, the ledger of effects, calls of a plan that are out."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

GUARD = "service/domain/guard.py"
APPLYING = "service/persistence/statements/applying.py"
EFFECT_LEDGER = "service/engine/effect_ledger.py"
FLIGHTS = "service/engine/flights.py"
OUTPUTS = "service/engine/outputs.py"
ENGINE = "tests/integration/engine"
TEST_EFFECT_LEDGER = "tests/unit/engine/test_effect_ledger.py"
TEST_PLANS = "tests/integration/engine/test_plans.py"

MUTATIONS = (
    Mutation(
        "a delivery for another position is not applied",
        GUARD,
        "if delivered == actual:",
        "if delivered.sequence == actual.sequence:",
        "tests/unit/domain/test_sequence_guard.py",
    ),
    Mutation(
        "a zombie cannot write, whatever it decided",
        APPLYING,
        "AND CASE WHEN e.sequence = d.sequence AND e.stage = %(stage)s",
        "AND CASE WHEN true",
        ENGINE,
    ),
    Mutation(
        "a dead letter fences its exception",
        "service/persistence/ingestion.py",
        "return self.stage == FINISHED",
        "return True",
        ENGINE,
    ),
    Mutation(
        "the next input becomes ready when its predecessor is finished",
        "service/persistence/stages.py",
        "if m.last_sequence > m.sequence]",
        "if m.last_sequence < m.sequence]",
        ENGINE,
    ),
    Mutation(
        "one bad exception does not hold up its batch",
        "service/engine/runner.py",
        "self._failures.append(Failure(reference, error))",
        "raise",
        ENGINE,
    ),
    Mutation(
        "an effect in doubt is not repeated",
        EFFECT_LEDGER,
        "Permission.SEND if call.idempotent else Permission.UNKNOWN",
        "Permission.SEND",
        TEST_EFFECT_LEDGER,
    ),
    Mutation(
        "a call under way is not made twice",
        EFFECT_LEDGER,
        "if effect.lease_until is not None and effect.lease_until > now:",
        "if False:",
        TEST_EFFECT_LEDGER,
    ),
    Mutation(
        "imports point one way",
        GUARD,
        "from enum import Enum",
        ("from enum import Enum\n\nimport service.persistence  # noqa: F401"),
        "tests/unit/test_imports.py",
    ),
    Mutation(
        "only an idempotent call is repeated after a crash",
        EFFECT_LEDGER,
        "Permission.SEND if call.idempotent else Permission.UNKNOWN",
        "Permission.SEND",
        f"{TEST_PLANS}::test_a_worker_killed_at_any_moment_of_a_group_changes_nothing_about_its_end",
    ),
    Mutation(
        "that a call goes out is committed before it does",
        FLIGHTS,
        'draft.add("sends", sent | {"lease_until": lease_until(call, self.now)})',
        "pass",
        f"{TEST_PLANS}::test_a_worker_killed_at_any_moment_of_a_group_changes_nothing_about_its_end",
    ),
    Mutation(
        "an answer counts for the attempt it answers",
        APPLYING,
        "CASE WHEN t.state = 'sent' AND t.attempt = a.attempt THEN true ELSE false END",
        "true",
        f"{TEST_PLANS}::test_an_answer_to_an_attempt_that_another_delivery_repeated_moves_nothing",
    ),
    Mutation(
        "a landing that failed can be repeated",
        "service/engine/turns.py",
        "course.restore(before)",
        "pass",
        f"{TEST_PLANS}::test_an_answer_can_be_written_down_once_the_database_is_back",
    ),
    Mutation(
        "calls of one exception that are out together are bounded",
        FLIGHTS,
        "len(course.under_way) < CALLS_AT_ONCE",
        "True",
        f"{TEST_PLANS}::test_a_hundred_items_at_once_go_out_in_turns_and_all_of_them_come_back",
    ),
    Mutation(
        "a result belongs to its exception",
        OUTPUTS,
        "return {place: document for place, document in kept.items() if place in wanted}",
        "return dict(kept)",
        f"{TEST_PLANS}::test_an_answer_that_looks_like_a_reference_leads_to_no_other_result",
    ),
    Mutation(
        "large answers are read whole by later steps",
        OUTPUTS,
        "if found and row.record.plan is not None",
        "if False and row.record.plan is not None",
        f"{TEST_PLANS}::test_a_large_answer_is_kept_once_and_later_steps_read_all_of_it",
    ),
    Mutation(
        "a call that was given up is followed by what its plan says",
        FLIGHTS,
        "reached = None if step is None else self._after_failure(draft, step, str(retry.error))",
        "reached = None",
        f"{TEST_PLANS}::test_a_call_that_failed_for_good_is_followed_by_what_its_plan_says",
    ),
    Mutation(
        "to send again puts an effect back to what it was before",
        "service/engine/decisions.py",
        '"resend": "intent"',
        '"resend": "unknown"',
        f"{TEST_PLANS}::test_a_call_in_doubt_waits_with_the_evidence_and_a_person_says_what_became_of_it",
    ),
    Mutation(
        "a plan that is given up waits for calls that are out",
        "service/engine/course.py",
        "return frozenset((*self.under_way, *self.parked, *(step.path for step in self.queue)))",
        "return frozenset()",
        f"{TEST_PLANS}::test_a_plan_that_is_given_up_waits_for_the_calls_that_are_out",
    ),
)
