"""The five stages as pure functions of an exception, its packs and the time.

Four decide in one go (`DECIDE`); the tool stage takes turns with the outside world (`advance`, `after_call`
and what follows failures).
"""

from collections.abc import Callable, Mapping
from datetime import datetime

from service.domain.exceptions import ExceptionRecord, Outcome, Stage
from service.domain.packs.deciding.compiled import PackSet
from service.domain.stages import intake, playbook, policy, triage
from service.domain.stages.tool import Advance, CallResult, advance, after_call, after_failure, after_unknown

DECIDE: Mapping[Stage, Callable[[ExceptionRecord, PackSet, datetime], Outcome]] = {
    Stage.INTAKE: intake.decide,
    Stage.TRIAGE: triage.decide,
    Stage.POLICY: policy.decide,
    Stage.PLAYBOOK: playbook.decide,
}
"""What each stage but the tool stage decides."""

__all__ = ["DECIDE", "Advance", "CallResult", "advance", "after_call", "after_failure", "after_unknown"]
