"""The load generator: senders of batches, and running them beside the measurement."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event

from service.bench.bodies import Bodies
from service.bench.client import TenantConnection
from service.bench.flow import Gate
from service.bench.tally import Tally

REFUSED_PAUSE_SECONDS = 0.25
"""After a request that was not accepted, so that an outage is not answered with a storm."""


@dataclass(frozen=True, slots=True)
class Sender:
    """Posts batches to one tenant after the other, each as soon as the gate lets it pass."""

    connections: Sequence[TenantConnection]
    """One a tenant; this sender's own."""
    bodies: Bodies
    items: int
    gate: Gate
    tally: Tally
    stopping: Event

    def run(self) -> None:
        """Post until `stopping` is set."""
        for connection in itertools.cycle(self.connections):
            if not self.gate.admit(self.items, self.stopping):
                break
            answer = connection.send("POST", "/exceptions/batch", self.bodies.many(self.items))
            self.gate.answered(self.items)
            self.tally.add(answer, self.items, connection.tenant_id)
            if answer.status != 202:
                self.stopping.wait(REFUSED_PAUSE_SECONDS)
        for connection in self.connections:
            connection.close()


@contextmanager
def beside(stopping: Event, jobs: Sequence[Callable[[], object]]) -> Iterator[None]:
    """Run jobs in threads while the block runs, then end them by `stopping`. A job that fails ends all, and raises."""

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except BaseException:
            stopping.set()
            raise

    with ThreadPoolExecutor(max_workers=max(1, len(jobs))) as pool:
        futures = [pool.submit(run, job) for job in jobs]
        try:
            yield
        finally:
            stopping.set()
    for future in futures:
        future.result()
