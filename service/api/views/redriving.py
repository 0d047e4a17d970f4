"""Dead letters sent again and discarded one by one: at once, in the transaction of the call."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson
from flask import Blueprint, Response

from service.api import redrive_schemas as schemas
from service.api.auth import Role
from service.api.context import answer, caller_with, idempotency_key, services
from service.api.inputs import body_as
from service.api.problems import CONFLICT, KEY_REUSED, ProblemError
from service.api.views.dead_letters import dead_letter_id_of, no_dead_letter
from service.domain.redriving import DeadLetterState
from service.engine.redriving import Result, discard, redrive
from service.persistence.administration import Caller
from service.persistence.ingestion import Ingestion
from service.persistence.redriving import Act, DeadLetterDesk, Letter
from service.persistence.unit_of_work import Transaction, unit_of_work

blueprint = Blueprint("redriving", __name__, url_prefix="/dlq")

Do = Callable[[Transaction, UUID, Act], Result]


@blueprint.post("/<identifier>/redrive")
def redrive_one(identifier: str) -> Response:
    """Work the input again. While it is being worked again, another call changes nothing."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(schemas.RedriveWish)
    now = services().now()

    def act(transaction: Transaction, dead_letter_id: UUID, who: Act) -> Result:
        return redrive(transaction, caller.tenant_id, [dead_letter_id], body.wish(), who, now)[0]

    letter, changed = _once(caller, identifier, "redrive", body, act, DeadLetterState.REDRIVING)
    return answer(schemas.Redriven(**_shown(letter), redrives=letter.redrives, changed=changed), 202)


@blueprint.post("/<identifier>/discard")
def discard_one(identifier: str) -> Response:
    """Do not work the input any more; what waited behind it takes its turn."""
    caller = caller_with(Role.OPERATOR)
    body = body_as(schemas.Decided)
    now = services().now()

    def act(transaction: Transaction, dead_letter_id: UUID, who: Act) -> Result:
        return discard(transaction, caller.tenant_id, [dead_letter_id], who, now)[0]

    letter, changed = _once(caller, identifier, "discard", body, act, DeadLetterState.DISCARDED)
    return answer(schemas.Discarded(**_shown(letter), changed=changed), 202)


def _once(
    caller: Caller, identifier: str, verb: str, body: schemas.Decided, do: Do, wanted: DeadLetterState
) -> tuple[Letter, bool]:
    """Do it under the lock of its exception, unless it is so already or was done under this key.

    The dead letter as it is then, and whether this call changed it. Raises ProblemError 404, 409 or 422.
    """
    parts, dead_letter_id, key = services(), dead_letter_id_of(identifier), idempotency_key()
    digest = hashlib.sha256(orjson.dumps(body.model_dump(mode="json"), option=orjson.OPT_SORT_KEYS)).digest()
    with unit_of_work(parts.engine, [caller.tenant_id]) as transaction:
        desk = DeadLetterDesk(transaction, caller.tenant_id, parts.now())
        ingestion = Ingestion(transaction, caller.tenant_id, parts.now())
        letter = desk.locked([dead_letter_id]).get(dead_letter_id)
        if letter is None:
            raise no_dead_letter()
        full_key = None if key is None else f"{verb}:{dead_letter_id}:{key}"
        if full_key is not None and _repeated(ingestion, full_key, digest):
            return letter, False
        changed = letter.state is not wanted
        if changed:
            result = do(transaction, dead_letter_id, Act(caller.name, body.reason))
            if not result.done:
                raise ProblemError(CONFLICT, f"this dead letter cannot be sent again or discarded: {result.why_not}")
        if full_key is not None:
            ingestion.remember(full_key, digest, letter.exception_id, letter.sequence)
        return desk.locked([dead_letter_id])[dead_letter_id], changed


def _repeated(ingestion: Ingestion, key: str, digest: bytes) -> bool:
    """Whether this very call was taken before. Raises ProblemError 422 when the key was used for another."""
    remembered = ingestion.find_key(key)
    if remembered is not None and remembered[0] != digest:
        raise ProblemError(KEY_REUSED, "the Idempotency-Key was used for another call; use a new one")
    return remembered is not None


def _shown(letter: Letter) -> dict[str, Any]:
    return {
        "dead_letter_id": letter.dead_letter_id,
        "exception_id": letter.exception_id,
        "sequence": letter.sequence,
        "state": letter.state,
        "status": letter.status,
    }
