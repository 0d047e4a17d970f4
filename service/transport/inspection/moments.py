"""How times are told to people and scripts. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def moment(at: datetime | None) -> str | None:
    """A time in UTC, ISO 8601."""
    return None if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def age(since: datetime | None, now: datetime) -> str | None:
    """How long ago something was; None when it never was."""
    return None if since is None else span((now - since).total_seconds())


def span(seconds: float) -> str:
    """A length of time in the two largest units that apply."""
    left, told = max(0, round(seconds)), list[str]()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or told or unit == "s":
            told.append(f"{count}{unit}")
    return " ".join(one for at, one in enumerate(told[:2]) if at == 0 or not one.startswith("0"))
