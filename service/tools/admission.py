"""Admission: which of the calls that are due may go out now, and why the others have to wait.

Asked once a turn and tool, before calls are written down as sent, and told what became of each. It decides by what is
paused, by the tool's circuit breaker and by the limits of calls under way; of a tool that was slow lately, only as
many are admitted as can leave at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from service.domain.pauses import NOTHING_PAUSED, Pause, PausesInForce
from service.tools.breakers import Breakers, Name
from service.tools.calls import Answer, PreparedCall, ToolResult
from service.tools.limits import CallSlots
from service.tools.requests import ITEMS_PER_REQUEST

STUCK_WAIT_SECONDS = 1.0
"""The least that work waits for a tool whose limit is reached."""

SLOW_SECONDS = 120.0
"""How long a tool counts as slow after a batch last had to leave its calls behind, unless it shows that it is not."""

QUICK_SECONDS = 0.5
"""An answer that took less shows it, once all calls that were left behind are back."""

PAUSED_WAIT_SECONDS = 60.0
"""How long what cannot wait for a pause to end (a notification) waits before it asks again."""

PROBE_MARGIN_SECONDS = 15.0
"""Beyond its call's time limit, how long a probe's place is kept from others."""


@dataclass(frozen=True, slots=True)
class Held:
    """A call that may not go out now."""

    key: str
    tool: str
    reason: str
    """For people."""
    due_in_seconds: float
    """When to ask again, at the earliest."""
    pause: Pause | None = None
    """Somebody paused it."""


class Gate(Protocol):
    """One turn's admission: what it says of a tool holds for the whole turn."""

    def admit(self, call: PreparedCall) -> Held | None:
        """Why this call has to wait; None: it goes out now."""
        ...


class Admission(Protocol):
    """Decides about calls before they are made, and learns from what became of them."""

    def gate(self) -> Gate:
        """For one turn."""
        ...

    def admit(self, calls: Sequence[PreparedCall]) -> list[Held]:
        """The calls among these that have to wait; all others may go out now. One gate asked for all of them."""
        ...

    def withdrawn(self, keys: Iterable[str]) -> None:
        """Calls that were admitted and do not go out after all."""
        ...

    def settled(self, calls: Iterable[tuple[PreparedCall, ToolResult]]) -> None:
        """What became of calls that were admitted."""
        ...

    def outlived(self, calls: Iterable[PreparedCall]) -> None:
        """Calls that a batch waited for in vain."""
        ...

    def is_slow(self, call: PreparedCall) -> bool:
        """Whether calls of this one's tool outlived their batch lately."""
        ...


class AdmitAll:
    """An admission that lets everything pass."""

    def gate(self) -> Gate:
        """An open one."""
        return _OpenGate()

    def admit(self, calls: Sequence[PreparedCall]) -> list[Held]:  # noqa: ARG002 - the port's
        """None has to wait."""
        return []

    def withdrawn(self, keys: Iterable[str]) -> None:
        """Nothing is kept."""

    def settled(self, calls: Iterable[tuple[PreparedCall, ToolResult]]) -> None:
        """Nothing is kept."""

    def outlived(self, calls: Iterable[PreparedCall]) -> None:
        """Nothing is kept."""

    def is_slow(self, call: PreparedCall) -> bool:  # noqa: ARG002 - the port's
        """No tool is."""
        return False


class _OpenGate:
    def admit(self, call: PreparedCall) -> Held | None:  # noqa: ARG002 - the port's
        """It goes out."""
        return None


@dataclass(slots=True)
class _Allowance:
    """What a turn may still send of one tool."""

    left: float
    """So many calls; infinite for a tool about which nothing is known."""
    reason: str = ""
    seconds: float = 0.0
    probe: bool = False


