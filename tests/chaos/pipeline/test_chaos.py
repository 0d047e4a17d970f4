"""Six rounds of a fixed seed: faults of different parts, under load, and every invariant holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.pipeline.campaign import Campaign
from tests.chaos.pipeline.plan import Scale, exact_round
from tests.chaos.pipeline.profiles import PROFILES
from tests.chaos.pipeline.report import table

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(900)]

SEED = 6
ROUNDS = ("kill-worker", "freeze-worker", "kill-dispatcher", "term-worker", "kill-relay", "kill-api")
SCALE = Scale(exceptions=200, seconds=8.0)


def test_six_rounds_of_faults_break_no_invariant(tmp_path: Path) -> None:
    # given faults of different parts, one a round
    plans = [exact_round(SEED, number, [name], SCALE) for number, name in enumerate(ROUNDS, start=1)]
    # when they strike while exceptions come in
    lines = list(Campaign(PROFILES["cluster"], SCALE, tmp_path, print).run(plans))
    print(table(lines))
    # then nothing is lost, worked twice or out of order, and everything comes to rest
    assert {line.faults: (line.red, line.evidence) for line in lines if line.red} == {}
    # and the rounds were about something
    assert sum(line.accepted for line in lines) == SCALE.exceptions * len(ROUNDS)
