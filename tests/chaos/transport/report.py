"""The report of a run, as a person reads it."""

from __future__ import annotations

from tests.chaos.transport.verdict import Verdict


def render(verdict: Verdict) -> str:
    """Faults, figures, verdict."""
    lines = [
        "| fault | times | work flows again after: median | worst | in flight |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {line.kind} | {line.count} | {line.recovery_median} s | {line.recovery_worst} s | {line.in_flight} |"
        for line in verdict.faults
    ]
    lines += [
        "",
        f"seed {verdict.seed}: {verdict.sent} messages confirmed, handed out {verdict.runs} times in "
        f"{verdict.seconds:.0f} s",
        f"handed out again: {verdict.again} (in flight at the faults: {verdict.bound}; "
        f"{verdict.unflagged} did not say so); taken for dead by a group: {verdict.expelled} times",
        *(f"  {count:6d}  {reason}" for reason, count in verdict.reruns.items()),
    ]
    broken = verdict.violations
    lines += [f"BROKEN: {sentence}" for sentence in broken]
    if not broken:
        lines.append("nothing lost, each key in order, nothing run again after its commit, nothing left over")
    return "\n".join(lines)
