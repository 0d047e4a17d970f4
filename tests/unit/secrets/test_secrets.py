"""Which secrets a pack can name, and whose. The reader of this page is an attacker who can write a pack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from service.secrets import KnownSecrets, Owner, Secrets, SecretUnavailableError, build_secrets

ENVIRONMENT = {
    "DATABASE_URL": "postgresql://login:database-password@db/x",
    "SENTINAI_PAYLOAD_KEY": "the-payload-key",
    "SENTINAI_SECRET_ERP_TOKEN": "shared-token",
    "SENTINAI_SECRET_ACME__BANK": "acme-bank-token",
    "SENTINAI_SECRET_ACME_EU__BANK": "acme-eu-bank-token",
    "SENTINAI_SECRET_A__B__C": "of-tenant-a__b",
    "SENTINAI_SECRET_EMPTY": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "secrets"
    for name, text in {
        "shared/erp": "file-shared\n",
        "shared/empty": "\n",
        "shared/deep/er": "deep",
        "shared/..data/token": "mounted",
        "tenants/ACME/bank": "file-acme",
        "tenants/OTHER/bank": "file-other",
        "system/payload-key": "file-payload-key",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "outside").write_text("outside")
    (root / "shared/link-out").symlink_to(tmp_path / "outside")
    (root / "shared/link-to-tenant").symlink_to(root / "tenants/OTHER/bank")
    (root / "shared/link-to-system").symlink_to("../system/payload-key")
    (root / "shared/mounted").symlink_to("..data/token")
    (root / "shared/folder-out").symlink_to(tmp_path)
    os.mkfifo(root / "shared/pipe")
    (root / "shared/large").write_bytes(b"x" * 70_000)
    return root


@pytest.fixture
def secrets(folder: Path) -> Secrets:
    return build_secrets(ENVIRONMENT, folder)


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ("secret://env/SENTINAI_SECRET_ERP_TOKEN", "shared-token"),
        ("secret://env/SENTINAI_SECRET_ACME__BANK", "acme-bank-token"),
        ("secret://file/shared/erp", "file-shared"),
        ("secret://file/shared/deep/er", "deep"),
        ("secret://file/shared/mounted", "mounted"),
        ("secret://file/tenants/ACME/bank", "file-acme"),
    ],
)
def test_what_a_pack_of_acme_may_read(secrets: Secrets, reference: str, value: str) -> None:
    assert secrets.resolve(reference, "ACME") == value


@pytest.mark.parametrize(
    "reference",
    [
        "secret://env/DATABASE_URL",
        "secret://env/SENTINAI_PAYLOAD_KEY",
        "secret://env/sentinai_secret_erp_token",
        "secret://env/SENTINAI_SECRET_",
        "secret://env/SENTINAI_SECRET_ACME_EU__BANK",
        "secret://env/SENTINAI_SECRET_A__B__C",
        "secret://env/SENTINAI_SECRET_EMPTY",
        "secret://env/SENTINAI_SECRET_NOT_SET",
        "secret://env/../DATABASE_URL",
        "secret://file/system/payload-key",
        "secret://file/tenants/OTHER/bank",
        "secret://file/tenants/ACME/../OTHER/bank",
        "secret://file/shared/../system/payload-key",
        "secret://file/shared//erp",
        "secret://file/shared/./erp",
        "secret://file//etc/passwd",
        "secret://file/shared",
        "secret://file/tenants/ACME",
        "secret://file/shared/deep",
        "secret://file/shared/link-out",
        "secret://file/shared/link-to-tenant",
        "secret://file/shared/link-to-system",
        "secret://file/shared/folder-out/outside",
        "secret://file/shared/pipe",
        "secret://file/shared/large",
        "secret://file/shared/empty",
        "secret://file/shared/none",
        "secret://file/shared/%2e%2e/system/payload-key",
        "secret://file/shared/erp\x00",
        "secret://file/shared/erp\n",
        "secret://vault/x",
        "secret://env",
        "secret:///SENTINAI_SECRET_ERP_TOKEN",
        "SECRET://env/SENTINAI_SECRET_ERP_TOKEN",
        "hunter2",
        "",
    ],
)
def test_what_it_may_not(secrets: Secrets, reference: str) -> None:
    with pytest.raises(SecretUnavailableError):
        secrets.resolve(reference, "ACME")


def test_without_a_tenant_only_shared_secrets_are_there(secrets: Secrets) -> None:
    assert secrets.resolve("secret://env/SENTINAI_SECRET_ERP_TOKEN") == "shared-token"
    for reference in ("secret://env/SENTINAI_SECRET_ACME__BANK", "secret://file/tenants/ACME/bank"):
        with pytest.raises(SecretUnavailableError):
            secrets.resolve(reference)


def test_what_was_remembered_for_one_tenant_is_no_other_tenants(secrets: Secrets) -> None:
    secrets.resolve("secret://file/tenants/ACME/bank", "ACME")
    with pytest.raises(SecretUnavailableError):
        secrets.resolve("secret://file/tenants/ACME/bank", "OTHER")


def test_settings_reach_what_packs_do_not_and_the_other_way_round(secrets: Secrets) -> None:
    assert secrets.resolve_for_operator("secret://env/SENTINAI_PAYLOAD_KEY") == "the-payload-key"
    assert secrets.resolve_for_operator("secret://file/system/payload-key") == "file-payload-key"
    for reference in (
        "secret://env/SENTINAI_SECRET_ERP_TOKEN",
        "secret://file/shared/erp",
        "secret://file/tenants/ACME/bank",
    ):
        with pytest.raises(SecretUnavailableError, match="packs can read"):
            secrets.resolve_for_operator(reference)


def test_an_error_names_the_reference_and_never_what_might_be_the_secret(secrets: Secrets) -> None:
    with pytest.raises(SecretUnavailableError, match=r"secret://env/SENTINAI_SECRET_NOT_SET"):
        secrets.resolve("secret://env/SENTINAI_SECRET_NOT_SET", "ACME")
    with pytest.raises(SecretUnavailableError, match=r"^((?!hunter2).)*$"):
        secrets.resolve("hunter2", "ACME")


def test_a_value_is_remembered_for_a_while_and_then_read_again() -> None:
    now, reads = [0.0], []

    def reader(path: str, owner: Owner) -> str:
        reads.append((path, owner.tenant_id))
        return f"value-{len(reads)}"

    secrets = Secrets({"vault": reader}, KnownSecrets(), clock=lambda: now[0], cache_seconds=30)
    assert [secrets.resolve("secret://vault/x", "A") for _ in range(3)] == ["value-1"] * 3
    now[0] = 31
    assert secrets.resolve("secret://vault/x", "A") == "value-2"


def test_a_plug_in_that_fails_does_not_get_its_words_into_the_error() -> None:
    def reader(path: str, owner: Owner) -> str:
        raise RuntimeError("password=hunter2")

    secrets = Secrets({}, KnownSecrets(), plug_ins=lambda provider: reader if provider == "vault" else None)
    with pytest.raises(SecretUnavailableError, match=r"^((?!hunter2).)*RuntimeError((?!hunter2).)*$") as caught:
        secrets.resolve("secret://vault/x")
    assert caught.value.__cause__ is None
    with pytest.raises(SecretUnavailableError, match="no such provider"):
        secrets.resolve("secret://safe/x")


def test_references_inside_a_text_of_a_pack_are_replaced(secrets: Secrets) -> None:
    given = "Bearer secret://env/SENTINAI_SECRET_ERP_TOKEN, and secret://file/shared/erp"
    assert secrets.expand(given, "ACME") == "Bearer shared-token, and file-shared"
