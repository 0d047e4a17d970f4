"""Which work a pause stops: every scope, against the plain words of what each one means."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as some

from service.domain.exceptions import Stage
from service.domain.pauses import NOTHING_PAUSED, Pause, PausesInForce, Scope

TENANTS, TOOLS = ("a", "b"), ("mail", "ledger")
tenants, tools, stages = some.sampled_from(TENANTS), some.sampled_from(TOOLS), some.sampled_from(Stage)


def a_pause(scope: Scope, tenant: str | None = None, tool: str | None = None, stage: Stage | None = None) -> Pause:
    return Pause(
        UUID(int=1), scope, tenant, tool, stage, "because", None, False, datetime(2026, 1, 1, tzinfo=UTC), "ann"
    )


pauses = some.lists(
    some.one_of(
        some.builds(a_pause, some.just(Scope.TENANT), tenants),
        some.builds(a_pause, some.just(Scope.TOOL), some.none() | tenants, tools),
        some.builds(a_pause, some.just(Scope.STAGE), some.none() | tenants, some.none(), stages),
        some.builds(a_pause, some.just(Scope.DISPATCH)),
    ),
    max_size=6,
)


def stops_work(pause: Pause, tenant: str, stage: Stage) -> bool:
    """In plain words."""
    if pause.scope is Scope.TENANT:
        return pause.tenant_id == tenant
    return pause.scope is Scope.STAGE and pause.stage == stage and pause.tenant_id in (None, tenant)


def stops_call(pause: Pause, tenant: str, tool: str) -> bool:
    if pause.scope is Scope.TOOL:
        return pause.tool == tool and pause.tenant_id in (None, tenant)
    return stops_work(pause, tenant, Stage.TOOL)


@given(pauses, tenants, stages, tools)
def test_exactly_what_is_meant_is_stopped(thrown: list[Pause], tenant: str, stage: Stage, tool: str) -> None:
    paused = PausesInForce(thrown)
    # work is stopped when some pause means it, and then by one that does
    work = paused.of_work(tenant, stage)
    assert (work is not None) == any(stops_work(pause, tenant, stage) for pause in thrown)
    assert work is None or stops_work(work, tenant, stage)
    # and so are calls
    call = paused.of_call(tenant, tool)
    assert (call is not None) == any(stops_call(pause, tenant, tool) for pause in thrown)
    assert call is None or stops_call(call, tenant, tool)
    # a drain stops dispatching and nothing else
    assert (paused.dispatching is not None) == any(pause.scope is Scope.DISPATCH for pause in thrown)
    # and what the dispatcher is told to leave is what would be stopped
    left = tenant in paused.tenants or stage in paused.stages or (tenant, stage) in paused.stages_of_tenants
    assert left == (work is not None)


def test_nothing_paused_is_false_and_stops_nothing() -> None:
    assert not NOTHING_PAUSED
    assert NOTHING_PAUSED.of_work("a", Stage.TOOL) is None and NOTHING_PAUSED.of_call("a", "mail") is None


def test_a_tenant_s_people_read_who_paused_it_unless_that_was_the_platform() -> None:
    own = a_pause(Scope.TENANT, "a")
    assert own.sentence == "paused: tenant a, by ann: because"
    platform = Pause(
        UUID(int=2), Scope.STAGE, None, None, Stage.TOOL, "year end", None, True, own.paused_at, "root@host"
    )
    assert platform.sentence == "paused: stage tool, by the platform: year end"
