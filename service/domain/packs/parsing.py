"""From a document to a pack, or to everything that is wrong with it in one answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from service.domain.packs import checks
from service.domain.packs.checks import NOWHERE, Surroundings
from service.domain.packs.faults import Fault, PackInvalidError, path_of
from service.domain.packs.models import DomainPack, TenantPack
from service.domain.packs.parts import Part
from service.domain.packs.variables import resolve_endpoints

_P = TypeVar("_P", bound=Part)

_IN_PLAIN_WORDS = {
    "missing": "is required",
    "model_type": "must be an object",
    "dict_type": "must be an object",
    "list_type": "must be a list",
    "string_type": "must be a text",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "extra_forbidden": "this key is not known, and without it the match would mean something else",
}
"""Messages for people, by pydantic's type of fault; the others speak for themselves."""


def parse_domain_pack(document: Mapping[str, Any], variables: Mapping[str, str] | None = None) -> DomainPack:
    """Read a domain pack. `variables` are the operator's values for `${…}` in endpoints.

    What is odd but harmless (unknown keys, rules that never match) is in the pack's `warnings`.
    Raises PackInvalidError with every fault.
    """
    resolved, faults = resolve_endpoints(document, variables or {})
    pack = _read(DomainPack, resolved, "domain", [*faults, *_told(checks.domain_faults, resolved)])
    return _with_warnings(pack, checks.domain_warnings(resolved))


def parse_tenant_pack(document: Mapping[str, Any], domain: DomainPack | None = None) -> TenantPack:
    """Read a tenant pack; with its domain pack at hand, references into the domain are checked too.

    Warnings and errors as for a domain pack.
    """
    around = NOWHERE if domain is None else Surroundings.of_pack(domain)
    pack = _read(TenantPack, document, "tenant", _told(lambda read: checks.tenant_faults(read, around), document))
    return _with_warnings(pack, checks.tenant_warnings(document, around))


def _read(model: type[_P], document: Any, kind: str, faults: list[Fault]) -> _P:
    try:
        pack = model.model_validate(document)
    except ValidationError as error:
        raise PackInvalidError(kind, [*_form_faults(error), *faults]) from error
    if faults:
        raise PackInvalidError(kind, faults)
    return pack


def _told(check: Any, document: Any) -> list[Fault]:
    return list(check(document)) if isinstance(document, Mapping) else []


def _form_faults(error: ValidationError) -> list[Fault]:
    return [
        Fault(
            path_of(part for part in fault["loc"] if not _is_pydantics(part)),
            _IN_PLAIN_WORDS.get(fault["type"]) or _plain(fault["msg"]),
        )
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _is_pydantics(part: str | int) -> bool:
    """`[key]`, and the tags of tools' kinds: of the validator, not of the document."""
    return isinstance(part, str) and part.startswith("[") and part.endswith("]")


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ").replace("Input should be", "must be")


def _with_warnings(pack: _P, warnings: Iterable[Fault]) -> _P:
    pack._warnings = (*checks.unknown_keys(pack), *warnings)
    return pack
