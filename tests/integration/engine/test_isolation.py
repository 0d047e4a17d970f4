"""Isolation on a real database: what was begun and not ended is recognised, divided, convicted when it is alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest

from service.domain.exceptions import Stage
from service.engine.batch import Batch
from service.engine.isolation import SILENT, Death
from service.engine.pipeline import Pipeline
from service.engine.suspicion import OWN_ENDS, Ending, Suspicion
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings
from service.wiring import build_pipeline
from tasks.isolating import begun
from tests.client import wait_for
from tests.integration.engine.plans import AGAIN, ONCE, World, call
from tests.integration.verdicts import broken_promises

pytestmark = pytest.mark.stack

MakeWorld = Callable[..., World]

SEGFAULT = Death("signal 11 (SIGSEGV)", True, "w1, process 7")
STEPS = [call(1, AGAIN, "first")]
VARIABLES = {"pack_variables": {"toolServerUrl": "https://tools.example"}}


@pytest.fixture
def pipeline(migrated: Settings) -> Iterator[Pipeline]:
    built = build_pipeline(migrated.model_copy(update=VARIABLES))
    yield built
    built.close()


@pytest.fixture
def elsewhere(migrated: Settings) -> Iterator[Pipeline]:
    """The pipeline of another worker process."""
    built = build_pipeline(migrated.model_copy(update=VARIABLES))
    yield built
    built.close()


def request(message_id: str, retries: int = 0, **delivery_info: Any) -> Any:
    """A task's request, as far as isolation looks at it."""
    return SimpleNamespace(id=message_id, retries=retries, hostname="w1@host", delivery_info=delivery_info)


def accepted(one: World, count: int) -> Batch:
    """A batch as a dispatcher sends it."""
    return Batch(tuple(one.accepted() for _ in range(count)), 252, str(uuid4()))


def test_a_delivery_that_nobody_ended_is_recognised_when_another_process_gets_it(
    world: MakeWorld, pipeline: Pipeline, elsewhere: Pipeline
) -> None:
    batch = accepted(world(STEPS), 3)
    message_id = str(uuid4())
    # given a delivery that began and was never heard of again
    assert begun(elsewhere, Stage.INTAKE, batch, request(message_id)) is None
    # when it comes again, then it is known to have ended without a word
    death = begun(pipeline, Stage.INTAKE, batch, request(message_id))
    assert death is not None
    assert (death.how, death.own, death.times) == (SILENT, False, 1)
    # and while its process lives, its calls are not anybody's to judge
    assert death.began_at is None
    # and what the main process saw of its end counts more
    ended = {"ended": {"how": "exitcode 3", "own": True, "process": 99}}
    seen = begun(pipeline, Stage.INTAKE, batch, request(message_id, **ended))
    assert seen is not None
    assert (seen.how, seen.own) == ("exitcode 3", True)


def test_a_process_whose_sessions_are_gone_is_dead_beyond_doubt(
    world: MakeWorld, pipeline: Pipeline, elsewhere: Pipeline
) -> None:
    batch = accepted(world(STEPS), 1)
    message_id = str(uuid4())
    # given a delivery that began in a process that is gone, so that the system closed its connections
    begun(elsewhere, Stage.INTAKE, batch, request(message_id))
    elsewhere.close()
    # when it comes again, then it is known since when that process's calls are nobody's any more
    wait_for(lambda: ended_at(pipeline, batch, message_id) is not None, 10)


def ended_at(pipeline: Pipeline, batch: Batch, message_id: str) -> datetime | None:
    death = begun(pipeline, Stage.INTAKE, batch, request(message_id))
    assert death is not None and (death.how, death.own) == (SILENT, False)
    return death.began_at


def test_what_ended_as_it_should_is_no_suspect(world: MakeWorld, pipeline: Pipeline, elsewhere: Pipeline) -> None:
    batch = accepted(world(STEPS), 1)
    message_id = str(uuid4())
    # given a delivery that was to be retried, and one whose thread works something else by now
    begun(elsewhere, Stage.INTAKE, batch, request(message_id))
    elsewhere.isolation.journal.end()
    assert begun(pipeline, Stage.INTAKE, batch, request(message_id)) is None
    another, newest = str(uuid4()), str(uuid4())
    begun(elsewhere, Stage.INTAKE, batch, request(another))
    begun(elsewhere, Stage.INTAKE, batch, request(newest))
    # then neither is suspected, nor the retry of a delivery
    assert begun(pipeline, Stage.INTAKE, batch, request(another)) is None
    assert begun(pipeline, Stage.INTAKE, batch, request(newest, retries=1)) is None


def test_only_what_is_still_due_is_divided_and_the_rest_is_worked(world: MakeWorld, pipeline: Pipeline) -> None:
    one = world(STEPS)
    batch = accepted(one, 40)
    # given a batch of which some exceptions had moved on before its process died
    moved = Batch(batch.references[:15])
    assert len(pipeline.run(Stage.INTAKE, moved).survivors) == 15
    # when it is divided
    divided = pipeline.isolation.divide(Stage.INTAKE, batch, SEGFAULT)
    # then the parts hold what is due, each once, and what moved on goes on
    parts = [part.batch for part in divided.parts]
    assert [r for part in parts for r in part.references] == list(batch.references[15:])
    assert {len(part.references) for part in parts} == {5}
    assert all(part.lane is None and part.suspicion is not None for part in parts)
    assert len({part.suspicion.part for part in parts if part.suspicion}) == len(parts)
    assert divided.rest.references == batch.references[:15]
    # and a part that ends its process again comes singly
    again = pipeline.isolation.divide(Stage.INTAKE, parts[0], SEGFAULT)
    assert [len(part.batch.references) for part in again.parts] == [1] * 5
    assert broken(one) == {}


