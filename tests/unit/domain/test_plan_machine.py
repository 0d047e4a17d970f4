"""Whatever a plan looks like, and whatever fails, crashes or comes twice: it ends, and nothing is done twice.

Random playbooks go through planning and the two stages. Tools confirm, refuse or leave in doubt; workers die before
they write an answer down; people, timers and signals come in any order, late ones and wrong ones among them.
"""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from service.domain.exceptions import Severity, Status
from service.domain.plan_documents import to_document
from service.domain.plans import OnFailure, StepKind, StepState
from service.domain.progress.abandoning import fatal_failures
from service.domain.progress.tree import find, open_steps
from tests.unit.domain.given import exception, packs
from tests.unit.domain.plan_world import FAILS, UNKNOWN, PlanWorld

_SECRET = "DE89370400440532013000"
_TOOLS = {
    "trace": {"endpoint": "https://tools.example/trace"},
    "pay": {"endpoint": "https://tools.example/pay", "sensitiveFields": ["bank.iban"]},
}
_PAYLOAD = {"bank": {"iban": _SECRET}, "legs": [1, 2], "days": 5}
_ENDS = (Status.RESOLVED, Status.ESCALATED)
_POLICIES = st.sampled_from([None, "continue", "escalate", "compensate", "compensate", "compensate"])


def _call(tool: str) -> dict[str, Any]:
    iban = {"iban": "{{ exception.rawPayload.bank.iban }}"}
    return {"action_type": "call_tool", "params": {"tool": tool, "parameters": iban if tool == "pay" else {}}}


_CALLS = st.sampled_from(["trace", "pay"]).map(_call)
_COMMENTS = st.just({"action_type": "add_comment", "params": {"text": "iban {{ exception.rawPayload.bank.iban }}"}})
_PERSONS = st.just({"action_type": "manual", "params": {"instructions": "Look"}, "timeoutMinutes": 5})
_WAITS = st.sampled_from([{"minutes": 1}, {"event": "ready"}]).map(lambda p: {"action_type": "wait", "params": p})
_UNDOS = st.one_of(_CALLS, _COMMENTS, st.just({"action": "Take it back"}))


@st.composite
def _leaves(draw: st.DrawFn) -> dict[str, Any]:
    step = dict(draw(st.one_of(_CALLS, _CALLS, _COMMENTS, _PERSONS, _WAITS)))
    policy = draw(_POLICIES)
    if policy is not None and step["action_type"] != "add_comment":
        step["onFailure"] = policy
    if draw(st.integers(0, 3)):
        step["compensation"] = draw(_UNDOS)
    return step


