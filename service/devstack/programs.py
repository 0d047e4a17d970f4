"""What a supervised process is: a command with its environment and how to stop it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Program:
    """One line of the process table."""

    name: str
    command: tuple[str, ...]
    directory: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the shell that started the stack."""
    stop_signal: str = "TERM"
    stop_seconds: int = 5
    """How long it may take to finish; then its process group is killed. `down` has 15 s for everything."""
