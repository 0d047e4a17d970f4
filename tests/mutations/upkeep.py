"""Guards of the reconciler: what it finds, what it leaves alone, and how little it adds."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

SQL = "service/persistence/statements/reconciliation.py"
TEST = "tests/integration/engine/test_reconciler.py"

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
        "                            WHERE x.exception_id = e.exception_id AND x.lease_until > %(now)s)\n"
        "        OFFSET 0) e",
        "                            WHERE false)\n        OFFSET 0) e",
        f"{TEST}::test_an_effect_that_is_leased_is_left_alone_and_one_that_nobody_holds_is_not",
    ),
    Mutation(
        "a held row without a time is found",
        SQL,
        "                              AND (o.ready OR o.due_at IS NOT NULL))\n"
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
)
