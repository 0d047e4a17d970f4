"""Guards of plans: what opens what, giving up, approvals, references."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

ABANDONING = "service/domain/progress/abandoning.py"
TEST_PLAN_STEPS = "tests/unit/domain/test_plan_steps.py"
TEST_PLAN_APPROVALS = "tests/unit/domain/test_plan_approvals.py"

MUTATIONS = (
    Mutation(
        "what was done last is compensated first",
        ABANDONING,
        "sorted(done, reverse=True)",
        "sorted(done)",
        TEST_PLAN_STEPS,
    ),
    Mutation(
        "compensation waits for calls under way",
        ABANDONING,
        "if under_way:",
        "if False:",
        TEST_PLAN_STEPS,
    ),
    Mutation(
        "what is recorded opens what follows",
        "service/domain/progress/turn.py",
        "self._touched.add(step.path)",
        "pass",
        f"{TEST_PLAN_STEPS}::test_a_condition_on_an_earlier_result_is_asked_when_the_steps_turn_comes",
    ),
    Mutation(
        "a plan holds no sensitive value",
        "service/domain/planning.py",
        ("self.freezing.sensitive = True\n            return LATER"),
        "return value",
        TEST_PLAN_APPROVALS,
    ),
    Mutation(
        "policy asks again when the plan is not the one approved",
        "service/domain/stages/policy.py",
        "if told != approval.plan_hash or stored != approval.plan_hash:",
        "if False:",
        TEST_PLAN_APPROVALS,
    ),
    Mutation(
        "the playbook stage asks again when the plan is not the one approved",
        "service/domain/stages/playbook.py",
        "(record.plan_hash or plan_hash(plan)) != approval.plan_hash",
        "False",
        TEST_PLAN_APPROVALS,
    ),
    Mutation(
        "a payload is never read as a reference",
        "service/domain/deferred.py",
        "return {_LITERAL: value} if _has_mark(value) else value",
        "return value",
        TEST_PLAN_STEPS,
    ),
)
