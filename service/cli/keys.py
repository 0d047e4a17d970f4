"""`sentinai keys`: create, list and revoke API keys; move stored payloads to another key."""

from __future__ import annotations

import os
import secrets
import time
from datetime import UTC, datetime
from uuid import UUID, uuid4

import click

from service.cli.administration import administering
from service.cli.printing import json_option, print_json, print_table
from service.keyring import open_sealing
from service.persistence.administration import ApiKey, create_key, key_of, list_keys, revoke_key
from service.persistence.database import Role, open_engine
from service.persistence.rotation import BATCH, Rotation, rotate
from service.settings import load_settings

_KEY_BYTES = 32


@click.group()
def command() -> None:
    """Create, list and revoke API keys. Works on the database that DATABASE_URL names."""


@command.command(
    epilog="\b\nExamples:\n  sentinai keys create ACME --role ingest --name erp\n"
    "  KEY=$(sentinai keys create ACME --role admin --json | jq -r .apiKey)"
)
@click.argument("tenant_id")
@click.option(
    "--role",
    type=click.Choice(["ingest", "operator", "admin"]),
    required=True,
    help="ingest: send and read; operator: also approve, reject, cancel, complete; admin: everything.",
)
@click.option("--name", help="Who will use it; decisions are recorded under this name.  [default: the role]")
@json_option
def create(tenant_id: str, role: str, name: str | None, as_json: bool) -> None:
    """Make a key for a tenant and print it, once: only its hash is stored."""
    secret = key_of(secrets.token_bytes(_KEY_BYTES))
    with administering() as transaction:
        made = create_key(transaction, tenant_id, role, name or role, key=secret, key_id=uuid4())
    if as_json:
        print_json({**_shown(made), "apiKey": secret})
    else:
        click.echo(secret)
        click.echo(f"this is the only time key {made.key_id} is shown; send it as X-API-KEY", err=True)


@command.command("list", epilog="\b\nExamples:\n  sentinai keys list\n  sentinai keys list --tenant ACME --json")
@click.option("--tenant", help="Only this tenant's.")
@json_option
def list_(tenant: str | None, as_json: bool) -> None:
    """Show keys, without the keys themselves."""
    with administering() as transaction:
        shown = [_shown(key) for key in list_keys(transaction, tenant)]
    if as_json:
        print_json(shown)
    else:
        columns = ("keyId", "tenantId", "role", "name", "createdAt", "revokedAt")
        print_table(shown, columns, "there are no keys; sentinai keys create TENANT --role admin")


@command.command(epilog="\b\nExamples:\n  sentinai keys revoke 0f8c0d8e-6a53-4b0e-9c58-0d6f6a2f5a11")
@click.argument("key_id", type=click.UUID)
@json_option
def revoke(key_id: UUID, as_json: bool) -> None:
    """End a key. API processes that have just seen it may take it for five seconds more."""
    with administering() as transaction:
        key = revoke_key(transaction, key_id, datetime.now(UTC))
    if as_json:
        print_json(_shown(key))
    else:
        click.echo(f"key {key_id} of tenant {key.tenant_id} is revoked")


@command.command(
    "rotate-payload",
    epilog="\b\nExamples:\n  sentinai keys rotate-payload\n  sentinai keys rotate-payload --json | jq .resealed",
)
@click.option("--tenant", help="Only this tenant's.  [default: all]")
@click.option("--batch", type=click.IntRange(1, 10_000), default=BATCH, show_default=True, help="Rows at a time.")
@json_option
def rotate_payload(tenant: str | None, batch: int, as_json: bool) -> None:
    """Seal every stored payload with the first key of SENTINAI_PAYLOAD_KEYS.

    Works beside the running fleet, and goes on where an earlier run was broken off. Exit code 1 when something could
    not be opened. Keep the old keys in the setting until this says that nothing failed.
    """
    settings = load_settings(os.environ)
    sealing = open_sealing(settings, os.environ)
    engine = open_engine(settings.database_url, Role.SYSTEM, pool_size=1)
    began = time.monotonic()
    try:
        done = rotate(engine, sealing, _tell, tenant, batch)
    finally:
        engine.dispose()
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        report = {"key": sealing.current, "resealed": done.resealed, "failed": done.failed, "failures": done.named}
        print_json({**report, "seconds": seconds})
    else:
        click.echo(f"{done.resealed} values are sealed with key {sealing.current} now ({seconds:g} s)")
        for one in done.named:
            click.echo(f"left as it was: {one}", err=True)
    if done.failed:
        raise SystemExit(1)


def _tell(done: Rotation) -> None:
    click.echo(f"{done.resealed + done.failed} of {done.to_do}", err=True)


def _shown(key: ApiKey) -> dict[str, object]:
    return {
        "keyId": str(key.key_id),
        "tenantId": key.tenant_id,
        "role": key.role,
        "name": key.name,
        "createdAt": key.created_at,
        "revokedAt": key.revoked_at,
    }
