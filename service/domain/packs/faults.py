"""What is wrong with a pack, and where: every fault has the path of its place in the document."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from service.errors import PermanentError

_MOST_FAULTS_IN_MESSAGE = 20


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong (or, as a warning, odd) at one place of a pack."""

    path: str
    """Like `severityRules[2].condition`; empty for the document itself."""
    message: str
    line: int | None = None
    """Where it stands in the text that was read, from 1; None: the pack was not read from a text."""

    def __str__(self) -> str:
        told = f"{self.path or '(the document)'}: {self.message}"
        return told if self.line is None else f"line {self.line}: {told}"


class PackInvalidError(PermanentError):
    """The pack cannot be used; `faults` names everything that is wrong with it."""

    def __init__(self, kind: str, faults: Sequence[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        told = "; ".join(str(fault) for fault in self.faults[:_MOST_FAULTS_IN_MESSAGE])
        more = len(self.faults) - _MOST_FAULTS_IN_MESSAGE
        rest = f"; and {more} more" if more > 0 else ""
        super().__init__(f"the {kind} pack has {len(self.faults)} fault(s): {told}{rest}")


def path_of(location: Iterable[str | int], root: str = "") -> str:
    """The path of a place: names joined by dots, positions in brackets, odd names quoted."""
    path = root
    for part in location:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() or part.replace("-", "_").isidentifier():
            path += f".{part}" if path else part
        else:
            path += f"[{part!r}]"
    return path
