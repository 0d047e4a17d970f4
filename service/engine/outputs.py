"""Outputs of steps: small ones stand where they belong, large ones are kept once and referred to.

A reference is `{"$result": id, "bytes": n, "beginning": text}`. Templates and conditions of later steps read the
whole output: `read_whole` puts it in, for the exceptions whose plan looks at outputs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

import orjson

from service.domain.plan_documents import to_document
from service.domain.plans import Plan, StepResult
from service.persistence.loading import LoadedException
from service.persistence.stages import Effect, StageRepository

INLINE_LIMIT_BYTES = 8 * 1024
"""The most JSON of an output that stands in the rows of its step and effect; they are read for every decision."""

REFERENCE = "$result"
_REFERENCE_KEYS = {REFERENCE, "bytes", "beginning"}
_BEGINNING_BYTES = 500
"""Of a large output, what its reference shows."""

Documents = Mapping[tuple[UUID, UUID], Any]
"""Large outputs by exception and result."""


def stored(output: Any, result_id: UUID | str) -> tuple[Any, dict[str, Any] | None]:
    """What to keep with the step or effect, and the row of a large output: {result_id, bytes, document}."""
    text = _as_json(output)
    if len(text) <= INLINE_LIMIT_BYTES:
        return output, None
    beginning = text[:_BEGINNING_BYTES].decode("utf-8", "ignore")
    reference = {REFERENCE: result_id, "bytes": len(text), "beginning": beginning}
    return reference, {"result_id": result_id, "bytes": len(text), "document": output}


def reference_of(output: Any) -> UUID | None:
    """The id of the large output that this one refers to; None: it is no reference.

    A tool may answer something that looks like one. It is looked up among the results of its own exception only.
    """
    if not isinstance(output, Mapping) or output.keys() != _REFERENCE_KEYS:
        return None
    try:
        return UUID(output[REFERENCE])
    except (ValueError, TypeError, AttributeError):
        return None


def read_whole(
    repository: StageRepository, rows: Mapping[UUID, LoadedException], effects: Mapping[UUID, Mapping[str, Effect]]
) -> tuple[dict[UUID, LoadedException], dict[UUID, dict[str, Effect]]]:
    """Exceptions with their steps' outputs, and their effects, both with whole outputs where a plan looks at them.

    A tool's answer is kept with its effect only; it is put among the outputs here. Costs no statement unless an
    output is large.
    """
    if not effects and not any(row.record.step_results for row in rows.values()):
        return dict(rows), {}
    filled = {
        key: _with_answers(row, effects[key]) if key in effects and row.record.step_results else row
        for key, row in rows.items()
    }
    documents = _documents(repository, filled, effects)
    own = {key: dict(of_exception) for key, of_exception in effects.items()}
    for key in {exception_id for exception_id, _ in documents}:
        record = filled[key].record
        results = {path: _whole_result(result, key, documents) for path, result in record.step_results.items()}
        filled[key] = replace(filled[key], record=replace(record, step_results=results))
        own[key] = {k: replace(e, output=_whole(e.output, key, documents)) for k, e in own.get(key, {}).items()}
    return filled, own


def _with_answers(row: LoadedException, effects: Mapping[str, Effect]) -> LoadedException:
    answers = {e.step: e.output for e in effects.values() if e.plan_id == row.plan_id and e.state == "confirmed"}
    results = {
        path: replace(result, output=answers[path]) if result.output is None and path in answers else result
        for path, result in row.record.step_results.items()
    }
    return replace(row, record=replace(row.record, step_results=results))


def _documents(
    repository: StageRepository, rows: Mapping[UUID, LoadedException], effects: Mapping[UUID, Mapping[str, Effect]]
) -> Documents:
    wanted: set[tuple[UUID, UUID]] = set()
    for key, row in rows.items():
        outputs = [result.output for result in row.record.step_results.values()]
        outputs += [effect.output for effect in effects.get(key, {}).values()]
        found = {(key, reference) for output in outputs if (reference := reference_of(output)) is not None}
        if found and row.record.plan is not None and _looks_at_outputs(row.record.plan):
            wanted |= found
    if not wanted:
        return {}
    kept = repository.results({reference for _, reference in wanted})
    return {place: document for place, document in kept.items() if place in wanted}


def _looks_at_outputs(plan: Plan) -> bool:
    """Whether a template or condition names `steps.…`; a plan's own keys have no such beginning."""
    return b"steps." in _as_json(to_document(plan)) or b"steps[" in _as_json(to_document(plan))


def _whole_result(result: StepResult, exception_id: UUID, documents: Documents) -> StepResult:
    whole = _whole(result.output, exception_id, documents)
    return result if whole is result.output else replace(result, output=whole)


def _whole(output: Any, exception_id: UUID, documents: Documents) -> Any:
    reference = reference_of(output)
    return output if reference is None else documents.get((exception_id, reference), output)


def _as_json(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:  # integers beyond 64 bits and lone surrogates are JSON, but not to orjson
        return json.dumps(value, default=str).encode()
