"""Guards of the reconciler and of pauses: what is found, what is left alone, what waits, and who may end it."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

SQL = "service/persistence/statements/reconciliation.py"
TEST = "tests/integration/engine/test_reconciler.py"
TEST_PAUSES = "tests/integration/engine/test_pauses.py"
TEST_PAUSES_API = "tests/integration/api/test_pauses.py"
DISPATCH = "service/persistence/statements/dispatch.py"
PAUSES = "service/persistence/statements/pauses.py"

MUTATIONS = (
    Mutation(
        "what was lost is found again",
        SQL,
        "SELECT exception_id, sequence, stage, updated_at, %(now)s FROM slow WHERE place <= %(most)s",
        "SELECT exception_id, sequence, stage, updated_at, %(now)s FROM slow WHERE false",
        f"{TEST}::test_a_lost_message_is_sent_again_and_the_timeline_says_so",
    ),
    Mutation(
        "what is about to move is left alone",
        SQL,
        "COALESCE(s.repeated_at, s.since) < %(now)s::timestamptz - make_interval(secs =>\n"
        "               LEAST(%(longest)s, %(after)s * 2 ^ LEAST(s.repeats, 10)))",
        "true",
        f"{TEST}::test_what_a_dispatcher_took_a_moment_ago_is_not_suspected_for_its_long_wait",
    ),
    Mutation(
        "a retry is left alone until its time",
        SQL,
        "AND GREATEST(e.updated_at, e.retry_at) < %(now)s::timestamptz - make_interval(secs => %(after)s / 3)",
        "AND e.updated_at < %(now)s::timestamptz - make_interval(secs => %(after)s / 3)",
        f"{TEST}::test_a_retry_whose_delayed_message_was_lost_comes_back_with_its_attempt",
    ),
    Mutation(
        "what has a lease is left alone",
        SQL,
        "WHERE x.exception_id = e.exception_id AND x.lease_until > %(now)s)",
        "WHERE false)",
        f"{TEST}::test_an_effect_that_is_leased_is_left_alone_and_one_that_nobody_holds_is_not",
    ),
    Mutation(
        "a held row without a time is found",
        SQL,
        "                              AND (o.ready OR o.due_at IS NOT NULL OR o.pause_id IS NOT NULL))\n"
        "           AND NOT EXISTS (SELECT FROM tool_executions x\n"
        "                            WHERE x.exception_id = e.exception_id AND x.lease_until > %(now)s)\n"
        "        OFFSET 0) e",
        ")\n        OFFSET 0) e",
        f"{TEST}::test_a_held_row_that_lost_its_time_is_ready_again",
    ),
    Mutation(
        "a gate that stayed closed is opened",
        SQL,
        "WHERE e.last_sequence > e.sequence AND e.stage = 5",
        "WHERE false AND e.stage = 5",
        f"{TEST}::test_an_input_whose_gate_was_not_opened_becomes_the_current_one",
    ),
    Mutation(
        "the fence of a dead letter is no closed gate",
        SQL,
        "AND e.stage = 5 AND e.status NOT IN ('DEAD_LETTERED', 'DISCARDED')",
        "",
        f"{TEST}::test_a_dead_letter_s_successors_stay_where_they_are",
    ),
    Mutation(
        "work in a lane that nobody knows is moved",
        SQL,
        "WHERE l.lane NOT IN (SELECT lane FROM lanes) AND EXISTS (SELECT FROM lanes)",
        "WHERE false",
        f"{TEST}::test_work_in_a_lane_that_nobody_knows_goes_to_one_that_is_served",
    ),
    Mutation(
        "a notification without a time is found",
        SQL,
        "WHERE state IN ('intent', 'sent') AND due_at IS NULL",
        "WHERE false",
        f"{TEST}::test_a_notification_without_a_time_is_handed_out_again",
    ),
    Mutation(
        "states that cannot be are told",
        SQL,
        "AND (e.stage > 4 OR e.sequence > e.last_sequence)",
        "AND false",
        f"{TEST}::test_states_that_cannot_be_are_told_and_not_touched",
    ),
    Mutation(
        "a slow stage is not flooded with repeats",
        SQL,
        "WHERE d.repeats > 0 OR d.place <= %(window)s - COALESCE(o.number, 0)",
        "",
        f"{TEST}::test_a_slow_stage_is_not_flooded_with_repeats",
    ),
    Mutation(
        "what does not move is repeated after growing waits",
        SQL,
        "%(after)s * 2 ^ LEAST(s.repeats, 10)",
        "%(after)s",
        f"{TEST}::test_a_slow_stage_is_not_flooded_with_repeats",
    ),
    Mutation(
        "a chore is one process's at a time",
        SQL,
        "due_at = excluded.due_at WHERE c.due_at <= now()",
        "due_at = excluded.due_at",
        f"{TEST}::test_a_chore_is_one_process_s_at_a_time_and_due_again_later",
    ),
    Mutation(
        "a paused tenant's rows stay in the outbox",
        DISPATCH,
        "WHERE t.tenant_id IS NOT NULL AND t.tenant_id <> ALL(%(paused)s::text[])",
        "WHERE t.tenant_id IS NOT NULL",
        f"{TEST_PAUSES}::test_a_dispatcher_leaves_what_is_paused_and_takes_the_others",
    ),
    Mutation(
        "a paused stage's rows stay in the outbox",
        DISPATCH,
        " AND o.stage <> ALL(%(stages)s::smallint[])",
        "",
        f"{TEST_PAUSES}::test_a_dispatcher_leaves_what_is_paused_and_takes_the_others",
    ),
    Mutation(
        "a stage does not begin on what is paused",
        "service/engine/pipeline.py",
        "batch = self._paused.put_aside(stage, batch)",
        "pass",
        f"{TEST_PAUSES}::test_what_was_under_way_is_held_at_its_next_stage_and_the_rest_of_the_batch_goes_on",
    ),
    Mutation(
        "a paused tool is not called",
        "service/tools/admission.py",
        "if self._paused and (pause := self._paused.of_call(*name)) is not None:",
        "if False and (pause := self._paused.of_call(*name)) is not None:",
        f"{TEST_PAUSES}::test_a_paused_tool_is_not_called_and_its_exceptions_wait",
    ),
    Mutation(
        "what a pause held goes on when it is over",
        "service/dispatch/held.py",
        "if pauses.wake(transaction) < pauses.WAKE_AT_ONCE:",
        "if True:",
        f"{TEST_PAUSES}::test_what_was_under_way_is_held_at_its_next_stage_and_the_rest_of_the_batch_goes_on",
    ),
    Mutation(
        "what a pause holds stays while it lasts",
        PAUSES,
        """WHERE NOT EXISTS (SELECT FROM pauses p
                        WHERE p.pause_id = h.pause_id AND p.resumed_at IS NULL""",
        """WHERE NOT EXISTS (SELECT FROM pauses p
                        WHERE false AND p.resumed_at IS NULL""",
        f"{TEST_PAUSES}::test_what_was_under_way_is_held_at_its_next_stage_and_the_rest_of_the_batch_goes_on",
    ),
    Mutation(
        "what is paused is not taken for lost",
        SQL,
        "WHERE (p.scope = 'tenant' AND p.tenant_id = e.tenant_id)",
        "WHERE (false AND p.tenant_id = e.tenant_id)",
        f"{TEST_PAUSES}::test_the_reconciler_does_not_take_what_is_paused_for_lost",
    ),
    Mutation(
        "a tenant ends no pause of the platform",
        "service/api/views/pauses.py",
        "if thrown.by_platform:",
        "if False:",
        f"{TEST_PAUSES_API}::test_the_platform_pauses_a_tenant_and_the_tenant_cannot_end_it",
    ),
    Mutation(
        "an ingest key pauses nothing",
        "service/api/views/pauses.py",
        "    caller = caller_with(Role.OPERATOR)\n    body = body_as(NewPause)",
        "    caller = caller_with(Role.INGEST)\n    body = body_as(NewPause)",
        f"{TEST_PAUSES_API}::test_an_ingest_key_pauses_nothing",
    ),
    Mutation(
        "pauses of other tenants are not seen",
        "migrations/versions/0011_upkeep.py",
        "AND (SELECT current_setting('app.pauses', true)) = 'in force'",
        "",
        f"{TEST_PAUSES}::test_a_worker_sees_only_that_something_is_paused_now",
    ),
)
