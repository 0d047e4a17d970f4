"""Which calls may go out now: by the breaker, by the limits, and one by one where a probe finds out."""

from __future__ import annotations

from dataclasses import dataclass, field

from service.domain.plans import ToolCall
from service.tools.admission import SLOW_SECONDS, GuardedAdmission
from service.tools.breakers import PASS, Name, Passage
from service.tools.calls import Answer, PreparedCall, ToolResult
from service.tools.limits import CallLimits, CallSlots

OPEN = Passage(open=False, reason="it fails", seconds=7.0)
PROBE = Passage(open=False, probe=True, reason="a probe is out", seconds=1.0)


@dataclass
class ScriptedBreakers:
    """Breakers that say what a test wants, and remember what they are told."""

    passages: dict[str, Passage] = field(default_factory=dict)
    told: list[object] = field(default_factory=list)

    def passage(self, name: Name, probe_seconds: float) -> Passage:
        return self.passages.get(name[1], PASS)

    def record(self, name: Name, *, succeeded: int, failed: int) -> None:
        self.told.append((name[1], succeeded, failed))

    def record_probe(self, name: Name, *, succeeded: bool) -> None:
        self.told.append((name[1], "probe", succeeded))

    def release_probe(self, name: Name) -> None:
        self.told.append((name[1], "released"))


def calls(tool: str, count: int) -> list[PreparedCall]:
    return [PreparedCall(f"{tool}-{n}", "t", ToolCall(tool, "http://tool", {})) for n in range(count)]


def admission(breakers: ScriptedBreakers, now: list[float] | None = None) -> GuardedAdmission:
    clock = now or [0.0]
    return GuardedAdmission(breakers, CallSlots(CallLimits.alike(3)), lambda: clock[0])


def test_an_open_breaker_holds_its_tool_s_calls_and_no_others() -> None:
    # given a tool whose breaker is open, and one that works
    guarded = admission(ScriptedBreakers({"broken": OPEN}))
    # when calls of both are due
    held = guarded.admit([*calls("broken", 2), *calls("fine", 2)])
    # then the broken one's wait, with the reason and the time
    assert [(one.key, one.reason, one.due_in_seconds) for one in held] == [
        ("broken-0", "it fails", 7.0),
        ("broken-1", "it fails", 7.0),
    ]


def test_half_open_lets_one_call_through_and_its_answer_is_the_probe_s() -> None:
    # given a breaker that grants a probe
    breakers = ScriptedBreakers({"broken": PROBE})
    guarded = admission(breakers)
    due = calls("broken", 3)
    # then one of the calls goes out
    assert [one.key for one in guarded.admit(due)] == ["broken-1", "broken-2"]
    # and what becomes of it is told as the probe's result, once
    guarded.settled([(due[0], ToolResult("broken-0", Answer.CONFIRMED))])
    guarded.settled([(due[0], ToolResult("broken-0", Answer.CONFIRMED))])
    assert breakers.told == [("broken", "probe", True), ("broken", 1, 0)]


def test_a_probe_that_does_not_go_out_makes_room_for_another() -> None:
    breakers = ScriptedBreakers({"broken": PROBE})
    guarded = admission(breakers)
    guarded.admit(calls("broken", 1))
    guarded.withdrawn(["broken-0", "unknown"])
    assert breakers.told == [("broken", "released")]


def test_a_refusal_counts_as_an_answer_and_silence_as_a_failure() -> None:
    breakers = ScriptedBreakers()
    guarded = admission(breakers)
    due = calls("tool", 5)
    answers = [Answer.CONFIRMED, Answer.PERMANENT, Answer.TRANSIENT, Answer.UNANSWERED, Answer.NOT_SENT]
    guarded.settled([(one, ToolResult(one.key, answer)) for one, answer in zip(due, answers, strict=True)])
    assert breakers.told == [("tool", 2, 2)]


def test_of_a_slow_tool_only_as_many_are_admitted_as_can_leave() -> None:
    # given a tool that kept a batch waiting
    now = [0.0]
    guarded = admission(ScriptedBreakers(), now)
    guarded.outlived(calls("slow", 1))
    # then of five calls three may leave, and the others say why not
    held = guarded.admit(calls("slow", 5))
    assert [one.key for one in held] == ["slow-3", "slow-4"]
    assert "slow" in held[0].reason
    # and after a while it counts as quick again
    now[0] = SLOW_SECONDS
    assert guarded.admit(calls("slow", 5)) == []


def test_a_slow_tool_counts_as_quick_once_its_late_calls_are_back_and_it_answers_quickly() -> None:
    # given a tool two of whose calls outlived their batch
    guarded = admission(ScriptedBreakers())
    late = calls("slow", 2)
    guarded.outlived(late)
    # when one of them is back, it is still slow, however quick other answers are
    guarded.settled([(late[0], ToolResult("slow-0", Answer.CONFIRMED, duration_seconds=3.0))])
    guarded.settled([(calls("slow", 9)[8], ToolResult("slow-8", Answer.CONFIRMED, duration_seconds=0.01))])
    assert guarded.is_slow(late[0])
    # nor does the last of them show that it is quick
    guarded.settled([(late[1], ToolResult("slow-1", Answer.UNANSWERED, duration_seconds=30.0))])
    assert guarded.is_slow(late[0])
    # when it answers quickly again, it is not
    guarded.settled([(calls("slow", 9)[7], ToolResult("slow-7", Answer.CONFIRMED, duration_seconds=0.01))])
    assert not guarded.is_slow(late[0])
