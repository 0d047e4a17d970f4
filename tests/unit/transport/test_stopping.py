"""A worker that closes hears what its pool processes have begun, and waits no longer than there is hope."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from service.transport.stopping import HearStarts


class PoolWorld:
    """A pool of one process that was given one task, and the pipe by which it reports."""

    def __init__(self) -> None:
        self.report, self.process_end = os.pipe()
        self.alive = True
        self.job = SimpleNamespace(
            _accepted=False, _write_to=SimpleNamespace(_is_alive=lambda: self.alive), _writer=lambda: None
        )
        pool = SimpleNamespace(_cache={1: self.job}, _fileno_to_outq={self.report: object()})
        self.hub = SimpleNamespace(readers={self.report: (self.accept, ())})
        self.worker: Any = SimpleNamespace(hub=self.hub, pool=SimpleNamespace(_pool=pool))

    def accept(self) -> None:
        """What Celery does with the report."""
        os.read(self.report, 1)
        self.job._accepted = True

    def close(self, patience: float = 30.0) -> float:
        """Close the worker; return how long that took."""
        step: Any = HearStarts(self.worker)
        step.patience_seconds = patience
        began = time.monotonic()
        step.close(self.worker)
        return time.monotonic() - began


@pytest.fixture
def world() -> Iterator[PoolWorld]:
    world = PoolWorld()
    yield world
    os.close(world.report)
    os.close(world.process_end)


def test_a_start_that_is_on_its_way_is_heard(world: PoolWorld) -> None:
    os.write(world.process_end, b"!")
    world.close()
    assert world.job._accepted


def test_a_start_whose_report_is_half_read_is_heard(world: PoolWorld) -> None:
    # given an event loop that ended amid a report: the rest of it is read by a generator
    def rest() -> Iterator[None]:
        yield
        world.accept()

    half_read = rest()
    next(half_read)
    world.hub.readers[world.report] = (half_read, ())
    os.write(world.process_end, b"!")
    world.close()
    assert world.job._accepted


def test_a_task_that_no_process_has_yet_is_not_waited_for(world: PoolWorld) -> None:
    world.job._write_to = None
    assert world.close() < 10


def test_a_process_that_ended_is_not_waited_for(world: PoolWorld) -> None:
    world.alive = False
    assert world.close() < 10


def test_a_process_that_stands_still_is_waited_for_in_vain_and_not_long(world: PoolWorld) -> None:
    assert 0.2 <= world.close(patience=0.2) < 10
    assert not world.job._accepted


@pytest.mark.parametrize("broken", [OSError, EOFError])
def test_a_report_that_breaks_off_does_not_keep_the_worker_from_its_end(
    world: PoolWorld, broken: type[Exception]
) -> None:
    def breaks_off() -> None:
        world.alive = False
        raise broken

    world.hub.readers[world.report] = (breaks_off, ())
    os.write(world.process_end, b"!")
    world.close()


def test_a_report_that_nobody_reads_any_more_does_not_either(world: PoolWorld) -> None:
    world.hub.readers.clear()
    os.write(world.process_end, b"!")
    world.close(patience=0.2)


@pytest.mark.parametrize("pool", [SimpleNamespace(), SimpleNamespace(_pool=SimpleNamespace())])
def test_pools_without_reports_have_nothing_to_wait_for(world: PoolWorld, pool: SimpleNamespace) -> None:
    world.worker.pool = pool
    assert world.close() < 10
