"""`sentinai packs`: check pack files, run their own tests, and make them a tenant's."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import yaml

from service.cli.administration import administering, json_option, print_json, print_table
from service.domain.pack_suites import CaseResult, run_suites
from service.domain.packs import (
    DomainPack,
    Fault,
    PackInvalidError,
    TenantPack,
    parse_domain_pack,
    parse_tenant_pack,
)
from service.domain.packs.parts import VARIABLE
from service.errors import PermanentError
from service.persistence.administration import require_tenant
from service.persistence.packs import TENANT_PACK, PackKind, activate_pack, list_packs, put_pack
from service.settings import load_settings

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class PackUnreadableError(PermanentError):
    """A pack file is not a pack document at all."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")


class _PlainLoader(yaml.SafeLoader):
    """YAML as JSON would say it: what looks like a date stays a text."""


_PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


@dataclass(frozen=True, slots=True)
class _PackFile:
    """A pack document and where it came from."""

    path: Path
    kind: PackKind
    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The name it is stored under."""
        return TENANT_PACK if self.kind is PackKind.TENANT else str(self.document["domainName"])


@click.group()
def command() -> None:
    """Validate, test, load and list packs (JSON or YAML)."""


@command.command(
    epilog="\b\nExamples:\n  sentinai packs validate my.domain.yaml\n"
    "  sentinai packs validate my.domain.json my.tenant.json --json"
)
@click.argument("files", type=_FILE, nargs=-1, required=True)
@json_option
def validate(files: tuple[Path, ...], as_json: bool) -> None:
    """Check packs and name every fault. A tenant pack is checked against its domain pack if that is given too."""
    packs = [_read(path) for path in files]
    told = [{"file": str(pack.path), "kind": pack.kind, **_verdict(pack, packs)} for pack in packs]
    if as_json:
        print_json(told)
    else:
        for one in told:
            click.echo(f"{one['file']}: {one['kind']} pack, {'valid' if one['valid'] else 'NOT VALID'}")
            for label in ("faults", "warnings"):
                for fault in one[label]:
                    click.echo(f"  {label[:-1]}: {fault['path'] or '(the document)'}: {fault['message']}")
    if not all(one["valid"] for one in told):
        raise SystemExit(1)


@command.command(
    epilog="\b\nExamples:\n  sentinai packs load --tenant ACME trading.domain.json acme.tenant.json\n"
    "  sentinai packs load --tenant ACME trading.domain.json --no-activate"
)
@click.option("--tenant", "tenant_id", required=True, help="Whose packs they become.")
@click.argument("files", type=_FILE, nargs=-1, required=True)
@click.option("--activate/--no-activate", default=True, show_default=True, help="Decide new exceptions with them.")
@json_option
def load(tenant_id: str, files: tuple[Path, ...], activate: bool, as_json: bool) -> None:
    """Store packs as new versions and activate them, all or none. The same content again stays the same version."""
    packs = [_read(path) for path in files]
    known = load_settings(os.environ).pack_variables
    for pack in packs:
        placeholders = _placeholders(pack.document)
        _parse(pack, packs, {**placeholders, **known})
        for name in sorted(placeholders.keys() - known.keys()):
            click.echo(f"{pack.path}: workers need a value for ${{{name}}} in SENTINAI_PACK_VARIABLES", err=True)
        if pack.kind is PackKind.TENANT and pack.document["tenantId"] != tenant_id:
            raise PackUnreadableError(pack.path, f"is the pack of tenant {pack.document['tenantId']!r}")
    shown = []
    with administering() as transaction:
        require_tenant(transaction, tenant_id)
        for pack in packs:
            stored = put_pack(transaction, tenant_id, pack.kind, pack.name, pack.document, by="cli")
            if activate:
                activate_pack(transaction, tenant_id, pack.kind, pack.name, stored.version, datetime.now(UTC))
            active = activate or stored.active
            shown.append(
                {
                    "kind": pack.kind,
                    "name": pack.name,
                    "version": stored.version,
                    "new": stored.created,
                    "active": active,
                }
            )
    if as_json:
        print_json(shown)
    else:
        print_table(shown, ("kind", "name", "version", "new", "active"), "no packs")


@command.command("list", epilog="\b\nExamples:\n  sentinai packs list\n  sentinai packs list --tenant ACME --json")
@click.option("--tenant", help="Only this tenant's.")
@json_option
def list_(tenant: str | None, as_json: bool) -> None:
    """Show every version of every pack."""
    with administering() as transaction:
        entries = list_packs(transaction, tenant)
    shown = [
        {
            "tenantId": entry.tenant_id,
            "kind": entry.kind,
            "name": entry.name,
            "version": entry.version,
            "active": entry.active,
            "createdAt": entry.created_at,
            "createdBy": entry.created_by,
            "contentHash": entry.content_hash,
        }
        for entry in entries
    ]
    if as_json:
        print_json(shown)
    else:
        print_table(shown, ("tenantId", "kind", "name", "version", "active", "createdAt"), "there are no packs")


@command.command(
    epilog="\b\nExamples:\n  sentinai packs test trading.domain.json\n"
    "  sentinai packs test trading.domain.json --with acme.tenant.json --json"
)
@click.argument("file", type=_FILE)
@click.option("--with", "tenant_file", type=_FILE, help="The tenant pack to decide with.")
@json_option
def test(file: Path, tenant_file: Path | None, as_json: bool) -> None:
    """Run a domain pack's testSuites, case by case. Exit code 1 when one fails."""
    packs = [_read(path) for path in (file, tenant_file) if path is not None]
    parsed = [_parse(pack, packs, _placeholders(pack.document)) for pack in packs]
    domain, tenant = parsed[0], parsed[1] if len(parsed) > 1 else None
    if not isinstance(domain, DomainPack) or (tenant is not None and not isinstance(tenant, TenantPack)):
        raise click.UsageError("FILE is a domain pack, and --with a tenant pack")
    results = run_suites(domain, datetime.now(UTC), tenant)
    if as_json:
        print_json([_result(result) for result in results])
    else:
        for result in results:
            click.echo(f"{'pass' if result.passed else 'FAIL'}  {result.name}")
            for miss in result.mismatches:
                click.echo(f"        {miss.key}: expected {miss.expected!r}, the pack says {miss.actual!r}")
        click.echo(f"{sum(result.passed for result in results)} of {len(results)} cases pass")
    if not all(result.passed for result in results):
        raise SystemExit(1)


