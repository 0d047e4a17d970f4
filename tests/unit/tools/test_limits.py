"""Slots for calls under way: what a hanging tool takes, and what it leaves to others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from service.domain.plans import ToolCall
from service.tools import limits
from service.tools.calls import PreparedCall
from service.tools.limits import CallLimits, CallSlots, NoFreeSlotError


def call(tool: str = "slow", tenant: str = "a", most: int | None = None) -> PreparedCall:
    return PreparedCall("key", tenant, ToolCall(tool, "http://tool", {}, max_concurrency=most))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Hanging:
    """Calls that took a slot and keep it until the test lets them go."""

    def __init__(self, slots: CallSlots) -> None:
        self._slots = slots
        self._release = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def begin(self, one: PreparedCall, count: int) -> None:
        self.tasks += [asyncio.create_task(self._hang(one)) for _ in range(count)]
        await asyncio.sleep(0)

    async def end(self) -> None:
        self._release.set()
        await asyncio.gather(*self.tasks)

    async def _hang(self, one: PreparedCall) -> None:
        async with self._slots.slot(one):
            await self._release.wait()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SLOT_PATIENCE_SECONDS", 0.02)


async def finds_a_slot(slots: CallSlots, one: PreparedCall) -> bool:
    try:
        async with slots.slot(one):
            return True
    except NoFreeSlotError:
        return False


@pytest.mark.parametrize(
    ("taken", "count", "asked", "expected"),
    [
        (call(), 2, call(), False),
        (call(), 2, call("other"), True),
        (call(most=1), 1, call(most=1), False),
        (call(most=3), 2, call(most=3), True),
        (call(), 2, call("slow", "b"), True),
    ],
    ids=["of a full tool", "of the tenant's other tool", "own limit reached", "own limit not reached", "of another"],
)
def test_a_full_tool_leaves_the_slots_of_others(
    impatient: None, taken: PreparedCall, count: int, asked: PreparedCall, expected: bool
) -> None:
    async def scenario() -> bool:
        # given a tool of which so many calls hang
        slots = CallSlots(CallLimits(per_tool=2, per_tenant=4, total=100, processes=1))
        hanging = Hanging(slots)
        await hanging.begin(taken, count)
        # when another call is to be made
        found = await finds_a_slot(slots, asked)
        await hanging.end()
        return found

    # then it leaves if its tool has room
    assert asyncio.run(scenario()) is expected


def test_a_tenant_whose_tools_all_hang_leaves_the_slots_of_other_tenants(impatient: None) -> None:
    async def scenario() -> tuple[bool, bool]:
        slots = CallSlots(CallLimits(per_tool=2, per_tenant=3, total=100, processes=1))
        hanging = Hanging(slots)
        await hanging.begin(call("first"), 2)
        await hanging.begin(call("second"), 1)
        found = await finds_a_slot(slots, call("third")), await finds_a_slot(slots, call("first", "b"))
        await hanging.end()
        return found

    assert asyncio.run(scenario()) == (False, True)


def test_a_call_that_waits_leaves_when_an_answer_frees_a_slot() -> None:
    async def scenario() -> list[str]:
        # given a limit of one, a call under way and two that wait
        slots = CallSlots(CallLimits.alike(1))
        order: list[str] = []

        async def make(name: str) -> None:
            async with slots.slot(call()):
                order.append(name)
                await asyncio.sleep(0)

        await asyncio.gather(make("first"), make("second"), make("third"))
        return order

    # then they leave one after the other, in their order
    assert asyncio.run(scenario()) == ["first", "second", "third"]


def test_a_limit_is_divided_by_the_processes_and_never_nothing() -> None:
    limits_of_four = CallLimits(per_tool=6, per_tenant=8, total=100, processes=4)
    assert [limits_of_four.share(n) for n in (8, 6, 3)] == [2, 1, 1]


def _stuck(advance: Callable[[Clock], None]) -> tuple[str | None, int]:
    async def scenario() -> tuple[str | None, int]:
        clock = Clock()
        slots = CallSlots(CallLimits(per_tool=2, per_tenant=4, total=100, processes=1), clock)
        hanging = Hanging(slots)
        await hanging.begin(call(), 2)
        advance(clock)
        found = slots.stuck(call()), slots.room(call())
        await hanging.end()
        return found

    return asyncio.run(scenario())


def test_a_limit_that_was_just_reached_is_not_stuck() -> None:
    assert _stuck(lambda _clock: None) == (None, 0)


def test_a_limit_of_which_nothing_came_free_is_stuck_and_says_so() -> None:
    def later(clock: Clock) -> None:
        clock.now += limits.STUCK_SECONDS

    reason, room = _stuck(later)
    assert reason == "tool 'slow' has 2 calls under way in this worker, which is its share of the limit"
    assert room == 0


def test_a_call_goes_on_waiting_while_others_get_slots_and_gives_up_in_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> bool:
        # given a limit of one that is taken again and again by calls that came before
        slots = CallSlots(CallLimits.alike(1))
        monkeypatch.setattr(limits, "SLOT_PATIENCE_SECONDS", 0.05)

        async def make() -> None:
            async with slots.slot(call()):
                await asyncio.sleep(0.02)

        earlier = [asyncio.create_task(make()) for _ in range(8)]
        await asyncio.sleep(0)
        # when one comes that has to wait for longer than its patience
        found = await finds_a_slot(slots, call())
        await asyncio.gather(*earlier)
        return found

    # then it leaves, for slots do come free; and where its waiting is limited, it does not
    assert asyncio.run(scenario())
    monkeypatch.setattr(limits, "LONGEST_WAIT_SECONDS", 0.0)
    with pytest.raises(NoFreeSlotError):
        asyncio.run(scenario())
