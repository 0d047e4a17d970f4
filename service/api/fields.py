"""The types of fields that bodies and queries of many calls have: names, notes, points in time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, StringConstraints

Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]
Note = Annotated[str, StringConstraints(min_length=1, max_length=10_000, pattern=r"\S")]


def _text_only(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise ValueError("must be a text like 2026-01-31T12:00:00Z")
    return value


def _in_range(value: datetime) -> datetime:
    if not _EARLIEST <= value <= _LATEST:
        raise ValueError("must lie between 1970 and 9000")
    return value


_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)
"""Far enough from what Python and PostgreSQL can hold that no change of time zone gets there."""
Moment = Annotated[
    AwareDatetime, BeforeValidator(_text_only, json_schema_input_type=datetime), AfterValidator(_in_range)
]
"""A point in time with its offset from UTC."""
