"""The OpenAPI 3.1 document: paths from the modules of calls, schemas from the models that validate and answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.api import (
    cloudevent,
    dead_letter_calls,
    exception_calls,
    intake_schemas,
    pack_calls,
    pause_calls,
    problem_schemas,
    problems,
    process_calls,
    redrive_calls,
)
from service.api.calls import Call
from service.api.views.intake import JSON, NDJSON

Document = dict[str, Any]
_REFERENCE = "#/components/schemas/{model}"

_ASKED = (
    *exception_calls.ASKED,
    *redrive_calls.ASKED,
    *pack_calls.ASKED,
    *pause_calls.ASKED,
)
_ANSWERED = (
    problem_schemas.Problem,
    *exception_calls.ANSWERED,
    *process_calls.ANSWERED,
    *dead_letter_calls.ANSWERED,
    *redrive_calls.ANSWERED,
    *pack_calls.ANSWERED,
    *pause_calls.ANSWERED,
)
_ALWAYS = (problems.UNAUTHENTICATED, problems.UNAVAILABLE, problems.INTERNAL)

_CALLS: Mapping[str, Mapping[str, Call]] = {
    **exception_calls.CALLS,
    **process_calls.CALLS,
    **dead_letter_calls.CALLS,
    **redrive_calls.CALLS,
    **pause_calls.CALLS,
    **pack_calls.CALLS,
}

_PATH_PARAMETERS = {
    **exception_calls.PATH_PARAMETERS,
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


def _operation(path: str, call: Call) -> Document:
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


def _parameters(path: str, call: Call) -> list[Document]:
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


def _responses(call: Call) -> Document:
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
