"""Packs: a domain's and a tenant's behaviour as data, checked as a whole and compiled once.

`parse_domain_pack` and `parse_tenant_pack` read a document and tell every fault at once;
`build_pack_set` joins the two into what the stages use.
"""

from service.domain.packs.deciding.compiled import PackSet, build_pack_set
from service.domain.packs.faults import Fault, PackInvalidError
from service.domain.packs.hashing import canonical_hash
from service.domain.packs.models import DomainPack, TenantPack
from service.domain.packs.reading.documents import PackDocument, PackKind, read_document
from service.domain.packs.reading.parsing import parse_document, parse_domain_pack, parse_tenant_pack

__all__ = [
    "DomainPack",
    "Fault",
    "PackDocument",
    "PackInvalidError",
    "PackKind",
    "PackSet",
    "TenantPack",
    "build_pack_set",
    "canonical_hash",
    "parse_document",
    "parse_domain_pack",
    "parse_tenant_pack",
    "read_document",
]
