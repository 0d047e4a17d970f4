"""Guards that the model test must miss: one law of the pipeline each.

The model test is one test of many steps, so it says whether anything was noticed, and its output which law. Where two
guards catch the same, both are taken out.
"""

from __future__ import annotations

from tests.mutations.mutation import Change, Mutation

MODEL = "tests/integration/model"
APPLYING = "service/persistence/statements/applying.py"
RUNNER = "service/engine/runner.py"

MUTATIONS = (
    Mutation(
        "model, L1: what a broker lost is found again",
        "service/engine/reconciliation.py",
        "made_ready = look.make_ready()",
        "made_ready: dict[str, int] = {}",
        MODEL,
    ),
    Mutation(
        "model, L1: an input that waited is worked when its predecessor is finished",
        "service/persistence/stages.py",
        "if m.last_sequence > m.sequence]",
        "if m.last_sequence < m.sequence]",
        MODEL,
    ),
    Mutation(
        "model, L1: a delivery that came behind is carried to where its exception is",
        "service/domain/guard.py",
        "if delivered.sequence == actual.sequence and actual.stage < FINISHED:",
        "if False:",
        MODEL,
        also=(
            Change(
                "service/engine/reconciliation.py",
                "made_ready = look.make_ready()",
                "made_ready: dict[str, int] = {}",
            ),
        ),
    ),
    Mutation(
        "model, L2: a delivery for another stage is not applied",
        "service/domain/guard.py",
        "if delivered == actual:",
        "if delivered.sequence == actual.sequence:",
        MODEL,
        also=(Change(APPLYING, "AND CASE WHEN e.sequence = d.sequence AND e.stage = %(stage)s", "AND CASE WHEN true"),),
    ),
    Mutation(
        "model, L2: a request repeated under its key is accepted once",
        "service/api/views/intake.py",
        'given = (f"key:{key}",) if key is not None else ()',
        "given: tuple[str, ...] = ()",
        MODEL,
    ),
    Mutation(
        "model, L3: an input waits for its predecessor",
        "service/persistence/ingestion.py",
        "return self.stage == FINISHED",
        "return True",
        MODEL,
    ),
    Mutation(
        "model, L3: an event takes a position of its own",
        "service/engine/decisions.py",
        '"event_count": len(logged),',
        '"event_count": len(logged) + 1,',
        MODEL,
    ),
    Mutation(
        "model, L4: a call in doubt is not repeated unless its tool recognises it",
        "service/engine/effect_ledger.py",
        "Permission.SEND if call.idempotent else Permission.UNKNOWN",
        "Permission.SEND",
        MODEL,
    ),
    Mutation(
        "model, L4: that a call goes out is committed before it does",
        "service/engine/flights.py",
        'draft.add("sends", sent | {"lease_until": lease_until(call, self.now)})',
        "pass",
        MODEL,
    ),
    Mutation(
        "model, L5: only what cannot be worked is dead-lettered",
        "service/engine/results.py",
        "return self.counts and self.reference.tries.exhausted(kind_of(self.error), self.policy_at(stage))",
        "return self.counts and stage is not None",
        MODEL,
    ),
    Mutation(
        "model, L5: a dead letter is sent again only while it is one",
        "service/persistence/statements/redriving.py",
        "SET status = 'IN_PROGRESS', stage = t.stage, attempt = 0,",
        "SET status = 'DEAD_LETTERED', stage = t.stage, attempt = 0,",
        MODEL,
    ),
    Mutation(
        "model, L5: what waited behind a discarded input takes its turn",
        "service/persistence/redriving.py",
        "StageRepository(self._transaction).open_gates(finished, self._now)",
        "assert StageRepository(self._transaction) and finished is not None",
        MODEL,
    ),
    Mutation(
        "model, L6: what was taken is out of the outbox",
        "service/dispatch/dispatcher.py",
        "rows = take(transaction, lane, self.batch_size, paused)",
        "rows = take(transaction, lane, self.batch_size, paused)[:1]",
        MODEL,
        also=(
            Change(
                "service/engine/reconciliation.py",
                "made_ready = look.make_ready()",
                "made_ready: dict[str, int] = {}",
            ),
        ),
    ),
    Mutation(
        "model, L7: a tenant's transaction sees no other tenant's rows",
        "migrations/versions/0002_tenant_isolation.py",
        "TO {APPLICATION} USING ({DECLARED})",
        "TO {APPLICATION} USING (true)",
        MODEL,
    ),
    Mutation(
        "model, L8: everything accepted has a place in the ledger",
        "service/persistence/queries.py",
        "in_flight=sum(number.get(status, 0) for status in IN_FLIGHT),",
        "in_flight=sum(number.get(status, 0) for status in IN_FLIGHT[1:]),",
        MODEL,
    ),
)
