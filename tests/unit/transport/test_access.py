"""The table of ACLs: one place, shown in the document as it is, and exact about names."""

from __future__ import annotations

from pathlib import Path

from confluent_kafka.admin import ResourcePatternType, ResourceType

from service.transport.operations.access import GRANTS, acls, table
from service.transport.options import Options

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "transport-security.md"
SHOP = Options(topic_prefix="shop-", group_id="shop-group")


def test_the_document_shows_the_table() -> None:
    assert table() in DOCUMENT.read_text(encoding="utf-8"), "copy service.transport.access.table() into the document"


def test_a_worker_gets_its_queues_by_name_and_its_groups_by_prefix() -> None:
    found = {(acl.restype, acl.name, acl.resource_pattern_type) for acl in acls("worker", "ann", SHOP, ["a.b", "c_d"])}
    assert (ResourceType.TOPIC, "shop-a.b", ResourcePatternType.LITERAL) in found
    assert (ResourceType.TOPIC, "shop-c_5fd", ResourcePatternType.LITERAL) in found
    assert (ResourceType.GROUP, "shop-group.", ResourcePatternType.PREFIXED) in found
    assert (ResourceType.GROUP, "shop-_delays", ResourcePatternType.LITERAL) in found


def test_every_acl_is_for_the_user_and_under_the_prefix() -> None:
    for role in {grant.role for grant in GRANTS}:
        for acl in acls(role, "ann", SHOP, ["jobs"]):
            assert acl.principal == "User:ann"
            assert acl.name.startswith("shop-")


def test_only_the_creator_and_those_who_may_create_create() -> None:
    assert {grant.role for grant in GRANTS if "Create" in grant.operations} == {"creator", "may-create"}


def test_an_operator_writes_nothing_but_questions() -> None:
    written = {grant.resource for grant in GRANTS if grant.role == "operator" and "Write" in grant.operations}
    assert written == {"<prefix>_x*", "<prefix>_bindings"}


def test_without_a_prefix_everything_is_meant() -> None:
    [acl] = acls("may-create", "ann", Options(), [])
    assert (acl.name, acl.resource_pattern_type) == ("*", ResourcePatternType.LITERAL)
