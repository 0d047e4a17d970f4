"""Retry policies as packs write them: `retryPolicies` of a pack by stage, `retry` of a tool.

Every key left out keeps what stands before it: the table of `service.domain.retries`, then the domain pack, then the
tenant pack, then the tool.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from service.domain.exceptions import Stage
from service.domain.packs.parts import Part
from service.domain.retries import TABLE, Overrides, RetryPolicies, overridden
from service.errors import ErrorKind

_LONGEST_SECONDS = 86_400.0
_NEVER_RETRIED = ("permanent", "poison")


class RetryRule(Part):
    """How a failure that may pass is tried again."""

    maxRetries: int | None = Field(default=None, ge=0, le=100)
    """How often after the first attempt."""
    backoffSeconds: float | None = Field(default=None, ge=0, le=_LONGEST_SECONDS, allow_inf_nan=False)
    """The most that the first retry waits; each further one waits at most twice as long. All of it is jittered."""
    maxBackoffSeconds: float | None = Field(default=None, ge=0, le=_LONGEST_SECONDS, allow_inf_nan=False)
    """The cap of these waits."""

    @model_validator(mode="after")
    def _cap_is_above(self) -> RetryRule:
        first, cap = self.backoffSeconds, self.maxBackoffSeconds
        if first is not None and cap is not None and cap < first:
            raise ValueError("maxBackoffSeconds must not be below backoffSeconds")
        return self


class RateLimitRule(RetryRule):
    """How it is tried again after somebody said that there were too many calls."""

    maxRetryAfterSeconds: float | None = Field(default=None, gt=0, le=7 * _LONGEST_SECONDS, allow_inf_nan=False)
    """The longest wait that an answer may ask for with Retry-After."""


class RetryRules(Part):
    """The rules by kind of failure."""

    transient: RetryRule = RetryRule()
    rateLimited: RateLimitRule = RateLimitRule()

    @model_validator(mode="after")
    def _nothing_in_vain(self) -> RetryRules:
        for kind in _NEVER_RETRIED:
            if kind in self.unknown_keys:
                raise ValueError(f"{kind}: such a failure is never tried again, so it has no policy")
        return self

    def overrides(self) -> Overrides:
        """What they say, for the policies they stand above."""
        return {ErrorKind.TRANSIENT: _written(self.transient), ErrorKind.RATE_LIMITED: _written(self.rateLimited)}


class StageRetryRules(Part):
    """The rules by stage."""

    intake: RetryRules = RetryRules()
    triage: RetryRules = RetryRules()
    policy: RetryRules = RetryRules()
    playbook: RetryRules = RetryRules()
    tool: RetryRules = RetryRules()

    def of(self, stage: Stage) -> Overrides:
        """What they say about a stage."""
        rules: RetryRules = getattr(self, stage.queue)
        return rules.overrides()


def retry_policies(domain: StageRetryRules, tenant: StageRetryRules, tools: Mapping[str, Overrides]) -> RetryPolicies:
    """The policies in force: the table, the domain's rules above it, the tenant's above these, a tool's above all."""
    by_stage = {stage: overridden(TABLE[stage], domain.of(stage), tenant.of(stage)) for stage in Stage}
    of_tools = {name: overridden(by_stage[Stage.TOOL], rules) for name, rules in tools.items()}
    return RetryPolicies(by_stage, of_tools)


_FIELDS = {
    "maxRetries": "max_retries",
    "backoffSeconds": "backoff_seconds",
    "maxBackoffSeconds": "max_backoff_seconds",
    "maxRetryAfterSeconds": "max_retry_after_seconds",
}


def _written(rule: RetryRule) -> dict[str, float]:
    found = {ours: getattr(rule, key, None) for key, ours in _FIELDS.items()}
    return {ours: value for ours, value in found.items() if value is not None}
