"""From a document to a pack, or to everything that is wrong with it in one answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from service.domain.packs.checking import checks
from service.domain.packs.checking.checks import NOWHERE, Surroundings
from service.domain.packs.dialects.normalisation import Normalised, normalise
from service.domain.packs.faults import Fault, PackInvalidError, path_of
from service.domain.packs.forms import form_faults
from service.domain.packs.models import DomainPack, TenantPack
from service.domain.packs.parts import Part
from service.domain.packs.reading.documents import PackDocument, PackKind
from service.domain.packs.variables import resolve_endpoints

_P = TypeVar("_P", bound=Part)

_FOR_EDITORS = path_of(("$schema",))
"""Where a pack says which schema its editor should use: no key of the format, and not odd either."""


def parse_domain_pack(document: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> DomainPack:
    """Read a domain pack in any dialect. `variables` are the operator's values for `${…}` in endpoints.

    What is odd but harmless (unknown keys, rules that never match) is in the pack's `warnings`. Paths are those of
    the document as it was written. Raises PackInvalidError with every fault.
    """
    normal = normalise(document, PackKind.DOMAIN)
    resolved, faults = resolve_endpoints(normal.document, variables or {})
    faults += _told(checks.domain_faults, resolved)
    pack = _read(DomainPack, resolved, PackKind.DOMAIN, faults, normal)
    return _with_warnings(pack, checks.domain_warnings(resolved), normal)


def parse_tenant_pack(
    document: Mapping[str, Any], domain: DomainPack | None = None, variables: Mapping[str, str] | None = None
) -> TenantPack:
    """Read a tenant pack; with its domain pack at hand, references into the domain are checked too.

    Dialects, variables, warnings and errors as for a domain pack.
    """
    around = NOWHERE if domain is None else Surroundings.of_pack(domain)
    normal = normalise(document, PackKind.TENANT)
    resolved, faults = resolve_endpoints(normal.document, variables or {}, "toolOverrides")
    faults += _told(lambda read: checks.tenant_faults(read, around), resolved)
    pack = _read(TenantPack, resolved, PackKind.TENANT, faults, normal)
    return _with_warnings(pack, checks.tenant_warnings(resolved, around), normal)


def parse_document(
    read: PackDocument, domain: DomainPack | None = None, variables: Mapping[str, str] | None = None
) -> DomainPack | TenantPack:
    """Read a pack of either kind from its text: as above, with lines in every fault and warning."""
    try:
        if read.kind is PackKind.DOMAIN:
            pack: DomainPack | TenantPack = parse_domain_pack(read.document, variables)
        else:
            pack = parse_tenant_pack(read.document, domain, variables)
    except PackInvalidError as error:
        raise PackInvalidError(read.kind.value, read.located(error.faults)) from error
    pack._warnings = read.located(pack.warnings)
    return pack


def _read(model: type[_P], document: Any, kind: PackKind, faults: list[Fault], normal: Normalised) -> _P:
    try:
        pack = model.model_validate(document)
    except ValidationError as error:
        faults = [*form_faults(error), *faults]
    told = (*normal.faults, *normal.at_origin(faults))
    if told:
        raise PackInvalidError(kind.value, told)
    return pack


def _told(check: Any, document: Any) -> list[Fault]:
    return list(check(document)) if isinstance(document, Mapping) else []


def _with_warnings(pack: _P, warnings: Iterable[Fault], normal: Normalised) -> _P:
    unknown = [fault for fault in checks.unknown_keys(pack) if fault.path != _FOR_EDITORS]
    pack._warnings = (*normal.warnings, *normal.at_origin((*unknown, *warnings)))
    return pack
