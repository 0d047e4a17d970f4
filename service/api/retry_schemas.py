"""What callers see of a retry to come."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from service.errors import ErrorKind


class NextRetry(BaseModel):
    """The next attempt of an exception that failed for now."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", validate_by_name=True)

    at: datetime
    attempt: int = Field(description="Its number, from 1.")
    of: int | None = Field(description="The last attempt there may be, if the following fail in the same way.")
    stage: str
    error: str = Field(description="Why the last attempt failed.")
    error_kind: ErrorKind | None = Field(description="Retry policies are told apart by it.")
    tool: str | None = Field(description="The tool whose call failed.")
