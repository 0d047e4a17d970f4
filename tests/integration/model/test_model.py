"""The pipeline against its model: a source, people, tools, a broker and time in any order, on the real database.

An example that breaks a law is told as it was found. `make model MODEL_ARGS="--fixed"` makes it as short as it can.
"""

from __future__ import annotations

import time

import pytest

from service.settings import Settings
from tests.integration.model.running import STEPS, experiment, laboratory

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]

EXAMPLES = 30
AT_LEAST = 2_000
"""Steps that the run has to come to."""


def test_whatever_happens_in_whatever_order_the_laws_hold(migrated: Settings) -> None:
    # given the product on a database of its own
    with laboratory(migrated) as product:
        began = time.monotonic()
        # when sources, people, workers, tools, the broker and time do what they may, in any order
        experiment(product, EXAMPLES, STEPS, shrinks=False)
        # then no law was broken after any step
        print(product.told(time.monotonic() - began))
    assert product.steps >= AT_LEAST
