"""Guards of redrives: once, from where they may, at a rate, behind a canary, and no effect a second time."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

SQL = "service/persistence/statements/redriving.py"
REDRIVES = "tests/integration/engine/test_redrives.py"
DISCARDS = "tests/integration/engine/test_discards.py"
OPERATIONS = "tests/integration/engine/test_redrive_operations.py"
UNIT_OPERATIONS = "tests/unit/domain/test_operations.py"
UNIT_REDRIVING = "tests/unit/domain/test_redriving.py"

MUTATIONS = (
    Mutation(
        "only what is still dead is sent again",
        SQL,
        "\"d.state = 'pending' AND e.status = 'DEAD_LETTERED' AND e.sequence = d.sequence\"",
        '"true"',
        f"{REDRIVES}::test_what_was_judged_before_somebody_else_moved_it_does_not_move_again",
    ),
    Mutation(
        "the rest waits for the canary",
        "service/domain/operations.py",
        "max(0, min(counts.pending, canary - counts.tried))",
        "counts.pending",
        OPERATIONS,
    ),
    Mutation(
        "a canary that fails again stops the rest",
        "service/domain/operations.py",
        "    if counts.failed:\n",
        "    if False:\n",
        f"{OPERATIONS}::test_a_canary_that_fails_again_keeps_the_rest",
    ),
    Mutation(
        "a canary that ends on people's desks stops the rest",
        "service/domain/operations.py",
        "    if counts.badly:\n",
        "    if False:\n",
        UNIT_OPERATIONS,
    ),
    Mutation(
        "a rate is kept",
        "service/domain/operations.py",
        "min(at_most, floor(self.tokens + 1e-9))",
        "at_most",
        f"{OPERATIONS}::test_a_rate_is_kept",
    ),
    Mutation(
        "a pace saves up no more than a burst",
        "service/domain/operations.py",
        "min(most, self.tokens + gained)",
        "self.tokens + gained",
        UNIT_OPERATIONS,
    ),
    Mutation(
        "an operation is worked by one at a time",
        "service/persistence/statements/operations.py",
        "AND watched FOR UPDATE SKIP LOCKED",
        "AND watched",
        f"{OPERATIONS}::test_several_executors_keep_one_rate_and_send_each_once",
    ),
    Mutation(
        "a success counts only for the redrive that it came of",
        "service/persistence/statements/operations.py",
        "SET state = CASE WHEN d.state = 'succeeded' AND d.redrives = i.number THEN",
        "SET state = CASE WHEN d.state = 'succeeded' THEN",
        f"{OPERATIONS}::test_somebody_else_who_redrives_meanwhile_is_no_success_of_ours",
    ),
    Mutation(
        "a new plan repeats no effect of the one before",
        "service/domain/replanning.py",
        "    if reasons:\n",
        "    if False:\n",
        f"{REDRIVES}::test_a_new_plan_that_would_repeat_an_effect_is_not_carried_out",
    ),
    Mutation(
        "a call without an answer is not made under another key",
        "service/domain/replanning.py",
        "    if before.tool not in _tools(plan):\n",
        "    if True:\n",
        f"{REDRIVES}::test_a_call_without_an_answer_is_not_made_at_another_step",
    ),
    Mutation(
        "the recorded packs decide unless the active ones are asked for",
        "service/engine/packs.py",
        "record.input.type in _DECIDED_ANEW and not kept",
        "record.input.type in _DECIDED_ANEW",
        f"{REDRIVES}::test_the_active_packs_plan_anew_and_adopt_what_happened",
    ),
    Mutation(
        "no stage is left out",
        "service/domain/redriving.py",
        "    if stage > dead.failed_at:\n",
        "    if False:\n",
        UNIT_REDRIVING,
    ),
    Mutation(
        "what waited behind a discarded input takes its turn",
        "service/persistence/redriving.py",
        "        StageRepository(self._transaction).open_gates(finished, self._now)\n",
        "",
        f"{DISCARDS}::test_an_update_that_waited_makes_the_exception_workable",
    ),
    Mutation(
        "what is discarded has no timers",
        SQL,
        "    DELETE FROM timers t USING moved m WHERE t.exception_id = m.exception_id AND m.status = 'DISCARDED'\n",
        "    SELECT\n",
        f"{DISCARDS}::test_a_plan_that_nothing_can_carry_on_ends_with_its_timers",
    ),
    Mutation(
        "a repeated call under its key does not act again",
        "service/api/views/redriving.py",
        "if full_key is not None and _repeated(ingestion, full_key, digest):",
        "if False:",
        "tests/integration/api/test_redriving.py::test_a_repeated_call_under_a_key_does_not_send_it_a_second_time",
    ),
)
