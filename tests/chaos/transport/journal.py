"""Files that survive kill -9: every record is one write to the end of a file, before anything follows from it.

A line is a kind, a time and fields, separated by tabs. Times are of the machine's monotonic clock, which all processes
share. A process that was killed may leave half a line behind; that one is left out.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


class Journal:
    """Appends records to a file."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o644)

    def write(self, kind: str, *fields: object) -> None:
        """Append one record, stamped now."""
        line = "\t".join((kind, f"{time.monotonic():.6f}", *map(str, fields)))
        os.write(self._file, line.encode() + b"\n")

    def close(self) -> None:
        """Give the file back."""
        os.close(self._file)


class Expulsions(logging.Handler):
    """Notes when the transport says that its partitions were lost: the group took it for dead."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Note one."""
        if record.msg.startswith("group %s: lost"):
            self._journal.write("expelled")


@dataclass(frozen=True, slots=True)
class Record:
    """One line, and the name of the file it is in."""

    who: str
    kind: str
    at: float
    fields: tuple[str, ...]


def read(folder: Path) -> Iterator[Record]:
    """Every whole record of every journal in a folder."""
    for path in sorted(folder.iterdir()):
        for line in path.read_text(encoding="utf-8").split("\n")[:-1]:
            kind, at, *fields = line.split("\t")
            yield Record(path.name, kind, float(at), tuple(fields))


def count(folder: Path, kind: str) -> int:
    """How many records of a kind there are."""
    prefix = f"{kind}\t".encode()
    return sum(
        path.read_bytes().count(b"\n" + prefix) + path.read_bytes().startswith(prefix) for path in folder.iterdir()
    )
