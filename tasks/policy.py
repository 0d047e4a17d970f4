"""The policy task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.domain.exceptions import Stage
from tasks.application import app
from tasks.policies import retry_policy
from tasks.stage import StageTask


@app.task(bind=True, base=StageTask, shared=False, name="tasks.policy", queue="policy", **retry_policy(Stage.POLICY))
def policy(self: StageTask, batch: Mapping[str, Any]) -> None:
    """Ask the guardrails about a batch of exceptions and hand the survivors on."""
    self.run_stage(Stage.POLICY, batch)
