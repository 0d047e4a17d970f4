"""The calls that send dead letters again or discard them, as the OpenAPI document tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from service.api import problems
from service.api import redrive_schemas as schemas
from service.api.calls import OF_BODIES, Call
from service.api.paging import Paging

ASKED = (schemas.RedriveWish, schemas.Decided, schemas.BulkRedrive, schemas.BulkDiscard)
ANSWERED = (
    schemas.Redriven,
    schemas.Discarded,
    schemas.DryRun,
    schemas.OperationDetail,
    schemas.OperationList,
)
_READ = (problems.FORBIDDEN, problems.NOT_FOUND)


def _command(
    name: str,
    summary: str,
    answer: type[BaseModel],
    body: type[BaseModel],
    refusals: tuple[problems.Kind, ...],
    headers: tuple[str, ...] = ("Idempotency-Key",),
) -> dict[str, Call]:
    refused = (problems.FORBIDDEN, *refusals, *OF_BODIES)
    return {"post": Call(name, f"{summary} Role operator.", 202, answer, body, headers=headers, refusals=refused)}


_ONE = (problems.NOT_FOUND, problems.CONFLICT, problems.KEY_REUSED)

CALLS: Mapping[str, Mapping[str, Call]] = {
    "/dlq/{deadLetterId}/redrive": _command(
        "redriveDeadLetter", "Work a dead-lettered input again.", schemas.Redriven, schemas.RedriveWish, _ONE
    ),
    "/dlq/{deadLetterId}/discard": _command(
        "discardDeadLetter",
        "Do not work a dead-lettered input any more; what waits behind it takes its turn.",
        schemas.Discarded,
        schemas.Decided,
        _ONE,
    ),
    "/dlq/redrive": _command(
        "redriveDeadLetters",
        "Send many dead letters again in the background. With `dryRun` 200 and a DryRun: what would be done.",
        schemas.OperationDetail,
        schemas.BulkRedrive,
        (problems.KEY_REUSED,),
    ),
    "/dlq/discard": _command(
        "discardDeadLetters",
        "Discard many dead letters in the background. With `dryRun` 200 and a DryRun: what would be done.",
        schemas.OperationDetail,
        schemas.BulkDiscard,
        (problems.KEY_REUSED,),
    ),
    "/dlq/operations": {
        "get": Call(
            "listRedriveOperations",
            "Operations on many dead letters, the newest first. Role operator.",
            200,
            schemas.OperationList,
            query=Paging,
            refusals=(problems.FORBIDDEN, problems.INVALID),
        )
    },
    "/dlq/operations/{operation}": {
        "get": Call(
            "getRedriveOperation",
            "One operation with its progress, its history and what came of it. Role operator.",
            200,
            schemas.OperationDetail,
            refusals=_READ,
        )
    },
    "/dlq/operations/{operation}/stop": _command(
        "stopRedriveOperation",
        "Send nothing more; what was sent is worked to its end.",
        schemas.OperationDetail,
        schemas.Decided,
        (problems.NOT_FOUND, problems.CONFLICT),
        headers=(),
    ),
    "/dlq/operations/{operation}/resume": _command(
        "resumeRedriveOperation",
        "Go on with a stopped operation; after a failed canary with the rest.",
        schemas.OperationDetail,
        schemas.Decided,
        (problems.NOT_FOUND, problems.CONFLICT),
        headers=(),
    ),
}

PATH_PARAMETERS: Mapping[str, Any] = {
    "operation": {"type": "string", "format": "uuid", "description": "The operation's id."},
}
