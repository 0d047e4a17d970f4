"""Notifications are as trustworthy as tool calls: written with the event, sent once, repeated only if recognisable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import Engine

from service.api import presenting
from service.dispatch.notifications import AGAIN_AFTER_SECONDS, DueNotifications, from_message, to_message
from service.domain.exceptions import Stage
from service.engine import notifier as notifier_module
from service.engine.batch import Batch
from service.engine.course import Flight
from service.engine.failures import Failure, ToolUnavailableError
from service.errors import InfrastructureUnavailableError
from service.persistence import queries
from service.persistence.notifications import NotificationReference, take
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.tools.calls import Answer, PreparedCall, ToolResult
from service.tools.recording import NoAnswerError, NoConnectionError, RecordingToolClient
from tests.integration.notifications.conftest import Told, key_of
from tests.tenants import new_tenant

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]


class WorkerDiedError(Exception):
    """The worker process was killed here."""


def shown(told: Told, reference: Any) -> list[dict[str, Any]]:
    """The notifications that GET /exceptions/{id} has."""
    with unit_of_work(told.application, [reference.tenant_id]) as transaction:
        details = queries.get_exception(transaction, reference.tenant_id, reference.exception_id)
    assert details is not None
    return [one.model_dump(by_alias=True) for one in presenting.detail(details).notifications]


def test_what_was_decided_is_told_once_by_webhook_and_mail(told: Told) -> None:
    # given an exception that was resolved, and whose deliveries were repeated
    reference = told.resolved()
    told.world.delivered(reference)
    assert told.rows() == [("webhook", "intent", 0, None), ("email", "intent", 0, None)]
    references = from_message(to_message(told.references()))
    # when the message with its notifications comes twice
    told.notifier().send(references)
    told.notifier().send(references)
    # then each was sent once, under the key of its exception, position and policy
    hook, mail = (key_of(row) for row in told.rows("exception_id, position, policy"))
    assert told.hooked() == [(hook, "worked")]
    (message,) = told.inbox.messages
    assert message["Message-ID"] == f"<{mail}@house.example>"
    assert message["Subject"] == str(reference.exception_id)
    assert message.get_payload().strip() == "1"
    # and people see it
    assert [(one["on"], one["channel"], one["state"], one["attempts"]) for one in shown(told, reference)] == [
        ("ExceptionResolved", "webhook", "confirmed", 1),
        ("ExceptionResolved", "email", "confirmed", 1),
    ]


def test_a_worker_that_dies_before_it_writes_down_what_it_sent(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a worker that is killed when everything was sent and nothing written down
    reference = told.resolved()
    before = told.world.rows("SELECT * FROM exceptions WHERE {own}")
    with monkeypatch.context() as patch:
        patch.setattr(notifier_module.Notifier, "_written_down", _die)
        with pytest.raises(WorkerDiedError):
            told.notifier().send(told.references())
    assert [state for _, state, *_ in told.rows()] == ["sent", "sent"]
    # when the leases are over and the dispatcher hands them out again
    told.world.now += timedelta(minutes=10)
    told.notifier().send(told.references())
    # then the receiver of webhooks sees the same id once more, and nobody gets a second e-mail
    outcomes = told.hooked()
    assert [outcome for _, outcome in outcomes] == ["worked", "replayed"]
    assert len({key for key, _ in outcomes}) == 1
    assert len(told.inbox.messages) <= 1
    assert [row[:3] for row in told.rows()] == [("webhook", "confirmed", 2), ("email", "unknown", 1)]
    # and the exception is as it was
    assert told.world.rows("SELECT * FROM exceptions WHERE {own}", reference) == before


def _die(_self: Any, results: Sequence[tuple[Any, PreparedCall, ToolResult]]) -> None:
    # The other call is given up with the iterator; what matters is that both were committed as sent.
    if any(call.call.kind == "webhook" for _, call, _ in results):
        raise WorkerDiedError


def test_a_row_is_committed_as_sent_before_anything_leaves(told: Told) -> None:
    told.resolved()
    seen: list[str] = []

    def look(call: PreparedCall) -> Any:
        seen.extend(state for _, state, *_ in told.rows())
        raise NoConnectionError

    told.notifier(RecordingToolClient(look)).send(told.references())
    assert seen == ["sent"] * 4


def test_of_two_senders_one_sends(told: Told) -> None:
    # given two workers with the same message
    told.resolved()
    references = told.references()
    begin = Barrier(2)

    def work(_: int) -> None:
        begin.wait(20)
        told.notifier().send(references)

    # when both work it at the same time
    with ThreadPoolExecutor(2) as workers:
        list(workers.map(work, range(2)))
    # then everything is sent once
    assert [outcome for _, outcome in told.hooked()] == ["worked"]
    assert len(told.inbox.messages) == 1
    assert [row[:3] for row in told.rows()] == [("webhook", "confirmed", 1), ("email", "confirmed", 1)]


def test_two_dispatchers_hand_out_different_rows_and_lost_ones_again(told: Told, system: Engine) -> None:
    told.resolved()
    own = told.world.tenant.tenant_id
    inside: list[list[NotificationReference]] = []
    handed: list[NotificationReference] = []

    def send(references: Sequence[NotificationReference]) -> None:
        if not inside:
            inside.append([])
            other = DueNotifications(system, inside[0].extend, lambda: told.world.now)
            other()
        handed.extend(one for one in references if one.tenant_id == own)

    # when a second dispatcher looks while the first one is sending
    DueNotifications(system, send, lambda: told.world.now)()
    # then it finds nothing of what the first one has
    assert len(handed) == 2
    assert [one for one in inside[0] if one.tenant_id == own] == []
    # and what was lost on the way is handed out again, but not at once
    again: list[NotificationReference] = []
    chore = DueNotifications(system, again.extend, lambda: told.world.now)
    chore()
    assert [one for one in again if one.tenant_id == own] == []
    told.world.now += timedelta(seconds=AGAIN_AFTER_SECONDS + 1)
    chore()
    assert sorted((one for one in again if one.tenant_id == own), key=str) == sorted(handed, key=str)


def test_a_message_that_comes_late_is_too_late(told: Told) -> None:
    # given a notification that is on its way, whose lease is over
    told.resolved()
    late = told.references()
    told.notifier(RecordingToolClient(_no_answer)).send(late)
    states = told.rows()
    # when an older message about it comes
    client = RecordingToolClient()
    told.notifier(client).send(late)
    # then it does nothing
    assert client.calls == []
    assert told.rows() == states


def _no_answer(_: PreparedCall) -> Any:
    raise NoAnswerError


def _no_connection(_: PreparedCall) -> Any:
    raise NoConnectionError


def test_what_does_not_arrive_is_tried_again_later_and_given_up_in_the_end(told: Told) -> None:
    # given receivers that are away
    reference = told.resolved()
    before = told.world.rows("SELECT * FROM exceptions WHERE {own}")
    sender = told.notifier(RecordingToolClient(_no_connection))
    waits: list[float] = []
    # when it is tried again and again
    for attempt in range(1, 10):
        sender.send(told.references())
        assert [row[1:3] for row in told.rows()] == [("intent", attempt)] * 2
        (due,), *_ = told.rows("due_at")
        waits.append((due - told.world.now).total_seconds())
        told.world.now = due
    sender.send(told.references())
    # then the waits grow, the tries end, and why is seen
    assert waits == sorted(waits)
    assert waits[0] == 1
    assert [row[:3] for row in told.rows("channel, state, attempts, error, due_at")] == [
        ("webhook", "failed", 10),
        ("email", "failed", 10),
    ]
    assert all("no connection" in one["error"] for one in shown(told, reference))
    # and the exception is as it was
    assert told.world.rows("SELECT * FROM exceptions WHERE {own}") == before


def test_a_mail_in_doubt_is_not_repeated_and_a_webhook_is(told: Told) -> None:
    told.resolved()
    told.notifier(RecordingToolClient(_no_answer)).send(told.references())
    assert [row[:2] for row in told.rows()] == [("webhook", "intent"), ("email", "unknown")]


def test_an_answer_that_comes_after_another_delivery_took_over_is_dropped(told: Told) -> None:
    told.resolved()

    def overtaken(_: PreparedCall) -> Any:
        with unit_of_work(told.application, [told.world.tenant.tenant_id]) as transaction:
            transaction.run("UPDATE notifications SET claim = claim + 1")
        raise NoAnswerError

    told.notifier(RecordingToolClient(overtaken)).send(told.references()[:1])
    assert told.rows()[0][1] == "sent"


def test_a_dead_letter_is_told_whichever_way_an_exception_got_there(told: Told) -> None:
    world = told.world

    def refuse(flight: Flight, _times: int) -> ToolResult:
        return ToolResult(flight.key, Answer.PERMANENT, error="no")

    # given one whose tool refused, one whose attempts are used up, and one whose stage failed
    world.script = refuse
    world.delivered(world.planned())
    used_up = world.accepted()
    world._deciding.give_up(Stage.INTAKE, [Failure(used_up, ToolUnavailableError("away"))])
    broken = world.accepted()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(world._deciding._decide, Stage.INTAKE, _fail)  # type: ignore[arg-type]
        world._deciding.run(Stage.INTAKE, Batch.single(broken))
    # then each of them is told of, with the position of its event
    wanted = world.rows("SELECT exception_id, position FROM events WHERE {own} AND type = 'DeadLettered'")
    assert len(wanted) == 3
    assert sorted(told.rows("exception_id, position")) == sorted(tuple(row) for row in wanted)
    # and again when the same failures are noted again: nothing
    world._deciding.give_up(Stage.INTAKE, [Failure(used_up, ToolUnavailableError("away"))])
    assert len(told.rows()) == 3


def _fail(*_: Any) -> Any:
    raise RuntimeError


def test_a_decision_that_is_rolled_back_tells_nobody(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    reference = told.world.accepted()

    @contextmanager
    def broken(engine: Engine, tenants: Any = ()) -> Iterator[Transaction]:
        with unit_of_work(engine, tenants) as transaction:
            yield transaction
            raise InfrastructureUnavailableError("away")

    monkeypatch.setattr("service.engine.runner.unit_of_work", broken)
    monkeypatch.setitem(told.world._deciding._decide, Stage.INTAKE, _fail)  # type: ignore[arg-type]
    with pytest.raises(InfrastructureUnavailableError):
        told.world._deciding.run(Stage.INTAKE, Batch.single(reference))
    assert told.rows() == []


def test_a_tenant_sees_and_sends_its_own_only(told: Told, system: Engine) -> None:
    # given another tenant
    reference = told.resolved()
    other = new_tenant(system).tenant_id
    forged = [NotificationReference(other, *row) for row in told.rows("exception_id, position, policy, claim")]
    # when it asks for what is not its own
    with unit_of_work(told.application, [other]) as transaction:
        taken = take(transaction, forged)
        count = transaction.rows("SELECT count(*) FROM notifications")[0][0]
        details = queries.get_exception(transaction, other, reference.exception_id)
    # then there is nothing
    assert (taken, count, details) == ([], 0, None)
    client = RecordingToolClient()
    told.notifier(client).send(forged)
    assert client.calls == []


def test_the_egress_guard_judges_notifications_too(told: Told) -> None:
    told.resolved()
    forbidden = '{"url": "http://169.254.169.254/x"}'
    with unit_of_work(told.application, [told.world.tenant.tenant_id]) as transaction:
        transaction.run("UPDATE notifications SET params = params || %(url)s::jsonb", {"url": forbidden})
    told.notifier().send(told.references()[:1])
    assert told.rows()[0][:3] == ("webhook", "failed", 1)
    assert told.hooked() == []


def test_events_that_nobody_is_told_of_write_no_row(told: Told) -> None:
    told.world.planned()
    assert told.rows() == []