def _grouped(steps: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    lists = st.lists(steps, min_size=1, max_size=3)
    return st.one_of(
        st.lists(lists, min_size=1, max_size=3).map(lambda b: {"action_type": "parallel", "params": {"branches": b}}),
        st.builds(
            lambda inner, side: {
                "action_type": "foreach",
                "params": {"items": "{{ exception.rawPayload.legs }}", "max": 2, "steps": inner, "parallel": side},
            },
            lists,
            st.booleans(),
        ),
        st.builds(
            lambda condition, one, other: {
                "action_type": "branch",
                "params": {"if": condition, "then": one, "else": other},
            },
            st.sampled_from(["rawPayload.days > 3", "has(steps.first.output)"]),
            lists,
            lists,
        ),
    )


_STEPS = st.recursive(_leaves(), _grouped, max_leaves=8)
_FIRST = {"action_type": "add_comment", "params": {"text": "begin"}, "key": "first"}


class Plans(RuleBasedStateMachine):
    """One exception with one random plan."""

    @initialize(
        steps=st.lists(_STEPS, min_size=1, max_size=4),
        answers=st.lists(st.sampled_from(["ok", "ok", "fails", "unknown"]), min_size=2, max_size=12),
        crashes=st.lists(st.booleans(), max_size=12),
    )
    def begin(self, steps: list[dict[str, Any]], answers: list[str], crashes: list[bool]) -> None:
        document = {
            "tools": _TOOLS,
            "sensitiveFields": ["bank.iban"],
            "playbooks": [{"name": "any", "exceptionType": "LATE", "steps": [_FIRST, *steps]}],
        }
        record = exception("LATE", _PAYLOAD, severity=Severity.LOW)
        says = {"ok": {"seen": _SECRET}, "fails": FAILS, "unknown": UNKNOWN}
        self.world = PlanWorld(
            packs(document),
            record,
            answer=lambda _step, _world: says[answers.pop()] if answers else {"seen": _SECRET},
            crash=lambda: bool(crashes) and crashes.pop(),
        ).start()

    @property
    def over(self) -> bool:
        """Whether the exception has come to an end, or a call of it is dead-lettered."""
        return self.world.finished in _ENDS or self.world.failure is not None

    @rule(which=st.integers(0, 5), verdict=st.sampled_from(["done", "not_done", "resend"]))
    def somebody_acts(self, which: int, verdict: str) -> None:
        """A person, a timer or a signal that some step waits for."""
        if self.over:
            return
        steps = list(open_steps(self.world.plan, self.world.record.step_results))
        assert steps, "it rests, and waits for nothing"
        step = steps[which % len(steps)]
        if step.kind is StepKind.EXTERNAL:
            self.world.resolve(step.path, verdict)
        elif step.kind is StepKind.MANUAL:
            self.world.complete(step.path)
        elif "event" in step.parameters:
            self.world.signal("ready")
        else:
            self.world.due(step.path)

    @rule(which=st.integers(0, 5))
    def time_is_up(self, which: int) -> None:
        """A person or a signal took too long."""
        limits = [step for kind, step in self.world.timers if kind == "step_timeout"]
        if not self.over and limits:
            self.world.due(limits[which % len(limits)], "step_timeout")

    @rule(path=st.sampled_from(["1", "2", "2.1.1", "3[0].1", "2/undo", "9", "2[7].1", ""]))
    def something_comes_that_is_out_of_date(self, path: str) -> None:
        if self.over or path in self.world.waits_for():
            return
        before, rested = dict(self.world.record.step_results), self.world.finished
        self.world.due(path).resolve(path, "done").signal("of something else")
        assert (self.world.record.step_results, self.world.finished) == (before, rested)

    @invariant()
    def nothing_that_is_stored_or_shown_holds_a_secret(self) -> None:
        if hasattr(self, "world"):
            stored = [to_document(self.world.plan), [event.data for event in self.world.events]]
            results = [result.output for result in self.world.record.step_results.values()]
            assert _SECRET not in json.dumps([stored, results], default=str)

    def teardown(self) -> None:
        """Then the plan comes to its end."""
        if not hasattr(self, "world"):
            return
        for _ in range(200):
            if self.over:
                break
            self.somebody_acts(0, "done")
        assert self.over
        if self.world.finished in _ENDS:
            self._is_undone_as_it_should()
        self._tools_got_the_secret_they_need()

    def _is_undone_as_it_should(self) -> None:
        plan, results, done = self.world.plan, self.world.record.step_results, self.world.done
        fatal = [step.on_failure for step, _ in fatal_failures(plan, results)]
        undone = [path.removesuffix("/undo") for path in done if path.endswith("/undo")]
        undoable = [path for path in done if (step := find(plan, path)) is not None and step.compensation is not None]
        failed = any(
            result.state is StepState.FAILED
            for path, result in results.items()
            if path.endswith("/undo")
        )  # fmt: skip
        assert (self.world.finished is Status.ESCALATED) is bool(fatal)
        if OnFailure.COMPENSATE not in fatal:
            assert undone == []
        elif failed:
            assert undone == undoable[::-1][: len(undone)]
        else:
            assert undone == undoable[::-1]

    def _tools_got_the_secret_they_need(self) -> None:
        for path, parameters in self.world.sent:
            if "iban" in parameters:
                assert parameters["iban"] == _SECRET, path


TestPlans = Plans.TestCase
TestPlans.settings = settings(
    max_examples=80, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
