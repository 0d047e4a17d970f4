"""`sentinai tenants`: create and list the installation's tenants."""

from __future__ import annotations

import click

from service.cli.administration import administering
from service.cli.printing import json_option, print_json, print_table
from service.persistence.administration import Tenant, create_tenant, list_tenants


@click.group()
def command() -> None:
    """Create and list tenants. Works on the database that DATABASE_URL names."""


@command.command(
    epilog="\b\nExamples:\n  sentinai tenants create ACME --name 'Acme Ltd'\n  sentinai tenants create T1 --json"
)
@click.argument("tenant_id")
@click.option("--name", help="What people call it.  [default: the id]")
@json_option
def create(tenant_id: str, name: str | None, as_json: bool) -> None:
    """Add a tenant. TENANT_ID is 1 to 64 letters, digits, - and _."""
    with administering() as transaction:
        tenant = create_tenant(transaction, tenant_id, name or tenant_id)
    if as_json:
        print_json(_shown(tenant))
    else:
        click.echo(f"tenant {tenant_id} is there; next: sentinai keys create {tenant_id} --role admin")


@command.command(
    "list", epilog="\b\nExamples:\n  sentinai tenants list\n  sentinai tenants list --json | jq -r '.[].tenantId'"
)
@json_option
def list_(as_json: bool) -> None:
    """Show all tenants."""
    with administering() as transaction:
        shown = [_shown(tenant) for tenant in list_tenants(transaction)]
    if as_json:
        print_json(shown)
    else:
        print_table(shown, ("tenantId", "name", "createdAt"), "there are no tenants; sentinai tenants create ID")


def _shown(tenant: Tenant) -> dict[str, object]:
    return {"tenantId": tenant.tenant_id, "name": tenant.name, "createdAt": tenant.created_at}
