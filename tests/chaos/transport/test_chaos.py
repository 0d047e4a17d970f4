"""The small chaos run: 10,000 messages, eight consumers, a fixed seed, on the run's own broker, which is spared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chaos.transport.__main__ import run
from tests.chaos.transport.plan import Scale, faults
from tests.chaos.transport.report import render
from tests.chaos.transport.verdict import COMMIT_PATIENCE

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(400)]

SCALE = Scale(seed=4, messages=10_000, consumers=8, seconds=50.0, gap=5.0)


def test_nothing_is_lost_and_every_key_keeps_its_order_whatever_happens_to_consumers(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # given a broker, and a plan that meets most kinds of faults
    if "KAFKA_BOOTSTRAP_SERVERS" not in os.environ:
        request.getfixturevalue("stack")
    assert len({fault.kind for fault in faults(SCALE)}) >= 4
    # when messages flow through processes that die, leave and stand still
    verdict = run(SCALE, os.environ["KAFKA_BOOTSTRAP_SERVERS"], tmp_path / "evidence", None, COMMIT_PATIENCE)
    # then every promise was kept
    print(render(verdict))
    assert verdict.violations == (), f"{render(verdict)}\nthe evidence is in {tmp_path}"
