"""What callers send and get about packs, as pydantic models; the command line prints the same."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from service.api.bodies import In, Out
from service.api.fields import Moment, Name, Note
from service.api.problem_schemas import Fault
from service.domain.packs.reading.documents import PackKind
from service.engine.backtest import MOST_EXCEPTIONS
from service.engine.pack_history import LifeState

Version = Annotated[int, Field(ge=1, le=2**31 - 1)]


class PackPut(In):
    """What is said about a version when it is stored."""

    comment: Note | None = Field(default=None, description="Why; kept with the version.")


class PackTest(In):
    """Which version's test suites to run."""

    version: Version | None = Field(default=None, description="Default: the newest.")
    other_version: Version | None = Field(
        default=None, description="The version of the other pack beside it. Default: the one in force."
    )


class PackBacktest(PackTest):
    """What to decide again."""

    limit: int = Field(default=1_000, ge=1, le=MOST_EXCEPTIONS, description="So many of the newest exceptions.")
    exception_type: Name | None = Field(default=None, description="Only exceptions of this type.")
    differences: int = Field(default=100, ge=0, le=1_000, description="The most differences to answer with.")


class PackActivation(In):
    """From when on which version decides."""

    version: Version | None = Field(default=None, description="Default: the newest.")
    at: Moment | None = Field(
        default=None,
        description="In the future: decides what is received from then on. Default: now, and all not decided yet.",
    )
    comment: Note | None = Field(default=None, description="Why; the history keeps it.")
    force: Note | None = Field(default=None, description="Why it is activated although its tests fail.")


class PackRollback(In):
    """Back to the version before."""

    comment: Note | None = None
    scheduled: bool = Field(default=False, description="Take back what is scheduled instead; nothing else changes.")


class TestCounts(Out):
    """How the suites ended the last time."""

    __test__ = False

    passed: int
    failed: int


class PackSummary(Out):
    """One version of a pack, without its document."""

    kind: PackKind
    name: str
    version: int
    state: LifeState = Field(description="draft: never in force; retired: it was.")
    active: bool
    scheduled_for: datetime | None
    content_hash: str
    created_at: datetime
    created_by: str
    comment: str | None


class PackDetail(PackSummary):
    """One version of a pack."""

    active_version: int | None = Field(description="The version in force now.")
    newest_version: int
    test: TestCounts | None = Field(description="null: its suites have not been run.")
    document: dict[str, Any] = Field(description="As it was given.")


class PackList(Out):
    """Versions of packs."""

    items: list[PackSummary]


class PackChecked(Out):
    """The pack has no faults."""

    valid: Literal[True] = True
    kind: PackKind
    name: str
    warnings: list[Fault]


class PackStored(PackChecked):
    """Where it was stored."""

    version: int
    created: bool = Field(description="false: this very content was a version already.")
    state: LifeState


class Mismatch(Out):
    """In what a case ended otherwise than expected."""

    key: str
    expected: Any
    actual: Any


class TestCase(Out):
    """How one case ended."""

    __test__ = False

    path: str
    name: str
    passed: bool
    rules_with_absent_fields: list[str] = Field(default=[], description="They did not match for want of a field.")
    mismatches: list[Mismatch]


class PackTestReport(TestCounts):
    """How a version's suites ended."""

    domain_version: int | None
    tenant_version: int | None
    cases: list[TestCase]


class ToolShown(Out):
    """A tool that would be called, sensitive values masked."""

    model_config = ConfigDict(extra="allow")

    step: str
    tool: str
    parameters: dict[str, Any]


class DecisionShown(Out):
    """One decision; null: not known, it did not get there."""

    exception_type: str | None
    severity: str | None
    approval: bool | None
    playbook: str | None
    tools: list[ToolShown]
    error: str | None


class Difference(Out):
    """One exception that would be decided otherwise."""

    exception_id: str
    received_at: datetime
    changes: list[str] = Field(description="type, severity, approval, playbook, plan, failure")
    before: DecisionShown
    after: DecisionShown


class Approvals(Out):
    """How often a person is asked."""

    before: int
    after: int
    more: int
    less: int


class PlaybookChange(Out):
    """So many exceptions would get another playbook."""

    before: str
    after: str
    exceptions: int


class Failures(Out):
    """Exceptions that could not be decided."""

    before: int
    after: int
    added: int
    removed: int
    by_rule: dict[str, int] = Field(description="Of those after: by the place in the pack, else the kind of error.")


class PackBacktestReport(Out):
    """What would change. Sensitive values are masked as both packs say."""

    domain_version: int | None
    tenant_version: int | None
    decided: int
    changed: int
    skipped: dict[str, int]
    changes: dict[str, int]
    severities: dict[str, dict[str, int]] = Field(description="Exceptions by severity before, then after.")
    approvals: Approvals
    playbooks: list[PlaybookChange]
    failures: Failures
    rules_with_absent_fields: dict[str, int]
    seconds: float
    differences: list[Difference]
    differences_left_out: int = Field(description="Changed exceptions that are not in `differences`.")
    next_cursor: str | None = Field(default=None, description="Of the kept report: where the next differences are.")


class PackActivated(Out):
    """What decides now, and what will."""

    kind: PackKind
    name: str
    version: int
    state: LifeState
    number: int = Field(description="Its place in the history.")
    active_version: int | None
    scheduled_for: datetime | None


class PackRolledBack(Out):
    """What decides now."""

    kind: PackKind
    name: str
    active_version: int | None
    withdrawn: list[int] = Field(description="Versions whose activation was still to come, and is not now.")


class HistoryItem(Out):
    """One activation, rollback or withdrawal."""

    number: int
    action: Literal["activate", "rollback", "withdraw"]
    version: int
    effective_at: datetime
    immediate: bool
    withdraws: int | None
    recorded_at: datetime
    recorded_by: str
    comment: str | None
    forced: str | None
    withdrawn: bool


class PackHistory(Out):
    """Everything that was activated, newest first."""

    items: list[HistoryItem]
