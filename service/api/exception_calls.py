"""The calls about exceptions and a tenant's books, as the OpenAPI document tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from service.api import (
    cloudevent,
    exception_schemas,
    input_schemas,
    intake_schemas,
    ledger_schemas,
    payload_schemas,
    problems,
)
from service.api.calls import OF_BODIES, Call
from service.api.paging import Paging
from service.api.views.intake import JSON, NDJSON
from service.api.views.reading import ListParameters

ASKED = (
    intake_schemas.NewException,
    intake_schemas.Batch,
    input_schemas.NewEvent,
    input_schemas.Decision,
    payload_schemas.PayloadReading,
    input_schemas.ApprovalDecision,
    input_schemas.StepCompletion,
    input_schemas.EffectResolution,
)
ANSWERED = (
    input_schemas.Accepted,
    input_schemas.ApprovalAccepted,
    intake_schemas.BatchAnswer,
    exception_schemas.ExceptionDetail,
    exception_schemas.ExceptionList,
    exception_schemas.EventList,
    ledger_schemas.Ledger,
    payload_schemas.UnredactedPayload,
)
_DECISION_REFUSALS = (problems.FORBIDDEN, problems.NOT_FOUND, problems.CONFLICT, problems.KEY_REUSED, *OF_BODIES)


def _decision(
    name: str,
    summary: str,
    body: type[BaseModel] = input_schemas.Decision,
    answer: type[BaseModel] = input_schemas.Accepted,
    *,
    body_needed: bool = False,
) -> dict[str, Call]:
    call = Call(
        name,
        f"{summary} Role operator.",
        202,
        answer,
        body,
        body_needed=body_needed,
        headers=("Idempotency-Key",),
        refusals=_DECISION_REFUSALS,
    )
    return {"post": call}


CALLS: Mapping[str, Mapping[str, Call]] = {
    "/exceptions": {
        "post": Call(
            "postException",
            "Take one exception in. 202 means that it is kept and will be worked.",
            202,
            input_schemas.Accepted,
            intake_schemas.NewException,
            media_types=(JSON, cloudevent.STRUCTURED),
            headers=("Idempotency-Key", "traceparent"),
            refusals=(*OF_BODIES, problems.FORBIDDEN, problems.KEY_REUSED, problems.RATE_LIMITED),
        ),
        "get": Call(
            "listExceptions",
            "A page of exceptions, newest first unless asked otherwise.",
            200,
            exception_schemas.ExceptionList,
            query=ListParameters,
            refusals=(problems.INVALID,),
        ),
    },
    "/exceptions/batch": {
        "post": Call(
            "postBatch",
            "Take up to 1,000 exceptions in; each stands alone.",
            202,
            intake_schemas.BatchAnswer,
            intake_schemas.Batch,
            media_types=(JSON, NDJSON, cloudevent.STRUCTURED_BATCH),
            headers=("Idempotency-Key", "traceparent"),
            refusals=(*OF_BODIES, problems.RATE_LIMITED),
        )
    },
    "/exceptions/{exceptionId}": {
        "get": Call(
            "getException",
            "One exception with its plan, approval, what it waits for, and its dead letter.",
            200,
            exception_schemas.ExceptionDetail,
            refusals=(problems.NOT_FOUND,),
        )
    },
    "/exceptions/{exceptionId}/events": {
        "get": Call(
            "listEvents",
            "The exception's timeline, oldest first.",
            200,
            exception_schemas.EventList,
            query=Paging,
            refusals=(problems.NOT_FOUND, problems.INVALID),
        ),
        "post": Call(
            "postEvent",
            "Add an update of the payload, a comment, or a signal. It is worked after what came before it.",
            202,
            input_schemas.Accepted,
            input_schemas.NewEvent,
            headers=("Idempotency-Key",),
            refusals=(problems.NOT_FOUND, problems.CONFLICT, problems.KEY_REUSED, *OF_BODIES),
        ),
    },
    "/exceptions/{exceptionId}/approve": _decision(
        "approve",
        "Allow the plan (PENDING_APPROVAL); one of several where more than one person has to.",
        input_schemas.ApprovalDecision,
        input_schemas.ApprovalAccepted,
        body_needed=True,
    ),
    "/exceptions/{exceptionId}/reject": _decision(
        "reject", "Refuse the plan (PENDING_APPROVAL).", input_schemas.ApprovalDecision, body_needed=True
    ),
    "/exceptions/{exceptionId}/payload": {
        "post": Call(
            "readPayload",
            "The payload as it came, for a reason that is kept on the timeline. Role operator.",
            200,
            payload_schemas.UnredactedPayload,
            payload_schemas.PayloadReading,
            refusals=(problems.FORBIDDEN, problems.NOT_FOUND, *OF_BODIES),
        )
    },
    "/exceptions/{exceptionId}/cancel": _decision("cancel", "Nothing more is to be done."),
    "/exceptions/{exceptionId}/steps/{step}/complete": _decision(
        "completeStep",
        "A person has done a step that the plan waits for (PENDING_STEP).",
        input_schemas.StepCompletion,
    ),
    "/exceptions/{exceptionId}/effects/{key}/resolve": _decision(
        "resolveEffect",
        "A person found out what became of a call whose answer nobody knows (PENDING_STEP).",
        input_schemas.EffectResolution,
        body_needed=True,
    ),
    "/ledger": {"get": Call("getLedger", "The tenant's books, from one snapshot.", 200, ledger_schemas.Ledger)},
}

PATH_PARAMETERS: Mapping[str, Any] = {
    "exceptionId": {"type": "string", "format": "uuid"},
    "step": {"type": "string", "description": "The step's path, like 3, 3.1 or 3[0].1; percent-encoded."},
    "key": {"type": "string", "format": "uuid", "description": "The effect's idempotency key."},
}
