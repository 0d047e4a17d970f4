"""Lists over HTTP: the query string as a model, pages, and the cursors between them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, TypeVar, get_origin
from uuid import UUID

from flask import request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from service.api.limits import check_storable
from service.api.problems import INVALID, ProblemError, invalid
from service.domain.packs.faults import Fault

DEFAULT_LIMIT = 50
LARGEST_LIMIT = 200
LONGEST_SEARCH = 100
_M = TypeVar("_M", bound=BaseModel)
_R = TypeVar("_R")


def _split(value: object) -> object:
    """Several values of one parameter: repeated, or with commas."""
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list):
        return value
    return [part.strip() for text in value for part in str(text).split(",") if part.strip()]


Several = BeforeValidator(_split)
"""Of a list: given repeatedly, or with commas."""
Search = Annotated[str, Field(min_length=1, max_length=LONGEST_SEARCH)]


class NoParameters(BaseModel):
    """Of a call that has none."""

    model_config = ConfigDict(extra="forbid")


class Paging(BaseModel):
    """How much of a list, and from where."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")

    limit: int = Field(default=DEFAULT_LIMIT, ge=1, le=LARGEST_LIMIT)
    cursor: str | None = Field(default=None, max_length=200)


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a page ended: the list it belongs to, and the last row's place in it."""

    of: str
    after: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(f"{self.of} {self.after}".encode()).decode().rstrip("=")


def parameters(model: type[_M]) -> _M:
    """The query string as a model. Raises ProblemError 422."""
    lists = {field.alias or name for name, field in model.model_fields.items() if get_origin(field.annotation) is list}
    given = {name: values if name in lists else values[-1] for name, values in request.args.to_dict(flat=False).items()}
    check_storable(given)
    try:
        return model.model_validate(given)
    except ValidationError as error:
        raise invalid(error) from None


def page(rows: Sequence[_R], wanted: Paging, of: str, *columns: str) -> tuple[Sequence[_R], str | None]:
    """The page's rows, and where the next one begins if there is more. `columns` are a row's place in the list."""
    if len(rows) <= wanted.limit:
        return rows, None
    items = rows[: wanted.limit]
    return items, str(_Cursor(of, "_".join(_written(getattr(items[-1], column)) for column in columns)))


def after(wanted: Paging, of: str) -> str | None:
    """The place that the request's cursor names. Raises ProblemError 422 for one that this list did not give."""
    if wanted.cursor is None:
        return None
    try:
        padded = wanted.cursor + "=" * (-len(wanted.cursor) % 4)
        list_name, place = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split(" ")
    except (binascii.Error, ValueError):
        raise wrong_cursor() from None
    if list_name != of:
        raise wrong_cursor()
    return place


def place_id(text: str) -> UUID:
    """An id out of a cursor. Raises ProblemError 422."""
    try:
        return UUID(text)
    except ValueError:
        raise wrong_cursor() from None


def place_number(text: str) -> int:
    """A number out of a cursor. Raises ProblemError 422."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise wrong_cursor()
    return int(text)


def wrong_cursor() -> ProblemError:
    """What is said of a cursor that the list did not give."""
    message = "is not a nextCursor that this list gave with this sort"
    return ProblemError(INVALID, f"the cursor {message}", [Fault("cursor", message)])


def _written(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
