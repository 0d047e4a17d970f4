"""From where and with which packs a dead-lettered input goes on, and where it rests when it does not."""

from __future__ import annotations

import pytest

from service.domain.exceptions import ENTRY_STAGE, InputType, PackChoice, Stage, Status
from service.domain.redriving import DeadInput, RedriveRefusedError, Wish, rests_after_discard, resume

FAILED_AT_TOOL = DeadInput(Stage.TOOL, InputType.INGESTED, None)


def test_it_goes_on_where_it_failed_with_the_packs_it_was_decided_with() -> None:
    resumption = resume(FAILED_AT_TOOL, Wish())
    assert (resumption.stage, resumption.packs) == (Stage.TOOL, PackChoice.RECORDED)


@pytest.mark.parametrize("stage", [Stage.INTAKE, Stage.TRIAGE, Stage.POLICY, Stage.PLAYBOOK])
def test_the_exception_itself_may_begin_earlier(stage: Stage) -> None:
    assert resume(FAILED_AT_TOOL, Wish(stage)).stage is stage


def test_nothing_is_left_out() -> None:
    failed = DeadInput(Stage.POLICY, InputType.INGESTED, None)
    with pytest.raises(RedriveRefusedError, match="failed at policy, so it cannot go on at tool"):
        resume(failed, Wish(Stage.TOOL))


def test_the_active_packs_decide_from_intake_on() -> None:
    resumption = resume(FAILED_AT_TOOL, Wish(packs=PackChoice.ACTIVE))
    assert (resumption.stage, resumption.packs) == (Stage.INTAKE, PackChoice.ACTIVE)
    with pytest.raises(RedriveRefusedError, match="packs are chosen at intake"):
        resume(FAILED_AT_TOOL, Wish(Stage.PLAYBOOK, PackChoice.ACTIVE))


@pytest.mark.parametrize("kind", [InputType.APPROVED, InputType.COMMENT, InputType.STEP_COMPLETED])
def test_what_people_say_goes_by_the_packs_of_the_exception(kind: InputType) -> None:
    with pytest.raises(RedriveRefusedError, match="goes by the packs of its exception"):
        resume(DeadInput(Stage.TOOL, kind, Status.PENDING_STEP), Wish(packs=PackChoice.ACTIVE))


def test_an_input_begins_no_earlier_than_its_own_stage() -> None:
    failed = DeadInput(Stage.TOOL, InputType.APPROVED, Status.PENDING_APPROVAL)
    assert resume(failed, Wish(Stage.POLICY)).stage is Stage.POLICY
    with pytest.raises(RedriveRefusedError, match="an approval, which begins at policy"):
        resume(failed, Wish(Stage.TRIAGE))


@pytest.mark.parametrize(
    "kind", [InputType.STEP_COMPLETED, InputType.STEP_DUE, InputType.SIGNAL, InputType.EFFECT_RESOLVED]
)
def test_what_a_plan_has_taken_in_is_not_given_to_it_once_more(kind: InputType) -> None:
    failed = DeadInput(Stage.TOOL, kind, Status.PENDING_STEP)
    assert resume(failed, Wish()).stage is Stage.TOOL
    with pytest.raises(RedriveRefusedError, match="taken in already"):
        resume(failed, Wish(Stage.PLAYBOOK))


def test_a_first_input_leaves_nothing_to_fall_back_to() -> None:
    assert rests_after_discard(FAILED_AT_TOOL) is Status.DISCARDED


@pytest.mark.parametrize("kind", list(InputType))
@pytest.mark.parametrize("before", [Status.RESOLVED, Status.ESCALATED, Status.CANCELLED, Status.DISCARDED])
def test_what_had_come_to_its_end_falls_back_to_it(kind: InputType, before: Status) -> None:
    assert rests_after_discard(DeadInput(Stage.TOOL, kind, before)) is before


@pytest.mark.parametrize(
    ("dead", "rests"),
    [
        # People are still asked: an update failed before it was judged.
        (DeadInput(Stage.INTAKE, InputType.UPDATED, Status.PENDING_APPROVAL, asked=True), Status.PENDING_APPROVAL),
        # The approval was given: nobody is asked any more, and what was approved is not carried out.
        (DeadInput(Stage.TOOL, InputType.APPROVED, Status.PENDING_APPROVAL), Status.DISCARDED),
        # A comment changes nothing about what a plan waits for; an update does once there is a new plan.
        (DeadInput(Stage.INTAKE, InputType.COMMENT, Status.PENDING_STEP), Status.PENDING_STEP),
        (DeadInput(Stage.TRIAGE, InputType.UPDATED, Status.WAITING), Status.WAITING),
        (DeadInput(Stage.TOOL, InputType.UPDATED, Status.WAITING, planned=True), Status.DISCARDED),
        # The plan did not take the answer, and still waits for it; or it did, and nothing carries it on.
        (DeadInput(Stage.PLAYBOOK, InputType.STEP_COMPLETED, Status.PENDING_STEP), Status.PENDING_STEP),
        (DeadInput(Stage.TOOL, InputType.STEP_COMPLETED, Status.PENDING_STEP), Status.DISCARDED),
        # The timer is used up: nothing would ever wake the exception.
        (DeadInput(Stage.PLAYBOOK, InputType.STEP_DUE, Status.WAITING), Status.DISCARDED),
    ],
)
def test_what_waits_falls_back_only_if_something_can_still_come(dead: DeadInput, rests: Status) -> None:
    assert rests_after_discard(dead) is rests


def test_every_input_can_go_on_where_it_failed() -> None:
    for kind in InputType:
        for stage in Stage:
            if stage >= ENTRY_STAGE[kind]:
                assert resume(DeadInput(stage, kind, None), Wish()).stage is stage