class GuardedAdmission:
    """The admission of one worker process. Safe for several threads."""

    def __init__(
        self,
        breakers: Breakers,
        slots: CallSlots,
        clock: Callable[[], float] = time.monotonic,
        pauses: Callable[[], PausesInForce] = lambda: NOTHING_PAUSED,
    ) -> None:
        self._breakers = breakers
        self._pauses = pauses
        self._slots = slots
        self._clock = clock
        self._slow: dict[Name, float] = {}
        self._behind: dict[Name, set[str]] = {}
        self._probes: dict[str, Name] = {}
        self._lock = Lock()

    def gate(self) -> Gate:
        """See Admission."""
        return _TurnGate(self, self._pauses())

    def admit(self, calls: Sequence[PreparedCall]) -> list[Held]:
        """See Admission."""
        gate = self.gate()
        return [held for call in calls if (held := gate.admit(call)) is not None]

    def withdrawn(self, keys: Iterable[str]) -> None:
        """See Admission: a probe that does not go out makes room for another."""
        if not self._probes:
            return
        for key in keys:
            with self._lock:
                name = self._probes.pop(key, None)
            if name is not None:
                self._breakers.release_probe(name)

    def settled(self, calls: Iterable[tuple[PreparedCall, ToolResult]]) -> None:
        """See Admission. A refusal is a success here: the tool is there and answers."""
        counts: dict[Name, list[int]] = {}
        for call, result in calls:
            if self._slow:
                self._learn(call, result)
            if result.answer is Answer.NOT_SENT:
                self.withdrawn([call.key])
                continue
            failed = result.answer in (Answer.TRANSIENT, Answer.UNANSWERED)
            with self._lock:
                probed = self._probes.pop(call.key, None) if self._probes else None
            if probed is not None:
                self._breakers.record_probe(probed, succeeded=not failed)
            else:
                counts.setdefault(_name(call), [0, 0])[failed] += 1
        for name, (succeeded, failed_calls) in counts.items():
            self._breakers.record(name, succeeded=succeeded, failed=failed_calls)

    def outlived(self, calls: Iterable[PreparedCall]) -> None:
        """See Admission."""
        until = self._clock() + SLOW_SECONDS
        with self._lock:
            for call in calls:
                self._slow[_name(call)] = until
                self._behind.setdefault(_name(call), set()).add(call.key)

    def is_slow(self, call: PreparedCall) -> bool:
        """See Admission."""
        until = self._slow.get(_name(call))
        return until is not None and until > self._clock()

    def _learn(self, call: PreparedCall, result: ToolResult) -> None:
        """A tool whose calls are all back and that answers quickly is not slow any more."""
        name = _name(call)
        with self._lock:
            behind = self._behind.get(name, set())
            behind.discard(call.key)
            quick = result.answer is Answer.CONFIRMED and result.duration_seconds < QUICK_SECONDS
            if not behind:
                self._behind.pop(name, None)
                if quick:
                    self._slow.pop(name, None)

    def allowance(self, name: Name, call: PreparedCall) -> _Allowance:
        """What may go out of this call's tool now. A probe that is granted is the asker's."""
        passage = self._breakers.passage(name, call.call.timeout_seconds + PROBE_MARGIN_SECONDS)
        if not passage.open:
            return _Allowance(int(passage.probe), passage.reason, passage.seconds, passage.probe)
        stuck = self._slots.stuck(call)
        if stuck:
            return _Allowance(0, stuck, STUCK_WAIT_SECONDS)
        if not self.is_slow(call):
            return _Allowance(math.inf)
        room = self._slots.room(call) * (ITEMS_PER_REQUEST if call.call.batch_url else 1)
        reason = f"tool {name[1]!r} is slow and has as many calls under way as it may"
        return _Allowance(room, reason, STUCK_WAIT_SECONDS)

    def probing(self, name: Name, call: PreparedCall) -> None:
        """This call is its tool's probe."""
        with self._lock:
            self._probes[call.key] = name


class _TurnGate:
    """Asks the admission once a tool, and counts."""

    def __init__(self, admission: GuardedAdmission, paused: PausesInForce) -> None:
        self._admission = admission
        self._paused = paused
        self._allowances: dict[Name, _Allowance] = {}

    def admit(self, call: PreparedCall) -> Held | None:
        """See Gate."""
        name = _name(call)
        if self._paused and (pause := self._paused.of_call(*name)) is not None:
            return Held(call.key, name[1], pause.sentence, PAUSED_WAIT_SECONDS, pause)
        allowance = self._allowances.get(name)
        if allowance is None:
            allowance = self._allowances[name] = self._admission.allowance(name, call)
        if allowance.left < 1:
            return Held(call.key, name[1], allowance.reason, allowance.seconds)
        allowance.left -= 1
        if allowance.probe:
            self._admission.probing(name, call)
        return None


def _name(call: PreparedCall) -> Name:
    return call.tenant_id, call.call.tool
