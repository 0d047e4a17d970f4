"""How a demo tool behaves: what a test tells it to do, decided call by call. No HTTP here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

MOST_KEYS = 1_000_000


class Behaviour(BaseModel):
    """The `simulate` object of a call and the body of `PUT /behaviours/{tool}`; a call's fields win over its tool's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    delaySeconds: float = Field(default=0, ge=0, le=600)
    """Time before the work is done; it is done even when the caller has gone."""
    failTimes: int = Field(default=0, ge=0)
    """The first n calls of each idempotency key answer 503."""
    status: int | None = Field(default=None, ge=400, le=599)
    """Always answer this. For a tool it fails a whole batch call, for an item that item alone."""
    hang: bool = False
    """Never answer."""
    idempotent: bool = False
    """Answer a repeated key as before, without a second effect."""
    echoHeaders: bool = False
    """Repeat the request's headers in the answer, also in a refusal, as careless tools do."""


NORMAL = Behaviour()


def merged(tool: Behaviour, simulate: Mapping[str, Any] | None) -> Behaviour:
    """The tool's behaviour with what the call itself asks for. Raises pydantic.ValidationError on unknown fields."""
    if not simulate:
        return tool
    return Behaviour.model_validate({**tool.model_dump(exclude_unset=True), **simulate})


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one call or item."""

    status: int
    replay_of: int | None = None
    """Number of the call whose answer is given again."""


class Desk:
    """Remembers, per idempotency key, failures still to give and answers already given."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._answers: dict[str, int] = {}

    def clear(self) -> None:
        """Forget all keys."""
        self._failures.clear()
        self._answers.clear()

    def judge(self, behaviour: Behaviour, key: str) -> Verdict:
        """Decide on a call that does not hang; call it when the work would be done."""
        if behaviour.status is not None:
            return Verdict(behaviour.status)
        if behaviour.failTimes and (failures := self._failures.get(key, 0)) < behaviour.failTimes:
            _remember(self._failures, key, failures + 1)
            return Verdict(503)
        if behaviour.idempotent and (number := self._answers.get(key)) is not None:
            return Verdict(200, replay_of=number)
        return Verdict(200)

    def worked(self, behaviour: Behaviour, key: str, number: int) -> None:
        """Keep the answer of an idempotent tool for the next call with this key."""
        if behaviour.idempotent:
            _remember(self._answers, key, number)


def _remember(numbers: dict[str, int], key: str, value: int) -> None:
    numbers[key] = value
    if len(numbers) > MOST_KEYS:
        del numbers[next(iter(numbers))]
