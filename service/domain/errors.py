"""What can be wrong with one exception once its data meets a pack. All of it is permanent: a repeat fails again."""

from __future__ import annotations

from collections.abc import Sequence

from service.errors import PermanentError

_MOST_FAULTS_TOLD = 10


class ConditionFailedError(PermanentError):
    """A pack's condition could not be evaluated for this exception."""

    def __init__(self, path: str, condition: str, reason: str) -> None:
        super().__init__(
            f"{path}: the condition {condition!r} cannot be evaluated for this exception: {reason}; "
            "correct the condition in the pack (or the data), then redrive"
        )
        self.names = (condition,)


class PayloadInvalidError(PermanentError):
    """The payload is not what the pack says of its entity, or an input's data is not what its type needs."""

    def __init__(self, faults: Sequence[str], *names: str) -> None:
        """`names`: what the faults quote of the pack, as `SentinaiError.names` says."""
        told = "; ".join(faults[:_MOST_FAULTS_TOLD])
        more = len(faults) - _MOST_FAULTS_TOLD
        super().__init__(told + (f"; and {more} more" if more > 0 else ""))
        self.names = names


class TemplateUnresolvedError(PermanentError):
    """A step's template names something that this exception does not have."""

    def __init__(self, step: str, expression: str, reason: str) -> None:
        super().__init__(
            f"{step}: {{{{ {expression} }}}} cannot be resolved: {reason}; "
            "correct the playbook or send an update with the missing field, then redrive"
        )


class ToolNotApprovedError(PermanentError):
    """The plan wants a tool that the guardrails do not let this tenant use."""

    def __init__(self, step: str, tool: str, reason: str) -> None:
        super().__init__(f"{step}: tool {tool!r} may not be called: {reason}; change the tenant pack, then redrive")
        self.names = (tool,)


class StepNotWaitingError(PermanentError):
    """A step was reported done that the plan is not waiting for."""

    def __init__(self, order: object, waiting: str | None) -> None:
        expected = "the plan waits for no step" if waiting is None else f"the plan waits for step {waiting}"
        super().__init__(f"step {order!r} cannot be completed: {expected}")


class NothingToApproveError(PermanentError):
    """An approval reached the policy stage before enough people had given theirs."""

    def __init__(self, given: int, needed: int) -> None:
        super().__init__(f"{given} of {needed} approvals were given; the last one needed lets the exception go on")
