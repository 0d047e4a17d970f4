"""The unredacted payload, for an operator with a reason. Who read it and why is on the timeline before it is shown."""

from __future__ import annotations

from flask import Blueprint, Response

from service.api.auth import Role
from service.api.context import answer, caller_with, exception_id_of, services
from service.api.inputs import body_as
from service.api.payload_schemas import PayloadReading, UnredactedPayload
from service.api.problems import not_found
from service.domain.hidden import without_hidden
from service.persistence.unit_of_work import unit_of_work
from service.persistence.unredacted import lock_payload, note_reading

blueprint = Blueprint("payload", __name__, url_prefix="/exceptions/<identifier>")


@blueprint.post("/payload")
def read_payload(identifier: str) -> Response:
    """Show the payload as it came, after writing down who asked and why."""
    caller = caller_with(Role.OPERATOR)
    exception_id = exception_id_of(identifier)
    reason = body_as(PayloadReading).reason
    parts = services()
    with unit_of_work(parts.engine, [caller.tenant_id]) as transaction:
        found = lock_payload(transaction, caller.tenant_id, exception_id)
        if found is None:
            raise not_found()
        shown = without_hidden(reason, found.payload, found.view)
        note_reading(transaction, caller.tenant_id, exception_id, by=caller.name, reason=shown, now=parts.now())
    return answer(UnredactedPayload(exception_id=exception_id, raw_payload=found.payload))