def test_an_exception_that_ends_its_process_alone_is_tried_again_and_then_dead_lettered(
    world: MakeWorld, pipeline: Pipeline
) -> None:
    one = world(STEPS)
    reference = one.accepted()
    together = Ending("signal 11 (SIGSEGV)", True, "w0, process 1", "2026-01-01T00:00:00+00:00", 500)
    batch = Batch.single(reference, Suspicion("batch-1", 4, (together,)))
    # when its process ends time after time
    waits = []
    for _ in range(OWN_ENDS - 1):
        (part,) = pipeline.isolation.divide(Stage.INTAKE, batch, SEGFAULT).parts
        batch, wait = part.batch, part.delay_seconds
        waits.append(wait)
    assert pipeline.isolation.divide(Stage.INTAKE, batch, SEGFAULT).parts == ()
    # then it waited in between, longer each time, and its timeline says why
    assert 0 < waits[0] <= 1 <= waits[1] <= 2
    told = one.rows("SELECT data FROM events WHERE {own} AND type = 'RetryScheduled' ORDER BY position")
    assert [(row[0]["errorKind"], row[0]["attempt"], row[0]["of"]) for row in told] == [
        ("poison", 1, 3),
        ("poison", 2, 3),
    ]
    assert "signal 11 (SIGSEGV)" in told[0][0]["error"]
    # and the dead letter has every end as evidence, the shared one too
    (letter,) = one.rows("SELECT error_class, error_kind, attempts, evidence FROM dead_letters WHERE {own}")
    assert letter[:3] == ("WorkerCrashed", "poison", OWN_ENDS)
    assert [end["exceptions"] for end in letter[3]["ends"]] == [500, 1, 1, 1]
    assert letter[3]["batch"] == "batch-1"
    # and a redelivery of what is given up does nothing
    assert pipeline.isolation.divide(Stage.INTAKE, batch, SEGFAULT).rest.references == (reference,)
    assert pipeline.run(Stage.INTAKE, batch).survivors == ()
    assert broken(one) == {}


def test_an_exception_that_cannot_even_be_read_is_given_up_unread(
    world: MakeWorld, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = world(STEPS)
    reference = one.accepted()

    def read(*_: Any) -> None:
        raise AssertionError("the process dies here")

    # given one whose process died over reading it when it was to be given up
    alone = Ending("signal 11 (SIGSEGV)", True, "w0, process 1", "2026-01-01T00:00:00+00:00")
    monkeypatch.setattr(pipeline.isolation, "_give_up", read)
    batch = Batch.single(reference, Suspicion("b", 0, (alone, alone)))
    pipeline.isolation.divide(Stage.INTAKE, batch, Death("signal 11 (SIGSEGV)", True, "w1", times=2))
    ((status,),) = one.rows("SELECT status FROM exceptions WHERE {own}")
    assert status == "DEAD_LETTERED"


@pytest.mark.parametrize(("tool", "expected"), [(AGAIN, "sent"), (ONCE, "PENDING_STEP")])
def test_calls_of_a_process_that_is_dead_beyond_doubt_are_judged_at_once(
    world: MakeWorld, pipeline: Pipeline, tool: str, expected: str
) -> None:
    # given a process that died over a call
    one = world([call(1, tool, "first")])
    reference = one.planned()
    batch = Batch.single(reference)
    began = datetime.now(UTC) - timedelta(seconds=1)
    assert len(one.turns.start(batch).flights) == 1
    # when nothing is known of its end, then the lease of its call is respected
    pipeline.isolation.divide(Stage.TOOL, batch, Death(SILENT, False, "w1"))
    assert one.turns.start(batch).flights == ()
    # and so is that of a call which is not its own
    pipeline.isolation.divide(Stage.TOOL, batch, Death("exitcode 3", True, "w1", began_at=began + timedelta(hours=1)))
    assert one.turns.start(batch).flights == ()
    # when it is known to be dead, then an idempotent call goes out again, and a person decides about another
    pipeline.isolation.divide(Stage.TOOL, batch, Death("exitcode 3", True, "w1", began_at=began))
    flights = one.turns.start(batch).flights
    if expected == "sent":
        assert [flight.attempt for flight in flights] == [2]
    else:
        assert flights == ()
        ((status,),) = one.rows("SELECT status FROM exceptions WHERE {own}")
        assert status == expected


def test_the_reconciler_leaves_parts_alone_that_are_on_their_way(world: MakeWorld, pipeline: Pipeline) -> None:
    one = world(STEPS)
    batch = accepted(one, 2)
    pipeline.isolation.divide(Stage.INTAKE, batch, SEGFAULT)
    ((until,),) = set(one.rows("SELECT retry_at FROM exceptions WHERE {own}"))
    assert until > datetime.now(UTC) + timedelta(seconds=20)


def broken(one: World) -> dict[str, Any]:
    with unit_of_work(one.system) as transaction:
        return broken_promises(transaction, one.tenant.tenant_id)
