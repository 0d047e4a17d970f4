"""A person who looks at every effect in doubt, asks the tool what it did, and says so."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from tests.chaos.effects.conduct import Conductor
from tests.chaos.effects.verdict import Effect

DONE, NOT_DONE, RESEND = "done", "not_done", "resend"


def settle_doubts(conductor: Conductor, doubts: Sequence[Effect], chance: random.Random) -> dict[str, str]:
    """Say of each effect what became of it, and wait until that is carried out; what was said, by key."""
    said: dict[str, str] = {}
    for effect in doubts:
        said[effect.key] = DONE if effect.worked else chance.choice([NOT_DONE, RESEND])
        response = conductor.client.send(
            "POST",
            f"/exceptions/{effect.exception_id}/effects/{effect.key}/resolve",
            json={"verdict": said[effect.key], "comment": "asked the tool's owner"},
        )
        assert response.status_code == 202, response.text
    conductor.settle()
    return said


def broken_after(found: Sequence[Effect], said: Mapping[str, str]) -> dict[str, list[Any]]:
    """What of the person's words was not carried out, by promise; {} when all was."""
    ends = {DONE: {"RESOLVED"}, RESEND: {"RESOLVED"}, NOT_DONE: {"DEAD_LETTERED", "ESCALATED"}}
    looked_at = [effect for effect in found if effect.key in said]
    promises = {
        "what a person said is carried out": [e for e in looked_at if e.status not in ends[said[e.key]]],
        "an effect happens as often as a person said": [e for e in looked_at if e.worked != (said[e.key] != NOT_DONE)],
    }
    return {promise: rows for promise, rows in promises.items() if rows}