def _read(path: Path) -> _PackFile:
    """A file's document. Raises PackUnreadableError."""
    try:
        text = path.read_text("utf-8")
        document = json.loads(text) if path.suffix == ".json" else _yaml(text)
    except (yaml.YAMLError, ValueError) as error:
        raise PackUnreadableError(path, f"neither JSON nor YAML: {error}") from error
    if not isinstance(document, dict):
        raise PackUnreadableError(path, "a pack is one object with names and values")
    kind = PackKind.TENANT if "tenantId" in document else PackKind.DOMAIN
    return _PackFile(path, kind, document)


def _yaml(text: str) -> Any:
    return yaml.load(text, Loader=_PlainLoader)  # noqa: S506 - a SafeLoader with less


def _parse(pack: _PackFile, given: Sequence[_PackFile], variables: Mapping[str, str]) -> DomainPack | TenantPack:
    """The pack, checked; a tenant pack against the domain pack given with it. Raises PackInvalidError."""
    if pack.kind is PackKind.DOMAIN:
        return parse_domain_pack(pack.document, variables)
    named = pack.document.get("domainName")
    domains = [one for one in given if one.kind is PackKind.DOMAIN and one.document.get("domainName") == named]
    domain = parse_domain_pack(domains[0].document, _placeholders(domains[0].document)) if domains else None
    return parse_tenant_pack(pack.document, domain)


def _verdict(pack: _PackFile, given: Sequence[_PackFile]) -> dict[str, Any]:
    try:
        parsed = _parse(pack, given, _placeholders(pack.document))
    except PackInvalidError as error:
        return {"valid": False, "faults": _told(error.faults), "warnings": []}
    return {"valid": True, "faults": [], "warnings": _told(parsed.warnings)}


def _told(faults: Sequence[Fault]) -> list[dict[str, str]]:
    return [{"path": fault.path, "message": fault.message} for fault in faults]


def _placeholders(document: Mapping[str, Any]) -> dict[str, str]:
    """A value for every variable: whether the operator gives one is not the file's fault."""
    return dict.fromkeys(VARIABLE.findall(str(document)), "https://variable.invalid")


def _result(result: CaseResult) -> dict[str, Any]:
    return {
        "path": result.path,
        "name": result.name,
        "passed": result.passed,
        "mismatches": [
            {"key": miss.key, "expected": miss.expected, "actual": miss.actual} for miss in result.mismatches
        ],
    }
