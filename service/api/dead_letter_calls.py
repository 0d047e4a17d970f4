"""The calls that read dead letters, as the OpenAPI document tells them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.api import dead_letter_schemas as schemas
from service.api import problems
from service.api.calls import Call

ANSWERED = (schemas.DeadLetterList, schemas.DeadLetterDetail, schemas.ClusterList)

CALLS: Mapping[str, Mapping[str, Call]] = {
    "/dlq": {
        "get": Call(
            "listDeadLetters",
            "The tenant's dead letters, the newest first: inputs that could not be worked.",
            200,
            schemas.DeadLetterList,
            query=schemas.DeadLetterParameters,
            refusals=(problems.INVALID,),
        )
    },
    "/dlq/clusters": {
        "get": Call(
            "listDeadLetterClusters",
            "The tenant's dead letters by cause: each cluster has one signature.",
            200,
            schemas.ClusterList,
            query=schemas.ClusterParameters,
            refusals=(problems.INVALID,),
        )
    },
    "/dlq/{deadLetterId}": {
        "get": Call(
            "getDeadLetter",
            "One dead letter with what was tried, what happened last, and where its payload is.",
            200,
            schemas.DeadLetterDetail,
            refusals=(problems.NOT_FOUND,),
        )
    },
}

PATH_PARAMETERS: Mapping[str, Any] = {"deadLetterId": {"type": "string", "format": "uuid"}}
