"""Backtests over HTTP: as one answer, or as a stream that tells how far it is."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from flask import Blueprint, Response, request
from pydantic import ValidationError

from service.api import pack_schemas as schemas
from service.api.auth import Role
from service.api.context import answer, caller_with, services
from service.api.pack_bodies import JSON, command_body
from service.api.paging import Paging
from service.api.problems import INVALID, NOT_FOUND, ProblemError, invalid
from service.api.views.packs import newest_of, of_a_pack, transaction_of
from service.domain.packs import Fault
from service.engine.backtest import Asked, Running, finish
from service.engine.pack_backtest import Backtester
from service.engine.pack_pairs import PackKey
from service.errors import SentinaiError
from service.persistence import packs as stored
from service.persistence.packs import ReportKey

blueprint = Blueprint("backtests", __name__, url_prefix="/packs")

STREAM = "application/x-ndjson"
"""A caller who accepts it gets a line of progress after each chunk, and the report as the last one."""
_CURSOR = re.compile(r"differences-(\d{1,6})")
_log = logging.getLogger(__name__)


@of_a_pack("/backtest", "POST", blueprint)
def backtest(key: PackKey) -> Response:
    """Decide the last exceptions again with a version, without any effect; the report is kept with it."""
    caller = caller_with(Role.OPERATOR)
    wanted = command_body(schemas.PackBacktest)
    with transaction_of(caller) as transaction:
        version = wanted.version or newest_of(transaction, caller, key)
    parts = services()
    backtester = Backtester(parts.engine, caller.tenant_id, caller.name, parts.now(), parts.settings.pack_variables)
    asked = Asked(caller.tenant_id, wanted.limit, wanted.exception_type)
    running = backtester.of_version(key, version, wanted.other_version, asked)
    if request.accept_mimetypes.best_match([JSON, STREAM]) == STREAM:
        return Response(_lines(running, wanted.differences), content_type=STREAM)
    with transaction_of(caller):
        report = finish(running)
    return answer(_shown(report, 0, wanted.differences))


@of_a_pack("/versions/<int:version>/backtest", "GET", blueprint)
def kept_backtest(key: PackKey, version: int) -> Response:
    """The last backtest of a version, its differences in pages."""
    caller = caller_with(Role.OPERATOR)
    wanted, start = _page()
    with transaction_of(caller) as transaction:
        kept = stored.get_report(transaction, caller.tenant_id, ReportKey(key.kind, key.name, version, "backtest"))
    if kept is None:
        raise ProblemError(NOT_FOUND, f"version {version} of this pack has not been backtested")
    return answer(_shown(kept.document, start, wanted.limit))


def _lines(running: Running, differences: int) -> Iterator[bytes]:
    """Progress, then the report; a failure on the way is a line too, for the status is sent already."""
    try:
        while True:
            try:
                done, of = next(running)
            except StopIteration as end:
                yield b'{"report":' + _shown(end.value, 0, differences).model_dump_json(by_alias=True).encode() + b"}\n"
                return
            yield orjson.dumps({"progress": {"done": done, "of": of}}) + b"\n"
    except SentinaiError as error:
        _log.warning("a backtest broke off: %s", error)
        yield orjson.dumps({"problem": {"title": "The backtest broke off", "detail": str(error)}}) + b"\n"


def _shown(report: Mapping[str, Any], start: int, limit: int) -> schemas.PackBacktestReport:
    """A report with some of its differences."""
    kept = report["differences"]
    shown = kept[start : start + limit]
    following = start + len(shown)
    more = f"differences-{following}" if following < len(kept) else None
    left_out = report["changed"] - len(shown)
    values = {**report, "differences": shown, "differencesLeftOut": left_out, "nextCursor": more}
    return schemas.PackBacktestReport.model_validate(values, by_alias=True)


def _page() -> tuple[Paging, int]:
    try:
        wanted = Paging.model_validate(request.args.to_dict())
    except ValidationError as error:
        raise invalid(error) from None
    if wanted.cursor is None:
        return wanted, 0
    found = _CURSOR.fullmatch(wanted.cursor)
    if found is None:
        message = "is not a nextCursor that this report gave"
        raise ProblemError(INVALID, f"the cursor {message}", [Fault("cursor", message)])
    return wanted, int(found.group(1))
