"""`sentinai packs list`, `show` and `history`: what there is, and how it came to be."""

from __future__ import annotations

import os
from typing import Any

import click
import yaml

from service.cli.administration import administering
from service.cli.packs.places import Json, key_of, place_options, the_place
from service.cli.printing import json_option, print_json, print_table
from service.persistence.administration import list_tenants

_COLUMNS = ("tenantId", "kind", "name", "version", "state", "createdAt", "createdBy")


@click.command(
    "list",
    epilog="\b\nExamples:\n  sentinai packs list\n  sentinai packs list --tenant ACME --json\n"
    "  sentinai packs list --url https://sentinai.example --key $KEY",
)
@place_options
@json_option
def list_(as_json: bool, **where: Any) -> None:
    """Show every version of every pack, and which are drafts, scheduled, active or retired."""
    if where["tenant"] or (where["url"] and where["key"]):
        shown = [{"tenantId": where["tenant"], **one} for one in the_place(**where).versions()]
    else:
        shown = _of_all_tenants()
    if as_json:
        print_json(shown)
    else:
        columns = _COLUMNS if all(one["tenantId"] for one in shown) else _COLUMNS[1:]
        print_table(shown, columns, "there are no packs")


@click.command(
    epilog="\b\nExamples:\n  sentinai packs show --tenant ACME Trading\n"
    "  sentinai packs show --tenant ACME Trading --version 3 --document > trading.domain.yaml\n"
    "  sentinai packs show --url https://sentinai.example --key $KEY tenant --json"
)
@click.argument("name")
@click.option("--version", type=click.IntRange(1), help="Which.  [default: the newest]")
@click.option("--document", is_flag=True, help="Only the document, as YAML.")
@place_options
@json_option
def show(name: str, version: int | None, document: bool, as_json: bool, **where: Any) -> None:
    """Show one version of pack NAME (`tenant`: the tenant's own)."""
    told = the_place(**where).show(key_of(name), version)
    if as_json:
        print_json(told["document"] if document else told)
        return
    if not document:
        tests = told["test"]
        told["tests"] = f"{tests['passed']} pass, {tests['failed']} fail" if tests else "not run"
        for member in ("kind", "name", "version", "state", "createdAt", "createdBy", "comment", "tests"):
            click.echo(f"# {member}: {told[member]}")
    click.echo(yaml.safe_dump(told["document"], sort_keys=False, allow_unicode=True), nl=False)


@click.command(
    epilog="\b\nExamples:\n  sentinai packs history --tenant ACME Trading\n"
    "  sentinai packs history --url https://sentinai.example --key $KEY tenant --json"
)
@click.argument("name")
@place_options
@json_option
def history(name: str, as_json: bool, **where: Any) -> None:
    """Show who activated which version of pack NAME when and why, newest first."""
    shown = the_place(**where).history(key_of(name))
    if as_json:
        print_json(shown)
    else:
        columns = ("number", "action", "version", "effectiveAt", "recordedBy", "comment", "forced")
        print_table(shown, columns, "it was never activated")


def _of_all_tenants() -> list[Json]:
    from service.cli.packs.direct import DirectPlace

    with administering() as transaction:
        tenants = [tenant.tenant_id for tenant in list_tenants(transaction)]
    return [{"tenantId": tenant, **one} for tenant in tenants for one in DirectPlace(os.environ, tenant).versions()]
