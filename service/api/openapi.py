"""The OpenAPI 3.1 document: paths told here, schemas taken from the models that validate and answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api import (
    cloudevent,
    dead_letter_calls,
    exception_schemas,
    input_schemas,
    intake_schemas,
    ledger_schemas,
    pack_calls,
    pause_calls,
    payload_schemas,
    problem_schemas,
    problems,
    readiness_schemas,
    redrive_calls,
)
from service.api.calls import OF_BODIES as _OF_BODIES
from service.api.calls import Call as _Call
from service.api.paging import Paging
from service.api.views.intake import JSON, NDJSON
from service.api.views.reading import ListParameters

Document = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"

_ASKED = (
    intake_schemas.NewException,
    intake_schemas.Batch,
    input_schemas.NewEvent,
    input_schemas.Decision,
    payload_schemas.PayloadReading,
    input_schemas.ApprovalDecision,
    input_schemas.StepCompletion,
    input_schemas.EffectResolution,
    *redrive_calls.ASKED,
    *pack_calls.ASKED,
    *pause_calls.ASKED,
)
_ANSWERED = (
    input_schemas.Accepted,
    input_schemas.ApprovalAccepted,
    intake_schemas.BatchAnswer,
    exception_schemas.ExceptionDetail,
    exception_schemas.ExceptionList,
    exception_schemas.EventList,
    ledger_schemas.Ledger,
    problem_schemas.Problem,
    readiness_schemas.Readiness,
    payload_schemas.UnredactedPayload,
    *dead_letter_calls.ANSWERED,
    *redrive_calls.ANSWERED,
    *pack_calls.ANSWERED,
    *pause_calls.ANSWERED,
)
_ALWAYS = (problems.UNAUTHENTICATED, problems.UNAVAILABLE, problems.INTERNAL)
_DECISION_REFUSALS = (problems.FORBIDDEN, problems.NOT_FOUND, problems.CONFLICT, problems.KEY_REUSED, *_OF_BODIES)


def _decision(
    name: str,
    summary: str,
    body: type[BaseModel] = input_schemas.Decision,
    answer: type[BaseModel] = input_schemas.Accepted,
    *,
    body_needed: bool = False,
) -> dict[str, _Call]:
    call = _Call(
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


_CALLS: Mapping[str, Mapping[str, _Call]] = {
    "/exceptions": {
        "post": _Call(
            "postException",
            "Take one exception in. 202 means that it is kept and will be worked.",
            202,
            input_schemas.Accepted,
            intake_schemas.NewException,
            media_types=(JSON, cloudevent.STRUCTURED),
            headers=("Idempotency-Key", "traceparent"),
            refusals=(*_OF_BODIES, problems.FORBIDDEN, problems.KEY_REUSED, problems.RATE_LIMITED),
        ),
        "get": _Call(
            "listExceptions",
            "A page of exceptions, newest first unless asked otherwise.",
            200,
            exception_schemas.ExceptionList,
            query=ListParameters,
            refusals=(problems.INVALID,),
        ),
    },
    "/exceptions/batch": {
        "post": _Call(
            "postBatch",
            "Take up to 1,000 exceptions in; each stands alone.",
            202,
            intake_schemas.BatchAnswer,
            intake_schemas.Batch,
            media_types=(JSON, NDJSON, cloudevent.STRUCTURED_BATCH),
            headers=("Idempotency-Key", "traceparent"),
            refusals=(*_OF_BODIES, problems.RATE_LIMITED),
        )
    },
    "/exceptions/{exceptionId}": {
        "get": _Call(
            "getException",
            "One exception with its plan, approval, what it waits for, and its dead letter.",
            200,
            exception_schemas.ExceptionDetail,
            refusals=(problems.NOT_FOUND,),
        )
    },
    "/exceptions/{exceptionId}/events": {
        "get": _Call(
            "listEvents",
            "The exception's timeline, oldest first.",
            200,
            exception_schemas.EventList,
            query=Paging,
            refusals=(problems.NOT_FOUND, problems.INVALID),
        ),
        "post": _Call(
            "postEvent",
            "Add an update of the payload, a comment, or a signal. It is worked after what came before it.",
            202,
            input_schemas.Accepted,
            input_schemas.NewEvent,
            headers=("Idempotency-Key",),
            refusals=(problems.NOT_FOUND, problems.CONFLICT, problems.KEY_REUSED, *_OF_BODIES),
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
        "post": _Call(
            "readPayload",
            "The payload as it came, for a reason that is kept on the timeline. Role operator.",
            200,
            payload_schemas.UnredactedPayload,
            payload_schemas.PayloadReading,
            refusals=(problems.FORBIDDEN, problems.NOT_FOUND, *_OF_BODIES),
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
    "/ledger": {"get": _Call("getLedger", "The tenant's books, from one snapshot.", 200, ledger_schemas.Ledger)},
    "/healthz": {"get": _Call("getHealth", "The process lives.", 200, None, open=True)},
    "/metrics": {
        "get": _Call(
            "getMetrics",
            "Figures of the installation for Prometheus. For its operators: with the token of SENTINAI_METRICS_TOKEN "
            "as a bearer token, or, without one set, from the same host.",
            200,
            None,
            open=True,
        )
    },
    "/readyz": {
        "get": _Call(
            "getReadiness",
            "The process can serve; 503 names what is missing.",
            200,
            readiness_schemas.Readiness,
            open=True,
        )
    },
    **dead_letter_calls.CALLS,
    **redrive_calls.CALLS,
    **pause_calls.CALLS,
    **pack_calls.CALLS,
}

_PATH_PARAMETERS = {
    "exceptionId": {"type": "string", "format": "uuid"},
    "step": {"type": "string", "description": "The step's path, like 3, 3.1 or 3[0].1; percent-encoded."},
    "key": {"type": "string", "format": "uuid", "description": "The effect's idempotency key."},
    **dead_letter_calls.PATH_PARAMETERS,
    **redrive_calls.PATH_PARAMETERS,
    **pause_calls.PATH_PARAMETERS,
    **pack_calls.PATH_PARAMETERS,
}
_HEADERS = {
    "Idempotency-Key": (
        "The same request under the same key is answered as the first time and works nothing twice.",
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
    ),
    "traceparent": ("W3C trace context; its trace id becomes the exception's.", {"type": "string"}),
    **pack_calls.HEADERS,
}


@cache
def document() -> Document:
    """The whole document."""
    modes: list[tuple[type[BaseModel], Any]] = [
        *((model, "validation") for model in _ASKED),
        *((model, "serialization") for model in _ANSWERED),
    ]
    _, definitions = models_json_schema(modes, ref_template=_REFERENCE)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "SentinAI",
            "version": "1",
            "summary": "Takes business exceptions in, keeps every one of them, and works each to its end.",
        },
        "security": [{"apiKey": []}],
        "paths": {
            path: {verb: _operation(path, call) for verb, call in calls.items()} for path, calls in _CALLS.items()
        },
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "X-API-KEY"}},
        },
    }


def _operation(path: str, call: _Call) -> Document:
    operation: Document = {
        "operationId": call.name,
        "summary": call.summary,
        "parameters": _parameters(path, call),
        "responses": _responses(call),
    }
    if call.open:
        operation["security"] = []
    if call.body is not None:
        content = {media_type: {"schema": _body_schema(media_type, call.body)} for media_type in call.media_types}
        operation["requestBody"] = {"required": call.body_needed, "content": content}
    return operation


def _body_schema(media_type: str, model: type[BaseModel]) -> Document:
    if media_type == NDJSON:
        return {"type": "string", "description": "One exception a line."}
    if media_type == cloudevent.STRUCTURED:
        return {"type": "object", "description": "A CloudEvent 1.0; its data is the raw payload."}
    if media_type == cloudevent.STRUCTURED_BATCH:
        return {"type": "array", "maxItems": intake_schemas.LARGEST_BATCH, "items": {"type": "object"}}
    return _reference(model)


def _parameters(path: str, call: _Call) -> list[Document]:
    in_path = [
        {"name": name, "in": "path", "required": True, "schema": schema}
        for name, schema in _PATH_PARAMETERS.items()
        if f"{{{name}}}" in path
    ]
    in_header = [
        {"name": name, "in": "header", "required": False, "description": _HEADERS[name][0], "schema": _HEADERS[name][1]}
        for name in call.headers
    ]
    return in_path + in_header + (_query(call.query) if call.query else [])


def _query(model: type[BaseModel]) -> list[Document]:
    schema = model.model_json_schema(ref_template=_REFERENCE)
    parameters = []
    for name, member in schema["properties"].items():
        told = {key: value for key, value in member.items() if key not in ("description", "title")}
        parameter = {"name": name, "in": "query", "required": False, "schema": told}
        if "description" in member:
            parameter["description"] = member["description"]
        if member.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        parameters.append(parameter)
    return parameters


def _responses(call: _Call) -> Document:
    good: Document = {"description": call.summary}
    if call.answer is not None:
        good["content"] = {JSON: {"schema": _reference(call.answer)}}
    kinds = (*call.refusals, *(() if call.open and call.answer is None else _ALWAYS))
    by_status: dict[int, list[str]] = {}
    for kind in kinds:
        by_status.setdefault(kind.status, []).append(kind.title)
    refused = {
        str(status): {
            "description": "; ".join(dict.fromkeys(titles)),
            "content": {"application/problem+json": {"schema": _reference(problem_schemas.Problem)}},
        }
        for status, titles in sorted(by_status.items())
        if not (call.open and status == problems.UNAUTHENTICATED.status)
    }
    return {str(call.status): good, **refused}


def _reference(model: type[BaseModel]) -> Document:
    return {"$ref": _REFERENCE.format(model=model.__name__)}
