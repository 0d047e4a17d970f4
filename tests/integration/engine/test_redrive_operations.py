"""Operations on a real database, worked by one executor or by several, with a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from service.dispatch.redrives import Redrives
from service.domain.operations import Action, Counts, OperationState
from service.domain.redriving import DeadLetterState, Wish
from service.engine import operations as engine
from service.engine.batch import Reference
from service.persistence.dead_letters import DeadLetterFilter
from service.persistence.operations import NewOperation, Operation, Operations
from service.persistence.unit_of_work import Transaction, unit_of_work
from service.wiring import new_id
from tests.integration.engine.conftest import MakeWorld
from tests.integration.engine.dead_letters import Tools, discarded, letter_of, sent_again, worked
from tests.integration.engine.plans import ONCE, World, call

pytestmark = pytest.mark.stack


@dataclass
class Desk:
    """Dead letters of one tenant, operations on them, and an executor."""

    world: World
    tools: Tools
    dead: list[Reference] = field(default_factory=list)

    @property
    def tenant(self) -> str:
        return self.world.tenant.tenant_id

    def add(self, number: int) -> None:
        """More exceptions whose call is refused."""
        for _ in range(number):
            reference = self.world.planned()
            self.world.delivered(reference)
            self.world.now += timedelta(seconds=1)
            self.dead.append(reference)

    def begin(self, action: Action = Action.REDRIVE, **more: Any) -> UUID:
        """Somebody begins an operation on all that is pending."""
        given = {"canary": 0, "canary_timeout_seconds": 60, "rate_per_second": None, "wish": Wish(), "limit": 1000}
        new = NewOperation(
            operation_id=new_id(),
            action=action,
            filter={"all": True},
            chooses=DeadLetterFilter(states=(DeadLetterState.PENDING,)),
            by="ann",
            reason="the account exists now",
            key=None,
            hash=b"",
            **{**given, **more},
        )
        self.with_operations(lambda operations: operations.create(new))
        return new.operation_id

    def with_operations(self, do: Callable[[Operations], Any]) -> Any:
        with unit_of_work(self.world.application, [self.tenant]) as transaction:
            return do(Operations(transaction, self.tenant, self.world.now))

    def look(self, operation_id: UUID, after: float = 1.0) -> int:
        """An executor looks, so many seconds later; how many it dealt with."""
        self.world.now += timedelta(seconds=after)
        engine.settle(self.world.application, self.tenant, self.clock)
        return engine.work(self.world.application, self.tenant, operation_id, self.clock)

    def clock(self, _transaction: Transaction) -> datetime:
        return self.world.now

    def work(self) -> None:
        """Workers work everything that left the outbox."""
        for reference in self.dead:
            worked(self.world, reference)

    def operation(self, operation_id: UUID) -> Operation:
        found = self.with_operations(lambda operations: operations.get(operation_id))
        assert isinstance(found, Operation)
        return found

    def counts(self, operation_id: UUID) -> Counts:
        measured = self.with_operations(lambda operations: operations.measured([operation_id]))
        counts = measured[operation_id].counts
        assert isinstance(counts, Counts)
        return counts

    def statuses(self) -> list[str]:
        return [self.world.status(reference) for reference in self.dead]

    def decide(self, what: Any, operation_id: UUID) -> None:
        """A person stops or resumes."""

        def act(operations: Operations) -> None:
            found = operations.locked(operation_id)
            assert found is not None
            what(operations, found, "bob", "looks odd", self.world.now)

        self.with_operations(act)


@pytest.fixture
def desk(world_alone: MakeWorld) -> Desk:
    tools = Tools({"1"})
    return Desk(world_alone([call(1, ONCE, "book")], script=tools), tools)


def test_the_rest_waits_for_the_canary_and_follows_it(desk: Desk) -> None:
    # given six dead letters, of which two are to be tried first, and a tool that works again
    desk.add(6)
    desk.tools.refusing.clear()
    operation_id = desk.begin(canary=2)
    # when an executor looks, then only the two oldest are sent
    assert desk.look(operation_id) == 2
    assert desk.look(operation_id) == 0
    assert desk.statuses() == ["IN_PROGRESS"] * 2 + ["DEAD_LETTERED"] * 4
    # when they have succeeded, then the rest follows
    desk.work()
    assert desk.look(operation_id) == 4
    assert desk.operation(operation_id).state is OperationState.RUNNING
    desk.work()
    desk.look(operation_id)
    finished = desk.operation(operation_id)
    assert finished.state is OperationState.FINISHED
    assert finished.finished_at is not None
    assert not finished.watched
    assert desk.counts(operation_id) == Counts(succeeded=6)
    assert set(desk.statuses()) == {"RESOLVED"}
    assert [entry["action"] for entry in finished.history] == ["started", "running", "finished"]


def test_a_canary_that_fails_again_keeps_the_rest(desk: Desk) -> None:
    # given a tool that still refuses
    desk.add(4)
    operation_id = desk.begin(canary=2)
    desk.look(operation_id)
    desk.work()
    # then nothing more is sent, and it says why
    assert desk.look(operation_id) == 0
    failed = desk.operation(operation_id)
    assert failed.state is OperationState.CANARY_FAILED
    assert failed.state_reason == "2 of the first 2 failed again"
    assert desk.counts(operation_id) == Counts(pending=2, failed=2)
    (example, _) = desk.with_operations(lambda operations: operations.examples(operation_id, "failed", 10))
    assert "NO_SUCH_ACCOUNT" in example.outcome
    # when a person resumes all the same, then the rest is sent
    desk.tools.refusing.clear()
    desk.decide(engine.resume, operation_id)
    assert desk.look(operation_id) == 2
    desk.work()
    desk.look(operation_id)
    assert desk.operation(operation_id).state is OperationState.FINISHED
    assert desk.counts(operation_id) == Counts(succeeded=2, failed=2)


def test_a_canary_that_takes_too_long_keeps_the_rest(desk: Desk) -> None:
    desk.add(3)
    operation_id = desk.begin(canary=1, canary_timeout_seconds=60)
    desk.look(operation_id)
    desk.look(operation_id, after=59)
    assert desk.operation(operation_id).state is OperationState.CANARY
    desk.look(operation_id, after=2)
    assert desk.operation(operation_id).state is OperationState.CANARY_FAILED
    assert desk.statuses().count("DEAD_LETTERED") == 2


def test_a_rate_is_kept(desk: Desk) -> None:
    desk.add(8)
    operation_id = desk.begin(rate_per_second=2.0)
    sent = [desk.look(operation_id, after=after) for after in (0.5, 0.5, 0.5, 0.5, 100.0)]
    # then half a second is worth one, and a long absence no more than the burst
    assert sent == [1, 1, 1, 1, 4]


def test_several_executors_keep_one_rate_and_send_each_once(desk: Desk) -> None:
    # given four executors that look at the same time, again and again
    desk.add(20)
    operation_id = desk.begin(rate_per_second=4.0)

    def executor(_number: int) -> int:
        return engine.work(desk.world.application, desk.tenant, operation_id, desk.clock)

    with ThreadPoolExecutor(4) as executors:
        sent = []
        for _ in range(4):
            desk.world.now += timedelta(seconds=1)
            sent.append(sum(executors.map(executor, range(4))))
    # then together they send as many as one may
    assert sent == [4, 4, 4, 4]
    assert desk.counts(operation_id).sent == 16
    assert len(desk.world.events("Redriven")) == 16


def test_what_is_stopped_waits_until_it_is_resumed(desk: Desk) -> None:
    desk.add(5)
    desk.tools.refusing.clear()
    operation_id = desk.begin(rate_per_second=2.0)
    desk.look(operation_id)
    # when a person stops it
    desk.decide(engine.stop, operation_id)
    assert desk.look(operation_id) == 0
    # then what was sent is worked and counted, and after that nobody looks at it any more
    desk.work()
    desk.look(operation_id)
    stopped = desk.operation(operation_id)
    assert (stopped.state, stopped.watched) == (OperationState.STOPPED, False)
    assert stopped.state_reason == "stopped by bob: looks odd"
    assert desk.counts(operation_id) == Counts(pending=3, succeeded=2)
    # when it is resumed, then it goes on at its rate and makes up for nothing
    desk.world.now += timedelta(hours=1)
    desk.decide(engine.resume, operation_id)
    assert desk.look(operation_id, after=0.5) == 1


def test_of_two_operations_on_the_same_dead_letters_each_is_sent_by_one(desk: Desk) -> None:
    desk.add(4)
    first, second = desk.begin(), desk.begin()
    assert desk.look(first) == 4
    assert desk.look(second) == 4
    assert desk.counts(first) == Counts(sent=4)
    assert desk.counts(second) == Counts(skipped=4)
    assert len(desk.world.events("Redriven")) == 4
    (outcome,) = desk.with_operations(lambda operations: operations.outcomes(second, 10))
    assert (outcome.outcome, outcome.number) == ("it is being worked again", 4)


def test_somebody_else_who_redrives_meanwhile_is_no_success_of_ours(desk: Desk) -> None:
    # given an operation whose dead letter failed again before anybody looked, and was sent again by a person
    desk.add(1)
    (reference,) = desk.dead
    operation_id = desk.begin()
    engine.work(desk.world.application, desk.tenant, operation_id, desk.clock)
    desk.work()
    desk.tools.refusing.clear()
    assert sent_again(desk.world, reference).done
    desk.work()
    desk.look(operation_id)
    # then its own try has failed
    assert letter_of(desk.world, reference).state == "succeeded"
    assert desk.counts(operation_id) == Counts(failed=1)


def test_discarding_many_leaves_out_what_was_decided_meanwhile(desk: Desk) -> None:
    desk.add(3)
    operation_id = desk.begin(Action.DISCARD)
    discarded(desk.world, desk.dead[0])
    assert desk.look(operation_id) == 3
    desk.look(operation_id)
    assert desk.operation(operation_id).state is OperationState.FINISHED
    assert desk.counts(operation_id) == Counts(succeeded=2, skipped=1)
    assert desk.statuses() == ["DISCARDED"] * 3


def test_what_fails_later_is_no_part_of_an_operation(desk: Desk) -> None:
    desk.add(1)
    operation_id = desk.begin()
    desk.add(1)
    assert desk.look(operation_id) == 1
    assert desk.statuses() == ["IN_PROGRESS", "DEAD_LETTERED"]


def test_a_step_that_dies_before_its_commit_has_not_happened(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    # given an executor that dies after it has sent, before it commits
    desk.add(3)
    operation_id = desk.begin()
    with monkeypatch.context() as patch:
        patch.setattr(Operations, "note", _die)
        with pytest.raises(KeyboardInterrupt):
            desk.look(operation_id)
    assert desk.counts(operation_id) == Counts(pending=3)
    assert set(desk.statuses()) == {"DEAD_LETTERED"}
    # when another looks, then each is sent once
    assert desk.look(operation_id) == 3
    assert len(desk.world.events("Redriven")) == 3


def test_the_dispatchers_chore_finds_what_there_is_to_do(desk: Desk) -> None:
    # given an operation of this tenant and a redrive that has come to its end
    desk.add(2)
    desk.tools.refusing.clear()
    operation_id = desk.begin()
    redrives = Redrives(desk.world.system, desk.world.application)
    redrives.once()
    assert desk.counts(operation_id).sent == 2
    desk.work()
    # when a dispatcher looks again, then both are settled
    redrives.once()
    assert desk.operation(operation_id).state is OperationState.FINISHED
    assert {letter_of(desk.world, reference).state for reference in desk.dead} == {"succeeded"}


def _die(*_: object) -> None:
    raise KeyboardInterrupt
