"""Guards of the invariants L1 to L8: without one a chaos round turns red, for that invariant and what follows from it.

A round takes a minute or more; `--without-rounds` leaves them out. Where two guards catch the same, both are taken
out: one alone is not missed, which is what it is for.
"""

from __future__ import annotations

from tests.mutations.mutation import Change, ChaosRound, Mutation

ROUNDS = "tests/chaos/pipeline"
_MANY_CALLS_OUT = {"seed": 80, "exceptions": 300, "seconds": 14}
"""A round that strikes when many calls are out which must not be repeated."""
_NO_RECONCILER = Change(
    "service/engine/reconciliation.py", "made_ready = look.make_ready()", "made_ready: dict[str, int] = {}"
)

MUTATIONS = (
    Mutation(
        "L1: a message is committed when it is finished, and the reconciler finds what was lost",
        "service/transport/consuming/offsets.py",
        "return next(iter(self._unfinished), self._next)",
        "return self._next",
        ROUNDS,
        also=(_NO_RECONCILER,),
        # What waits behind something lost stays in the outbox, where the round happens to have it.
        round=ChaosRound("kill-worker", "L1", follows="L6", **_MANY_CALLS_OUT),
    ),
    Mutation(
        "L2: a request that is repeated under its key is accepted once",
        "service/api/views/intake.py",
        'given = (f"key:{key}",) if key is not None else ()',
        "given: tuple[str, ...] = ()",
        ROUNDS,
        round=ChaosRound("", "L2"),
    ),
    Mutation(
        "L3: an exception's positions are one after the other",
        "service/persistence/statements/failing.py",
        "hold_reason = NULL, position = e.position + 1, updated_at = %(now)s",
        "hold_reason = NULL, updated_at = %(now)s",
        ROUNDS,
        round=ChaosRound("", "L3"),
    ),
    Mutation(
        "L4: a call in doubt is not repeated unless its tool recognises it",
        "service/engine/effect_ledger.py",
        "Permission.SEND if call.idempotent else Permission.UNKNOWN",
        "Permission.SEND",
        # A round's one kill may meet no call in doubt; there a worker is killed at every moment of a call's life.
        "tests/chaos/effects/test_effects.py",
    ),
    Mutation(
        "L5: a dead letter has its record on the topic",
        "service/relay/relay.py",
        "if is_dead_letter(event):",
        "if False:",
        ROUNDS,
        round=ChaosRound("", "L5"),
    ),
    Mutation(
        "L6: what is finished is committed",
        "service/transport/consuming/commits.py",
        "if time.monotonic() - self._last < self._interval:",
        "if self._interval:",
        ROUNDS,
        round=ChaosRound("", "L6"),
    ),
    Mutation(
        "L7: a tenant's transaction sees no other tenant's rows",
        "migrations/versions/0002_tenant_isolation.py",
        "TO {APPLICATION} USING ({DECLARED})",
        "TO {APPLICATION} USING (true)",
        ROUNDS,
        # What another tenant cancels, updates or discards does not come to rest where its own tenant expects it either.
        round=ChaosRound("", "L1, L5, L7"),
    ),
    Mutation(
        "L8: everything accepted has a place in the ledger",
        "service/persistence/queries.py",
        "in_flight=sum(number.get(status, 0) for status in IN_FLIGHT),",
        "in_flight=sum(number.get(status, 0) for status in IN_FLIGHT[1:]),",
        ROUNDS,
        round=ChaosRound("", "L8"),
    ),
)
