"""What the commands about pauses share: what a switch is about, who throws it, until when, and how it is shown."""

from __future__ import annotations

import getpass
import re
import socket
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from service.cli.printing import print_json, print_table
from service.domain.exceptions import Stage
from service.domain.pauses import Pause

COLUMNS = ("pauseId", "what", "by", "pausedAt", "until", "reason", "resumedAt", "resumedBy")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Length(click.ParamType[Any]):
    """A length of time like 90, 30s, 15m, 2h or 1d; seconds as a float."""

    name = "length"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See the class."""
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value)
        if not match or float(match[1]) == 0:
            self.fail(f"{value!r} is no length of time: 90, 30s, 15m, 2h and 1d are", param, ctx)
        return float(match[1]) * _UNITS[match[2] or "s"]


class Moment(click.ParamType[Any]):
    """A time as ISO 8601; one without an offset is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """See the class."""
        if isinstance(value, datetime):
            return value
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time: 2026-12-31T18:00:00Z is", param, ctx)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


STAGE = click.Choice([stage.queue for stage in Stage])
by_option = click.option("--by", default=lambda: f"{getpass.getuser()}@{socket.gethostname()}", help="Who you are.")


def stage_of(name: str | None) -> Stage | None:
    """The stage of a queue's name."""
    return None if name is None else Stage[name.upper()]


def ends_at(until: datetime | None, length: float | None) -> datetime | None:
    """When a pause ends by itself. Raises UsageError for two answers, or a time that is past."""
    if until is not None and length is not None:
        raise click.UsageError("--until and --for say the same thing: give one of them")
    if length is not None:
        return datetime.now(UTC) + timedelta(seconds=length)
    if until is not None and until <= datetime.now(UTC):
        raise click.UsageError(f"--until {until.isoformat()} is past")
    return until


def document(pause: Pause) -> dict[str, Any]:
    """A pause for scripts."""
    return {
        "pauseId": str(pause.pause_id),
        "scope": pause.scope.value,
        "tenantId": pause.tenant_id,
        "tool": pause.tool,
        "stage": None if pause.stage is None else pause.stage.queue,
        "reason": pause.reason,
        "until": pause.until,
        "byPlatform": pause.by_platform,
        "pausedAt": pause.paused_at,
        "pausedBy": pause.paused_by,
        "resumedAt": pause.resumed_at,
        "resumedBy": pause.resumed_by,
        "resumeReason": pause.resume_reason,
    }


def show(pauses: list[Pause], *, as_json: bool, nothing: str) -> None:
    """Pauses on stdout."""
    if as_json:
        print_json([document(pause) for pause in pauses])
        return
    rows = [{**document(pause), "what": pause.what, "by": pause.paused_by} for pause in pauses]
    print_table(rows, COLUMNS, nothing)
