"""What the load was answered: the only thing of the outside that the verdict takes from those who sent it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from threading import Lock

from tests.chaos.pipeline.kinds import DEAD, Kind, Said, resting


@dataclass(frozen=True)
class Accepted:
    """An exception that was answered 202."""

    exception_id: str
    tenant_id: str
    kind: Kind
    ref: str
    at: float
    """When it was answered, in seconds since the epoch."""


@dataclass(frozen=True)
class AcceptedInput:
    """What was said of an exception later and was answered 202."""

    exception_id: str
    sequence: int | None
    """The input's; None where what was said is no input: a dead letter was redriven or discarded."""
    said: Said
    at: float


@dataclass
class Answers:
    """Everything that was answered 202 in a round, and what was not answered as promised. Safe from any thread."""

    accepted: list[Accepted] = field(default_factory=list)
    inputs: list[AcceptedInput] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    """Answers that a careful source may not get, whatever is broken: a request of ours called wrong, say."""
    puzzled: list[str] = field(default_factory=list)
    """Answers 500, after which the source came again: nothing is lost, but an outage should be called one (503)."""
    unanswered: list[str] = field(default_factory=list)
    """Requests that had no answer when the round ended."""
    _lock: Lock = field(default_factory=Lock, repr=False)

    def accept(self, found: Sequence[Accepted]) -> None:
        """Note exceptions that were answered 202."""
        with self._lock:
            self.accepted.extend(found)

    def accept_input(self, found: AcceptedInput) -> None:
        """Note an input that was answered 202."""
        with self._lock:
            self.inputs.append(found)

    def refuse(self, what: str) -> None:
        """Note an answer that should not have been given."""
        with self._lock:
            self.refused.append(what)

    def puzzle(self, what: str) -> None:
        """Note an answer 500."""
        with self._lock:
            self.puzzled.append(what)

    def expected(self) -> list[dict[str, object]]:
        """For each exception: where it may rest, whether it must be a dead letter, and its highest sequence."""
        said: dict[str, list[AcceptedInput]] = {}
        for one in self.inputs:
            said.setdefault(one.exception_id, []).append(one)
        return [
            {
                "id": one.exception_id,
                "tenant": one.tenant_id,
                "kind": one.kind.value,
                "resting": sorted(resting(one.kind, {other.said for other in said.get(one.exception_id, ())})),
                "dead": one.kind in DEAD,
                "sequence": max((other.sequence or 1 for other in said.get(one.exception_id, ())), default=1),
            }
            for one in self.accepted
        ]

    def write(self, file: Path) -> None:
        """Keep everything as evidence."""
        document = {
            "accepted": [asdict(one) for one in self.accepted],
            "inputs": [asdict(one) for one in self.inputs],
            "refused": self.refused,
            "puzzled": self.puzzled,
            "unanswered": self.unanswered,
        }
        file.write_text(json.dumps(document, indent=1), encoding="utf-8")
