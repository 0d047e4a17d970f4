"""How far an operation is, in a line; and watching it to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import click

from service.cli.api_client import Api

FAILED_AGAIN, HALTED = 5, 6
_LOOK_SECONDS = 1.0
_UNDER_WAY = ("canary", "running")


def summary(operation: Mapping[str, Any]) -> str:
    """One line for people."""
    progress = operation["progress"]
    told = f"{operation['state']}, {progress['total']:,} in all: {progress['succeeded']:,} succeeded"
    for name, what in (("failedAgain", "failed again"), ("skipped", "left out"), ("sent", "under way")):
        if progress[name]:
            told += f", {progress[name]:,} {what}"
    if progress["pending"]:
        left = progress["secondsLeft"]
        told += f", {progress['pending']:,} to be sent" + (f" in about {left:.0f} s" if left is not None else "")
    if operation["stateReason"]:
        told += f" ({operation['stateReason']})"
    return told


def follow(api: Api, operation: Mapping[str, Any], *, quiet: bool, sleep: Callable[[float], None] = time.sleep) -> Any:
    """Show progress on stderr until nothing is under way; the operation as it is then."""
    path = f"/dlq/operations/{operation['operationId']}"
    shown = ""
    while not _is_over(operation):
        shown = _show(operation, shown, quiet)
        sleep(_LOOK_SECONDS)
        operation = api.call(path)
    if shown and sys.stderr.isatty():
        click.echo(err=True)
    return operation


def exit_code(operation: Mapping[str, Any]) -> int:
    """What a script is told of an operation that was followed."""
    if operation["state"] != "finished":
        return HALTED
    return FAILED_AGAIN if operation["progress"]["failedAgain"] else 0


def _is_over(operation: Mapping[str, Any]) -> bool:
    return operation["state"] not in _UNDER_WAY and not operation["progress"]["sent"]


def _show(operation: Mapping[str, Any], before: str, quiet: bool) -> str:
    """In a terminal one line that changes; elsewhere a line whenever something has changed."""
    told = summary(operation)
    if quiet or told == before:
        return told
    if sys.stderr.isatty():
        click.echo("\r\x1b[K" + told, nl=False, err=True)
    else:
        click.echo(told, err=True)
    return told
