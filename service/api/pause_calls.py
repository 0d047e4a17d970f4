"""The calls about pauses, as the OpenAPI document tells them."""

from __future__ import annotations

from collections.abc import Mapping

from service.api import pause_schemas as schemas
from service.api import problems
from service.api.calls import OF_BODIES, Call
from service.api.views.pauses import PauseQuery

ASKED = (schemas.NewPause, schemas.Resumption)
ANSWERED = (schemas.PauseShown, schemas.PauseList)

CALLS: Mapping[str, Mapping[str, Call]] = {
    "/pauses": {
        "post": Call(
            "pause",
            "Stop everything of the tenant, or the calls of one tool: work waits, nothing is lost, and what is sent "
            "meanwhile is kept. In force everywhere within two seconds. Role operator.",
            201,
            schemas.PauseShown,
            schemas.NewPause,
            refusals=(problems.FORBIDDEN, *OF_BODIES),
        ),
        "get": Call(
            "listPauses",
            "The tenant's pauses and those for every tenant, the newest first. Role operator.",
            200,
            schemas.PauseList,
            query=PauseQuery,
            refusals=(problems.FORBIDDEN, problems.INVALID),
        ),
    },
    "/pauses/{pause}/resume": {
        "post": Call(
            "resume",
            "End a pause: what waits for it goes on at once. Role operator.",
            200,
            schemas.PauseShown,
            schemas.Resumption,
            body_needed=False,
            refusals=(problems.FORBIDDEN, problems.NOT_FOUND, problems.PAUSE_CONFLICT, *OF_BODIES),
        )
    },
}

PATH_PARAMETERS = {"pause": {"type": "string", "format": "uuid"}}
