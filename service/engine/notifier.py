"""Sends notifications that are due, beside a worker process's tasks: nobody waits for them.

A notification is a call like a tool's, with the same client, limits, circuit breakers and egress guard, and the same
rule: `sent` is committed before it goes out. What came of it is written to its own row and to nothing else. If the
process dies in between, its lease runs out: then what the receiver recognises when repeated is sent again under the
same key, and anything else is left `unknown`.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from threading import Condition, Thread

from pydantic import ValidationError
from sqlalchemy import Engine

from service.domain.exceptions import PackVersions
from service.domain.identifiers import notification_key
from service.domain.packs.notify import notify_call
from service.engine.effect_ledger import lease_until
from service.engine.packs import PackSource
from service.errors import InfrastructureUnavailableError, PermanentError
from service.persistence.notifications import Notification, NotificationReference, Settled, settle, take
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.tools.admission import Admission, Gate
from service.tools.calls import Answer, PreparedCall, ToolClient, ToolResult
from service.tools.egress import rules_of

log = logging.getLogger(__name__)

MOST_AT_ONCE = 32
"""Messages with notifications that one process works at once; what comes beyond is handed out again later."""

LONGEST_WAIT_SECONDS = 600.0
"""Between two attempts; the wait doubles up to this."""

WRITING_ATTEMPTS = 10
WRITE_AGAIN_SECONDS = 1.0
"""So often, and after so long, it is tried again to write down what came of a call. They end before its lease does."""

IN_DOUBT = "it was sent and its answer is not known; it is not sent again"

_Out = tuple[Notification, PreparedCall]


class Notifier:
    """The sender of one worker process. `engine` acts as APPLICATION; `packs` is its own."""

    def __init__(
        self,
        engine: Engine,
        packs: PackSource,
        client: ToolClient,
        admission: Admission,
        clock: Callable[[], datetime],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` gives 0 to 1."""
        self._engine = engine
        self._packs = packs
        self._client = client
        self._admission = admission
        self._clock = clock
        self._jitter = jitter
        self._working = 0
        self._changed = Condition()

    def accept(self, references: Sequence[NotificationReference]) -> bool:
        """Have these sent by a thread; False if there are too many at work, and they have to come again."""
        with self._changed:
            if self._working >= MOST_AT_ONCE:
                return False
            self._working += 1
        # A daemon: an ending process waits as long as `close` is told to, and not for a receiver that hangs.
        Thread(target=self._work, args=(references,), name="notifications", daemon=True).start()
        return True

    def close(self, seconds: float) -> None:
        """Wait for what is on its way, at most so long, and give the connections back."""
        with self._changed:
            self._changed.wait_for(lambda: self._working == 0, seconds)
        self._engine.dispose()

    def send(self, references: Sequence[NotificationReference]) -> None:
        """Send those of these notifications that nobody else has taken, and write down what came of them."""
        out = self._taken(references)
        if not out:
            return
        by_key = {call.key: (one, call) for one, call in out}
        for group in self._client.results([call for _, call in out]):
            self._written_down([(*by_key[result.key], result) for result in group])

    def _work(self, references: Sequence[NotificationReference]) -> None:
        try:
            self.send(references)
        except InfrastructureUnavailableError as error:
            log.warning("notifications wait for infrastructure: %s", error)
        except Exception:
            log.exception("sending notifications failed; their rows become due again")
        finally:
            with self._changed:
                self._working -= 1
                self._changed.notify_all()

    def _taken(self, references: Sequence[NotificationReference]) -> list[_Out]:
        """Take rows and commit what goes out as `sent`."""
        now = self._clock()
        gate = self._admission.gate()
        states: list[Settled] = []
        out: list[_Out] = []
        try:
            with unit_of_work(self._engine, {reference.tenant_id for reference in references}) as transaction:
                for one in take(transaction, references):
                    state, call = self._begun(transaction, one, gate, now)
                    states.append(state)
                    if call is not None:
                        out.append((one.sent(), call))
                settle(transaction, states, now)
        except BaseException:
            self._admission.withdrawn(call.key for _, call in out)
            raise
        return out

    def _begun(
        self, transaction: Transaction, one: Notification, gate: Gate, now: datetime
    ) -> tuple[Settled, PreparedCall | None]:
        """What becomes of a row now, and the call if it is to go out."""
        if one.on_its_way and one.params.get("idempotent") is not True:
            return Settled(one, "unknown", one.attempts, IN_DOUBT), None
        try:
            call = self._prepared(transaction, one)
        except PermanentError as error:
            return Settled(one, "failed", one.attempts, str(error)), None
        except (ValidationError, KeyError) as error:
            return Settled(
                one, "failed", one.attempts, f"what it is to send is not valid: {type(error).__name__}"
            ), None
        if one.attempts > call.call.max_retries:
            return Settled(one, "failed", one.attempts, f"no answer was seen to {one.attempts} attempts"), None
        held = gate.admit(call)
        if held is not None:
            due = now + timedelta(seconds=max(1.0, held.due_in_seconds))
            return Settled(one, "sent" if one.on_its_way else "intent", one.attempts, held.reason, due), None
        return Settled(one, "sent", one.attempts + 1, due_at=lease_until(call.call, now)), call

    def _prepared(self, transaction: Transaction, one: Notification) -> PreparedCall:
        own = one.reference
        packs = self._packs.at(transaction, own.tenant_id, PackVersions(one.domain_version, one.tenant_version))
        key = notification_key(own.exception_id, own.position, own.policy)
        return PreparedCall(key, own.tenant_id, notify_call(one.params), rules_of(packs.tenant))

    def _written_down(self, results: Sequence[tuple[Notification, PreparedCall, ToolResult]]) -> None:
        self._admission.settled((call, result) for _, call, result in results)
        tenants = {one.reference.tenant_id for one, _, _ in results}
        for attempt in range(WRITING_ATTEMPTS):
            now = self._clock()
            states = [self._settled(one, call, result, now) for one, call, result in results]
            try:
                with unit_of_work(self._engine, tenants) as transaction:
                    settle(transaction, states, now)
                return
            except InfrastructureUnavailableError as error:
                log.warning("%s notifications wait to be written down, attempt %s: %s", len(states), attempt + 1, error)
                time.sleep(WRITE_AGAIN_SECONDS)

    def _settled(self, one: Notification, call: PreparedCall, result: ToolResult, now: datetime) -> Settled:
        """What an answer means."""
        after = result.retry_after_seconds or 0.0
        match result.answer:
            case Answer.CONFIRMED:
                return Settled(one, "confirmed", one.attempts)
            case Answer.UNANSWERED:
                return Settled(one, "unknown", one.attempts, result.error)
            case Answer.NOT_SENT:
                # A limit was reached: nobody's attempt.
                return Settled(one, "intent", one.attempts - 1, result.error, now + timedelta(seconds=max(1.0, after)))
            case Answer.TRANSIENT if one.attempts <= call.call.max_retries:
                seconds = max(after, self._backoff(one.attempts))
                return Settled(one, "intent", one.attempts, result.error, now + timedelta(seconds=seconds))
        return Settled(one, "failed", one.attempts, result.error)

    def _backoff(self, attempts: int) -> float:
        longest: float = min(LONGEST_WAIT_SECONDS, 2.0**attempts)
        return longest * (0.5 + self._jitter() / 2)
