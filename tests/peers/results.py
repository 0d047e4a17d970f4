"""What a suite's report says, folded by test: the worst of its phases and subtests is its outcome."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

_WORST_LAST = ("passed", "xpassed", "skipped", "xfailed", "failed")
"""`xpassed` passed although its authors expected it to fail."""
_FOLDER = "t/integration/"
_PASSED = ("passed", "xpassed")
_FIRST_LINE = 200


@dataclass(frozen=True)
class Outcome:
    """How one test ended. `reason` is why a failed test cannot pass on this broker, empty when it should."""

    test: str
    outcome: str
    seconds: float
    message: str
    reason: str = ""


@dataclass(frozen=True)
class SuiteResult:
    """How a suite ended on a broker. `collected` is how many tests there were; fewer may have ended."""

    suite: str
    on: str
    collected: int
    seconds: float
    outcomes: Sequence[Outcome]
    unfinished: Sequence[str] = field(default=())
    exit_code: int | None = None
    """Of pytest's process; below zero it is the signal that ended it."""

    @property
    def passed(self) -> int:
        """Tests that passed, those included that their authors expected to fail."""
        return sum(outcome.outcome in _PASSED for outcome in self.outcomes)

    @property
    def failed(self) -> list[Outcome]:
        """Failures without a documented reason."""
        return [outcome for outcome in self.outcomes if outcome.outcome == "failed" and not outcome.reason]

    @property
    def not_applicable(self) -> list[Outcome]:
        """Failures with a documented reason."""
        return [outcome for outcome in self.outcomes if outcome.outcome == "failed" and outcome.reason]

    @property
    def outdated(self) -> list[Outcome]:
        """Tests that pass although they are documented as impossible."""
        return [outcome for outcome in self.outcomes if outcome.outcome in _PASSED and outcome.reason]

    @property
    def succeeded(self) -> bool:
        """True when every test ended and none failed without a reason."""
        return 0 < self.collected <= len(self.outcomes) and not self.failed and not self.unfinished

    @property
    def never_ran(self) -> int:
        """Tests that were collected and not begun: the run ended before."""
        return max(0, self.collected - len(self.outcomes))

    def count(self, outcome: str) -> int:
        """How many tests ended with this outcome."""
        return sum(one.outcome == outcome for one in self.outcomes)


def fold(suite: str, on: str, seconds: float, lines: Iterable[str], reasons: Mapping[str, str]) -> SuiteResult:
    """Read a report (see inside/peers_report.py). `reasons` says of some tests why they cannot pass."""
    collected = 0
    worst: dict[str, Outcome] = {}
    finished: set[str] = set()
    for line in lines:
        entry = json.loads(line)
        if "collected" in entry:
            collected = entry["collected"]
            continue
        worst[entry["test"]] = _worse(worst.get(entry["test"]), entry, reasons)
        if entry.get("finished", True):
            finished.add(entry["test"])
    return SuiteResult(
        suite, on, collected, seconds, tuple(worst.values()), tuple(test for test in worst if test not in finished)
    )


def summary(result: SuiteResult) -> str:
    """Lines for a person: the figures, then what failed and why."""
    figures = f"{result.suite} on {result.on}: {result.passed} of {result.collected} passed"
    rest = [f"{result.count(name)} {name}" for name in ("xfailed", "skipped") if result.count(name)]
    if result.not_applicable:
        rest.append(f"{len(result.not_applicable)} not applicable")
    rest += [f"{len(result.failed)} failed", f"{result.seconds:.0f} s"]
    lines = [", ".join([figures, *rest])]
    lines += [f"  failed          {one.test}: {_first_line(one.message)}" for one in result.failed]
    lines += [f"  not applicable  {one.test}: {one.reason}" for one in result.not_applicable]
    lines += [f"  passes, though documented as not applicable  {one.test}" for one in result.outdated]
    lines += [f"  did not end     {test}" for test in result.unfinished]
    if result.never_ran:
        lines.append(f"  {result.never_ran} tests never ran: pytest's process ended with {result.exit_code}")
    return "\n".join(lines)


def as_json(result: SuiteResult) -> dict[str, object]:
    """The figures, and each test that did not simply pass."""
    remarkable = [one for one in result.outcomes if one.outcome != "passed" or one.reason]
    return {
        "suite": result.suite,
        "on": result.on,
        "collected": result.collected,
        "passed": result.passed,
        "failed": len(result.failed),
        "notApplicable": len(result.not_applicable),
        "skipped": result.count("skipped"),
        "xfailed": result.count("xfailed"),
        "seconds": round(result.seconds, 1),
        "unfinished": list(result.unfinished),
        "exitCode": result.exit_code,
        "tests": [
            {"test": one.test, "outcome": one.outcome, "reason": one.reason, "message": _first_line(one.message)}
            for one in remarkable
        ],
    }


def _worse(known: Outcome | None, entry: Mapping[str, object], reasons: Mapping[str, str]) -> Outcome:
    test, outcome = str(entry["test"]), str(entry["outcome"])
    seconds = float(str(entry["seconds"]))
    reason = reasons.get(test.removeprefix(_FOLDER), "")
    found = Outcome(test, outcome, seconds, str(entry.get("message", "")), reason)
    if known is None:
        return found
    worse = max(known, found, key=lambda one: _WORST_LAST.index(one.outcome))
    return Outcome(test, worse.outcome, known.seconds + seconds, worse.message, reason)


def _first_line(message: str) -> str:
    line = message.strip().partition("\n")[0]
    return line if len(line) <= _FIRST_LINE else line[: _FIRST_LINE - 1] + "…"
