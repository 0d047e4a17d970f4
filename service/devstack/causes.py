"""Finding in a log why a process ended: the line a person would point at."""

from __future__ import annotations

import re
from pathlib import Path

_TELLING = re.compile(r"FATAL|ERROR|CRITICAL|Caused by|Error\b|Exception\b|error:|[Dd]enied|in use", re.ASCII)
_LONGEST = 300
_TAIL = 64_000


def cause(log: Path, since: int) -> str:
    """The last telling line written to the log after byte `since`, else the last line at all."""
    try:
        with log.open("rb") as stream:
            end = stream.seek(0, 2)
            stream.seek(max(min(since, end), end - _TAIL))
            text = stream.read().decode(errors="replace")
    except FileNotFoundError:
        return "it wrote no log"
    return pick(text)


def pick(text: str) -> str:
    """The line of a text that names the cause. Indented lines are stack frames and details."""
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not line[0].isspace()]
    telling = [line for line in lines if _TELLING.search(line)]
    chosen = (telling or lines or ["it wrote nothing to its log"])[-1]
    return chosen if len(chosen) <= _LONGEST else f"{chosen[:_LONGEST]}…"
