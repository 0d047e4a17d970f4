"""`sentinai dlq clusters`: dead letters by cause, of one tenant or, for administrators, of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import click

from service.api import presenting_dead_letters as presenting
from service.api.dead_letter_schemas import DeadLetterCriteria
from service.cli.administration import administering
from service.cli.api_client import Api
from service.cli.dlq.criteria import as_query, criteria_options
from service.cli.printing import json_option, print_json, print_table
from service.persistence import dead_letters

_COLUMNS = ("signature", "count", "stage", "errorClass", "tool", "firstSeen", "lastSeen", "last24Hours", "pattern")
_BARS = " ▁▂▃▄▅▆▇█"
_LONGEST_PATTERN = 70
_SORTS = ("count", "lastSeen")


@click.command(
    epilog="\b\nExamples:\n  sentinai dlq clusters\n  sentinai dlq clusters --stage tool --sort lastSeen\n"
    "  sentinai dlq clusters --all-tenants --json"
)
@criteria_options
@click.option("--sort", type=click.Choice(_SORTS), default="count", show_default=True)
@click.option("--limit", default=50, show_default=True, help="At most so many (200).")
@click.option("--all-tenants", is_flag=True, help="As an administrator, on the database of DATABASE_URL.")
@json_option
@click.pass_obj
def clusters(api: Api, criteria: dict[str, Any], sort: str, limit: int, all_tenants: bool, as_json: bool) -> None:
    """Show what failed of the same cause together: how many, since when, and how it goes."""
    if all_tenants:
        answer: Mapping[str, Any] = {"items": _of_all(criteria, sort, limit), "nextCursor": None}
    else:
        answer = api.call("/dlq/clusters?" + urlencode({**as_query(criteria), "sort": f"-{sort}", "limit": limit}))
    if as_json:
        print_json(answer)
        return
    print_table(_rows(answer["items"]), (*_COLUMNS, *(("tenants",) if all_tenants else ())), "no dead letters")


def _of_all(criteria: Mapping[str, Any], sort: str, limit: int) -> list[dict[str, Any]]:
    """Clusters over every tenant, each with the tenants it concerns and how many of each."""
    try:
        wanted = DeadLetterCriteria.model_validate(dict(criteria)).as_filter()
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    order: dead_letters.ClusterOrder = "count" if sort == "count" else "lastSeen"
    with administering() as transaction:
        rows = dead_letters.clusters(
            transaction, None, wanted, order=order, after=None, now=datetime.now(UTC), limit=min(max(limit, 1), 200)
        )
    return [{**presenting.cluster(row).model_dump(mode="json", by_alias=True), "tenants": row.tenants} for row in rows]


def _rows(clusters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {
            **one,
            "last24Hours": _bars(one["trend"]["counts"]),
            "pattern": _short(one["pattern"]),
            "tenants": ", ".join(f"{tenant} {count}" for tenant, count in sorted(one.get("tenants", {}).items())),
        }
        for one in clusters
    ]


def _bars(counts: Sequence[int]) -> str:
    """Numbers as bars, the largest of them the highest."""
    most = max(counts, default=0)
    return "".join(_BARS[0 if not count else max(1, round(count / most * 8))] for count in counts)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_PATTERN else text[: _LONGEST_PATTERN - 1] + "…"
