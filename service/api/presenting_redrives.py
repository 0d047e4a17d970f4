"""Operations on dead letters, and what they would do, as people see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row

from service.api import redrive_schemas as schemas
from service.domain.operations import Action, seconds_left
from service.engine.redriving import Result
from service.persistence.operations import LATELY_SECONDS, Measured, Operation

EXAMPLES = 10
OUTCOMES = 50


def dry_run(action: Action, results: Sequence[Result]) -> schemas.DryRun:
    """What would be done about dead letters, in numbers and examples."""
    acted = [result for result in results if result.done]
    clusters = Counter((r.letter.signature, r.letter.pattern) for r in acted if r.letter)
    stages = Counter(
        (r.letter.input.failed_at.queue, r.resumption.stage.queue if r.resumption else None) for r in acted if r.letter
    )
    left_out = Counter(r.why_not or "" for r in results if not r.done)
    return schemas.DryRun(
        action=action,
        matched=len(results),
        would_act=len(acted),
        by_cluster=[
            schemas.PlannedCluster(signature=signature, pattern=pattern, count=count)
            for (signature, pattern), count in clusters.most_common(OUTCOMES)
        ],
        by_stage=[
            schemas.PlannedStage(failed_at=failed_at, from_stage=from_stage, count=count)
            for (failed_at, from_stage), count in stages.most_common()
        ],
        by_rest=dict(Counter(str(r.rests) for r in acted if r.rests)),
        left_out=[schemas.LeftOut(reason=reason, count=count) for reason, count in left_out.most_common()],
        waiting_for_a_person=sum(bool(r.letter and r.letter.unknown_effects) for r in acted),
        examples=[_planned(result) for result in results[:EXAMPLES]],
    )


def operation(one: Operation, measured: Measured | None) -> schemas.Operation:
    """An operation as lists show it."""
    return schemas.Operation(**_values(one, measured or Measured()))


def operation_detail(
    one: Operation,
    measured: Measured | None,
    outcomes: Sequence[Row[Any]],
    failed: Sequence[Row[Any]],
    skipped: Sequence[Row[Any]],
) -> schemas.OperationDetail:
    """An operation with what came of it."""
    return schemas.OperationDetail(
        **_values(one, measured or Measured()),
        history=[schemas.HistoryEntry.model_validate(entry) for entry in one.history],
        outcomes=[
            schemas.OutcomeCount(state=row.state, outcome=row.outcome, count=row.number)
            for row in outcomes
            if row.state in ("succeeded", "failed", "skipped")
        ],
        failed=[_example(row) for row in failed],
        skipped=[_example(row) for row in skipped],
    )


def _values(one: Operation, measured: Measured) -> dict[str, Any]:
    counts = measured.counts
    rate = one.pace.rate_per_second
    return {
        "operation_id": one.operation_id,
        "action": one.action,
        "state": one.state,
        "state_reason": one.state_reason,
        "filter": one.filter,
        "from_stage": None if one.wish.from_stage is None else one.wish.from_stage.queue,
        "packs": one.wish.packs,
        "canary": one.canary,
        "canary_timeout_seconds": int(one.canary_timeout.total_seconds()),
        "rate_per_second": rate,
        "requested_by": one.requested_by,
        "reason": one.reason,
        "created_at": one.created_at,
        "started_at": one.started_at,
        "finished_at": one.finished_at,
        "progress": schemas.Progress(
            total=counts.total,
            pending=counts.pending,
            sent=counts.sent,
            succeeded=counts.succeeded,
            failed_again=counts.failed,
            skipped=counts.skipped,
            sent_per_second=measured.sent_lately / LATELY_SECONDS,
            seconds_left=seconds_left(counts, rate, measured.sent_lately, LATELY_SECONDS),
        ),
    }


def _planned(result: Result) -> schemas.Planned:
    letter = result.letter
    assert letter is not None
    return schemas.Planned(
        dead_letter_id=letter.dead_letter_id,
        exception_id=letter.exception_id,
        failed_at=letter.input.failed_at.queue,
        message=letter.message,
        from_stage=result.resumption.stage.queue if result.resumption else None,
        packs=result.resumption.packs if result.resumption else None,
        rests=result.rests,
        left_out=result.why_not,
        unknown_effects=letter.unknown_effects,
    )


def _example(row: Row[Any]) -> schemas.ItemExample:
    return schemas.ItemExample(dead_letter_id=row.dead_letter_id, exception_id=row.exception_id, outcome=row.outcome)
