"""What a body may be before its content is looked at: its size, its form, its depth, its number of keys.

The common case costs a scan of the bytes and a look at each container; places are only searched for when
there is something to complain about.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import orjson
from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge

from service.api.problems import INVALID, NOT_JSON, UNSUPPORTED_MEDIA_TYPE, ProblemError
from service.domain.packs.faults import Fault, path_of

MAX_BODY_BYTES = 1024 * 1024
READ_AT_MOST = MAX_BODY_BYTES + 1
"""What the WSGI stream is cut off at: of a body without a length, one byte too many tells that it is too large."""
MAX_DEPTH = 32
"""Containers within containers, the body itself being the first."""
MAX_KEYS = 10_000
"""Object members, all levels together."""

_LONG_NUMBER = b"0" * 19
_ZEROED = bytes.maketrans(b"123456789", b"000000000")
"""Every digit a zero: then a long number is found by a search for bytes, ten times as fast as by a pattern."""
_NUL_ESCAPE = rb"\u0000"
_SMALLEST, _GREATEST = -(2**63), 2**64 - 1
_Path = tuple[str | int, ...]


class _OutOfRange:
    """Stands where a body has an integer that does not fit into 64 bits."""


_OUT_OF_RANGE: Final = _OutOfRange()


def read_body(request: Request, media_types: tuple[str, ...]) -> bytes:
    """The body's bytes, if it is of one of these media types. Raises ProblemError 415, RequestEntityTooLarge."""
    if request.mimetype not in media_types:
        given = request.mimetype or "none"
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, f"the body's media type is {given}; send {' or '.join(media_types)}")
    encoding = request.headers.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise ProblemError(UNSUPPORTED_MEDIA_TYPE, f"the body is encoded as {encoding}; send it plain")
    body = request.get_data(cache=False)
    if len(body) > MAX_BODY_BYTES:
        raise RequestEntityTooLarge
    return body


@dataclass(frozen=True, slots=True)
class Parsed:
    """A body's value, and whether it may hold something that cannot be stored as it is."""

    value: Any
    suspicious: bool

    def check(self, part: Any) -> None:
        """Refuse a part of the value (or all) that is too deep, too wide or not storable. Raises ProblemError 422."""
        check_structure(part)
        if self.suspicious:
            check_storable(part)


def parse(body: bytes) -> Parsed:
    """Read JSON; `Parsed.check` must follow, for the whole or item by item. Raises ProblemError 400.

    Of a repeated key the last value counts, as in PostgreSQL.
    """
    try:
        value = orjson.loads(body)
        long_numbers = _LONG_NUMBER in body.translate(_ZEROED)
        if long_numbers:
            value = json.loads(body, parse_int=_integer)
    except RecursionError:
        raise too_deep() from None
    except orjson.JSONDecodeError as error:
        if "depth limit" in str(error):
            raise too_deep() from None
        raise ProblemError(NOT_JSON, f"the body is not JSON: {error}") from None
    return Parsed(value, suspicious=long_numbers or _NUL_ESCAPE in body)


def check_structure(value: Any) -> None:
    """Depth and number of keys. Raises ProblemError 422."""
    keys = 0
    level = [value] if type(value) in (dict, list) else []
    for _ in range(MAX_DEPTH):
        below = []
        for container in level:
            if type(container) is dict:
                keys += len(container)
                below += [v for v in container.values() if type(v) is dict or type(v) is list]
            else:
                below += [v for v in container if type(v) is dict or type(v) is list]
        if not below:
            break
        level = below
    else:
        raise too_deep()
    if keys > MAX_KEYS:
        raise ProblemError(INVALID, f"{keys:,} keys; at most {MAX_KEYS:,} are taken", [Fault("", "too many keys")])


def check_storable(value: Any) -> None:
    """Refuse what would not come back as it was sent. Raises ProblemError 422 with every place."""
    faults = [Fault(path_of(path), message) for path, leaf in _leaves(value) if (message := _unstorable(leaf))]
    if faults:
        raise ProblemError(INVALID, "the content has values that cannot be stored as they are", faults)


def _unstorable(leaf: Any) -> str | None:
    if isinstance(leaf, str) and "\x00" in leaf:
        return "must not contain the NUL character (\\u0000)"
    if leaf is _OUT_OF_RANGE:
        return "is an integer beyond 64 bits and would be rounded; send it as a string"
    return None


def _integer(digits: str) -> int | _OutOfRange:
    if len(digits) > 20:
        return _OUT_OF_RANGE
    number = int(digits)
    return number if _SMALLEST <= number <= _GREATEST else _OUT_OF_RANGE


def too_deep() -> ProblemError:
    """The refusal of a body that is nested too deep."""
    return ProblemError(INVALID, f"nested deeper than {MAX_DEPTH} levels", [Fault("", "too deep")])


def _leaves(root: Any) -> Iterator[tuple[_Path, Any]]:
    """Every key and every scalar with its place, in no particular order. A key's place is that of its value."""
    pending: list[tuple[_Path, Any]] = [((), root)]
    while pending:
        path, value = pending.pop()
        if isinstance(value, dict):
            for key, member in value.items():
                here = (*path, key)
                yield here, key
                pending.append((here, member))
        elif isinstance(value, list):
            pending.extend(((*path, index), member) for index, member in enumerate(value))
        else:
            yield path, value
