"""`python -m tests.integration.model`: the pipeline against its model, for as long as you like.

Hypothesis chooses what sources, people, workers, tools, the broker and time do; after every step the database is
compared with the model. The same seed gives the same examples. What breaks a law is made as short as it still does,
and printed step by step.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import click
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine, NullPool, create_engine

from service.persistence.database import Role, open_engine, sqlalchemy_url
from service.persistence.sealing import Sealing
from service.settings import Settings, load_settings
from tests.integration.database_apart import database_apart
from tests.integration.model.kinds import adjust_domain, adjust_tenant
from tests.integration.model.machine import TENANTS, Model
from tests.integration.model.parts import Parts
from tests.stack_fixture import services
from tests.tenants import TestTenant, new_tenant

STEPS = 60
"""The most of one example."""

EXAMPLES_OF_A_TENANT = 25
"""So many examples share their tenants: to compile packs for each would cost more than the example itself."""


@dataclass
class Laboratory:
    """The product on a database of its own."""

    parts: Parts
    owner: Engine
    counted: Counter[str] = field(default_factory=Counter)
    """Steps by what they were."""
    ends: Counter[str] = field(default_factory=Counter)
    """Exceptions by their kind and where they came to rest."""
    examples: int = 0
    tenants: list[TestTenant] = field(default_factory=list)
    _last: Model | None = None

    @property
    def steps(self) -> int:
        """How many there were."""
        return sum(self.counted.values())

    def told(self, seconds: float) -> str:
        """For people."""
        kinds = ", ".join(f"{what} {count}" for what, count in self.counted.most_common())
        ends = ", ".join(f"{end} {count}" for end, count in sorted(self.ends.items()))
        return f"{self.steps} steps in {self.examples} examples, {seconds:.0f} s\n  steps: {kinds}\n  ends: {ends}"

    def model(self) -> Model:
        """A new example."""
        if self.examples % EXAMPLES_OF_A_TENANT == 0:
            self.tenants = [self._tenant(number) for number in range(TENANTS)]
        self.examples += 1
        if self._last is not None and not self._last.clean:
            self.parts.forget(self.owner)
        self._last = Model(self.parts, self.tenants, self.counted, self.ends, datetime.now(UTC) + timedelta(hours=1))
        return self._last

    def _tenant(self, number: int) -> TestTenant:
        # Named in their order: who comes first among tenants must not differ between two runs of one example.
        name = f"model-{self.examples:06}-{number}"
        return new_tenant(self.parts.system, adjust=adjust_domain, adjust_tenant=adjust_tenant, tenant_id=name)


@contextmanager
def laboratory(given: Settings) -> Iterator[Laboratory]:
    """On the server of these settings, in a database of its own that is removed afterwards."""
    with database_apart(given) as apart, pytest.MonkeyPatch.context() as patch:
        unsealed = apart.model_copy(update={"payload_keys": {}})
        system = open_engine(apart.database_url, Role.SYSTEM, pool_size=2)
        application = open_engine(apart.database_url, Role.APPLICATION, pool_size=2, sealing=Sealing())
        owner = create_engine(sqlalchemy_url(apart.owner_url), poolclass=NullPool)
        parts = Parts(unsealed, system, application, patch)
        try:
            yield Laboratory(parts, owner)
        finally:
            for engine in (system, application, owner):
                engine.dispose()


def experiment(
    laboratory: Laboratory, examples: int, steps: int, number: int | None = None, shrinks: bool = True
) -> None:
    """Run so many examples of so many steps, always the same ones, or those of a seed.

    Raises what the first example that breaks a law raises; `shrinks`: made as short as it still breaks it.
    """
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=number is None,
        database=None,
        phases=(Phase.generate, Phase.shrink) if shrinks else (Phase.generate,),
        deadline=None,
        print_blob=False,
        # A step is several transactions, so generating an example takes longer than Hypothesis thinks good.
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    make = laboratory.model if number is None else seed(number)(lambda: laboratory.model())
    run_state_machine_as_test(make, settings=chosen)


@contextmanager
def given_services() -> Iterator[Settings]:
    """Of the environment, else a stack of this run's own."""
    if "DATABASE_URL" in os.environ:
        yield load_settings(os.environ)
        return
    with services(f"test-{os.getpid()}") as instance:
        yield load_settings(instance.environment())


@click.command(help=__doc__)
@click.option("--seed", "number", type=int, help="Chosen and told when it is not given.")
@click.option("--examples", default=500, show_default=True, help="Each begins with an empty world.")
@click.option("--steps", default=STEPS, show_default=True, help="The most of one example.")
@click.option("--fixed", is_flag=True, help="The examples of the test instead of a seed's.")
@click.option("--shrink/--no-shrink", default=True, show_default=True, help="Shorten an example that breaks a law.")
def main(number: int | None, examples: int, steps: int, fixed: bool, shrink: bool) -> None:
    """Run on the services that the environment names, else on services of its own."""
    chosen = None if fixed else random.SystemRandom().randrange(1_000_000) if number is None else number
    told = "the test's examples" if chosen is None else f"seed {chosen}"
    click.echo(f"{told}, {examples} examples of up to {steps} steps", err=True)
    with given_services() as found, laboratory(found) as product:
        began = time.monotonic()
        try:
            experiment(product, examples, steps, chosen, shrink)
        finally:
            click.echo(product.told(time.monotonic() - began))
