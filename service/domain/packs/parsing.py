"""From a document to a pack, or to everything that is wrong with it in one answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from service.domain.packs import checks
from service.domain.packs.checks import NOWHERE, Surroundings
from service.domain.packs.faults import Fault, PackInvalidError
from service.domain.packs.forms import form_faults
from service.domain.packs.models import DomainPack, TenantPack
from service.domain.packs.parts import Part
from service.domain.packs.variables import resolve_endpoints

_P = TypeVar("_P", bound=Part)


def parse_domain_pack(document: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> DomainPack:
    """Read a domain pack. `variables` are the operator's values for `${…}` in endpoints.

    What is odd but harmless (unknown keys, rules that never match) is in the pack's `warnings`.
    Raises PackInvalidError with every fault.
    """
    resolved, faults = resolve_endpoints(document, variables or {})
    pack = _read(DomainPack, resolved, "domain", [*faults, *_told(checks.domain_faults, resolved)])
    return _with_warnings(pack, checks.domain_warnings(resolved))


def parse_tenant_pack(
    document: Mapping[str, Any], domain: DomainPack | None = None, variables: Mapping[str, str] | None = None
) -> TenantPack:
    """Read a tenant pack; with its domain pack at hand, references into the domain are checked too.

    Variables, warnings and errors as for a domain pack.
    """
    around = NOWHERE if domain is None else Surroundings.of_pack(domain)
    resolved, faults = resolve_endpoints(document, variables or {}, "toolOverrides")
    faults += _told(lambda read: checks.tenant_faults(read, around), resolved)
    pack = _read(TenantPack, resolved, "tenant", faults)
    return _with_warnings(pack, checks.tenant_warnings(resolved, around))


def _read(model: type[_P], document: Any, kind: str, faults: list[Fault]) -> _P:
    try:
        pack = model.model_validate(document)
    except ValidationError as error:
        raise PackInvalidError(kind, [*form_faults(error), *faults]) from error
    if faults:
        raise PackInvalidError(kind, faults)
    return pack


def _told(check: Any, document: Any) -> list[Fault]:
    return list(check(document)) if isinstance(document, Mapping) else []


def _with_warnings(pack: _P, warnings: Iterable[Fault]) -> _P:
    pack._warnings = (*checks.unknown_keys(pack), *warnings)
    return pack
