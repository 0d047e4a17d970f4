"""Reading what a peer suite reported: one outcome per test, and what a person is told."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.peers.results import SuiteResult, as_json, fold, summary

REASON = "a log is read in the order it was written"


def phase(test: str, outcome: str, *, message: str = "", finished: bool = False) -> dict[str, object]:
    return {
        "test": f"t/integration/{test}",
        "outcome": outcome,
        "seconds": 1.5,
        "message": message,
        "finished": finished,
    }


def reported(*entries: Mapping[str, object], reasons: Mapping[str, str] | None = None) -> SuiteResult:
    tests = {entry["test"] for entry in entries}
    lines = [json.dumps({"collected": len(tests)}), *map(json.dumps, entries)]
    return fold("kombu", "kafka", 60.0, lines, reasons or {})


def ended(test: str, outcome: str, message: str = "") -> list[dict[str, object]]:
    return [
        phase(test, "passed"),
        phase(test, outcome, message=message),
        phase(test, "passed", finished=True),
    ]


def test_a_test_is_counted_once_by_the_worst_of_its_phases() -> None:
    result = reported(
        *ended("a.py::passes", "passed"),
        *ended("a.py::skips", "skipped"),
        *ended("a.py::fails", "failed", "boom\nmore"),
    )

    assert (result.collected, result.passed, result.count("skipped")) == (3, 1, 1)
    assert [(one.test, one.seconds) for one in result.failed] == [("t/integration/a.py::fails", 4.5)]
    assert not result.succeeded
    assert "failed          t/integration/a.py::fails: boom\n" in summary(result) + "\n"


def test_a_failed_subtest_or_teardown_fails_its_test() -> None:
    subtest = [
        phase("a.py::sub", "passed"),
        phase("a.py::sub", "failed"),
        phase("a.py::sub", "passed"),
        phase("a.py::sub", "passed", finished=True),
    ]
    teardown = [phase("a.py::down", "passed"), phase("a.py::down", "failed", finished=True)]

    assert len(reported(*subtest, *teardown).failed) == 2


def test_a_documented_failure_is_told_with_its_reason_and_is_no_failure() -> None:
    result = reported(*ended("a.py::priority", "failed"), reasons={"a.py::priority": REASON})

    assert result.succeeded
    assert "1 not applicable, 0 failed" in summary(result)
    assert f"not applicable  t/integration/a.py::priority: {REASON}" in summary(result)
    assert as_json(result)["notApplicable"] == 1


def test_a_documented_failure_that_passes_is_told() -> None:
    result = reported(*ended("a.py::priority", "passed"), reasons={"a.py::priority": REASON})

    assert "passes, though documented as not applicable  t/integration/a.py::priority" in summary(result)


def test_a_run_that_was_cut_short_did_not_succeed() -> None:
    result = reported(phase("a.py::hangs", "passed"))

    assert not result.succeeded
    assert "did not end     t/integration/a.py::hangs" in summary(result)


def test_a_run_that_ended_between_two_tests_did_not_succeed() -> None:
    lines = [json.dumps({"collected": 2}), *map(json.dumps, ended("a.py::passes", "passed"))]

    result = fold("celery", "kafka", 1.0, lines, {})

    assert not result.succeeded
    assert "1 tests never ran" in summary(result)


def test_nothing_collected_is_no_success() -> None:
    assert not reported().succeeded


def test_what_passes_against_its_authors_expectation_has_passed() -> None:
    result = reported(*ended("a.py::surprise", "xpassed"), *ended("a.py::known", "xfailed"))

    assert (result.passed, result.count("xfailed")) == (1, 1)
    assert result.succeeded
