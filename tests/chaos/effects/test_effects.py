"""The effect ledger under fire: fourteen faults of a fixed seed, each moment of a call's life twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.effects.__main__ import render, run
from tests.chaos.effects.plan import rounds
from tests.chaos.effects.witness import Moment

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(420)]

SEED = 11
ROUNDS = 14


def test_each_effect_happens_at_most_once_wherever_the_worker_dies(tmp_path: Path) -> None:
    # given faults at every moment of a call's life
    assert {one.moment for one in rounds(SEED, ROUNDS)} == set(Moment)
    # when workers are killed there, and a person settles what is in doubt afterwards
    verdict = run(SEED, ROUNDS, tmp_path, print)
    print(render(verdict))
    # then no effect happened twice, nothing is lost, and what the ledger says is what the tool saw
    assert verdict.broken == {}
    # and the run met what it is for: calls whose outcome nobody knew
    assert verdict.in_doubt >= 1
