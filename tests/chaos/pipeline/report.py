"""What rounds came to, for people: a line for each, and at the end the table of faults and invariants."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from tests.chaos.pipeline.rounds import Outcome
from tests.chaos.pipeline.verdict import Invariant, names


@dataclass(frozen=True)
class Line:
    """What is remembered of a round: all that the table needs, and where its evidence is."""

    seed: int
    number: int
    faults: tuple[str, ...]
    red: tuple[str, ...]
    accepted: int
    seconds: float
    quiet: float | None
    """Seconds from the last fault until all was at rest; None: it never was."""
    recoveries: tuple[dict[str, Any], ...]
    evidence: str | None = None
    puzzled: int = 0
    """Answers 500."""
    last: tuple[str, ...] = ()
    """What was waited for at the end."""

    @classmethod
    def of(cls, outcome: Outcome, evidence: str | None) -> Line:
        """Remember a round."""
        felt = tuple(
            {"fault": one.fault, "gap": one.gap, "p99": one.p99, "affected": one.affected, "in_force": one.in_force}
            for one in outcome.recoveries
        )
        plan = outcome.round
        red = tuple(names(outcome.verdict))
        quiet = outcome.seen.quiet.seconds
        return cls(
            *(plan.seed, plan.number, plan.faults, red, outcome.accepted, outcome.seconds, quiet, felt, evidence),
            puzzled=len(outcome.seen.answers.puzzled),
            last=tuple(f"{count} {what}" for what, count in outcome.seen.quiet.last.items()),
        )


def told(line: Line) -> str:
    """A round in a line."""
    felt = ", ".join(f"{one['fault']}: gap {one['gap']} s, p99 {one['p99']} s" for one in line.recoveries)
    quiet = "never at rest" if line.quiet is None else f"at rest after {line.quiet} s"
    quiet += f" (last: {', '.join(line.last)})" if line.last else ""
    verdict = f"RED {' '.join(line.red)}" if line.red else "green"
    puzzled = f"; {line.puzzled} answers were 500" if line.puzzled else ""
    tail = f"{puzzled}; evidence in {line.evidence}" if line.evidence else puzzled
    return (
        f"seed {line.seed} round {line.number} [{', '.join(line.faults) or 'no fault'}]: {verdict}; "
        f"{line.accepted} accepted, {quiet}, {line.seconds} s{'; ' + felt if felt else ''}{tail}"
    )


def table(lines: Sequence[Line]) -> str:
    """Faults by invariants: how many rounds were red, and how long the fault was felt."""
    invariants = [invariant.name for invariant in Invariant]
    rows = [
        "| fault | rounds | " + " | ".join(invariants) + " | gap: median, worst | p99 to rest: median, worst |",
        "| --- | --- |" + " --- |" * (len(invariants) + 2),
    ]
    for fault in sorted({fault for line in lines for fault in line.faults or ("none",)}):
        of_fault = [line for line in lines if fault in (line.faults or ("none",))]
        cells = [_cell(sum(name in line.red for line in of_fault)) for name in invariants]
        rows.append(f"| {fault} | {len(of_fault)} | {' | '.join(cells)} | {_felt(of_fault, fault)} |")
    red = [line for line in lines if line.red]
    rows.append("")
    rows.append(f"{len(lines)} rounds, {sum(line.accepted for line in lines)} exceptions: {_verdict(red)}")
    return "\n".join(rows)


def as_document(lines: Iterable[Line]) -> list[dict[str, Any]]:
    """For scripts."""
    return [
        {
            "seed": line.seed,
            "round": line.number,
            "faults": list(line.faults),
            "red": list(line.red),
            "accepted": line.accepted,
            "seconds": line.seconds,
            "quietAfterSeconds": line.quiet,
            "recoveries": list(line.recoveries),
            "evidence": line.evidence,
            "answers500": line.puzzled,
            "waitedFor": list(line.last),
        }
        for line in lines
    ]


def from_document(document: dict[str, Any]) -> Line:
    """A line that was written by `as_document`."""
    return Line(
        seed=document["seed"],
        number=document["round"],
        faults=tuple(document["faults"]),
        red=tuple(document["red"]),
        accepted=document["accepted"],
        seconds=document["seconds"],
        quiet=document["quietAfterSeconds"],
        recoveries=tuple(document["recoveries"]),
        evidence=document["evidence"],
        puzzled=document["answers500"],
        last=tuple(document["waitedFor"]),
    )


def _cell(red: int) -> str:
    return f"**{red} red**" if red else "0"


def _felt(lines: Sequence[Line], fault: str) -> str:
    # A round with two faults says nothing of either alone.
    alone = [line for line in lines if len(line.faults) == 1] or list(lines)
    felt = [one for line in alone for one in line.recoveries if one["fault"] == fault]
    return f"{_spread([one['gap'] for one in felt])} | {_spread([one['p99'] for one in felt])}"


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return f"{median(known):.1f} s, {max(known):.1f} s" if known else "-"


def _verdict(red: Sequence[Line]) -> str:
    if not red:
        return "every invariant held"
    broken = sorted({name for line in red for name in line.red})
    return f"{len(red)} red ({', '.join(broken)})"
