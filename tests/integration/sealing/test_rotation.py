"""Stored payloads move to another key while the fleet works, and go on moving after an interruption."""

from __future__ import annotations

import base64
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from sqlalchemy import Engine
from uuid_utils import uuid7

from service.domain.events import EventType
from service.domain.exceptions import InputType
from service.persistence.administration import create_tenant
from service.persistence.database import Role, open_engine
from service.persistence.ingestion import Ingestion, NewException, NewInput
from service.persistence.rotation import Rotation, left, rotate
from service.persistence.sealing import PAYLOAD, Sealing, SealKey, input_slot
from service.persistence.unit_of_work import unit_of_work
from service.settings import Settings

PROJECT = Path(__file__).resolve().parents[3]
OLD, NEW = SealKey(f"old-{uuid4().hex[:8]}", secrets.token_bytes(32)), SealKey("new", secrets.token_bytes(32))
NOBODYS_LANE = 255


@pytest.fixture
def system(migrated: Settings) -> Iterator[Engine]:
    engine = open_engine(migrated.database_url, Role.SYSTEM, pool_size=1)
    yield engine
    engine.dispose()


@pytest.fixture
def tenant(system: Engine) -> str:
    tenant_id = f"seal-{uuid4().hex[:10]}"
    with unit_of_work(system) as transaction:
        create_tenant(transaction, tenant_id, "of a test")
    return tenant_id


def posted(url: str, sealing: Sealing, tenant: str, number: int) -> list[UUID]:
    """Exceptions with an update each, written by a process that has these keys."""
    engine = open_engine(url, Role.APPLICATION, pool_size=1, sealing=sealing)
    ids = [UUID(int=uuid7().int) for _ in range(number)]
    with unit_of_work(engine, [tenant]) as transaction:
        ingestion = Ingestion(transaction, tenant, datetime.now(UTC))
        rows = [NewException(str(one), NOBODYS_LANE, str(uuid4()), "test", {"secret": f"p-{one}"}) for one in ids]
        ingestion.accept(rows)
        for one in ids:
            locked = ingestion.lock(one)
            assert locked is not None
            data = {"rawPayload": {"secret": f"u-{one}"}}
            ingestion.append(locked, NewInput(InputType.UPDATED, data, EventType.EXCEPTION_UPDATED, {}, None))
    engine.dispose()
    return ids


def stored(system: Engine, tenant: str, ids: list[UUID]) -> dict[tuple[UUID, str], bytes]:
    """Every sealed value of the tenant, by row and slot."""
    with unit_of_work(system) as transaction:
        payloads = transaction.rows(
            "SELECT exception_id, sealed_payload FROM exceptions WHERE tenant_id = %(t)s", {"t": tenant}
        )
        inputs = transaction.rows(
            "SELECT exception_id, sequence, sealed_data, data FROM inputs WHERE tenant_id = %(t)s", {"t": tenant}
        )
    assert all(row.data == {} for row in inputs)
    found = {(row.exception_id, PAYLOAD): bytes(row.sealed_payload) for row in payloads}
    return found | {(row.exception_id, input_slot(row.sequence)): bytes(row.sealed_data) for row in inputs}


def assert_opened_by(sealing: Sealing, tenant: str, values: dict[tuple[UUID, str], bytes]) -> None:
    for (exception_id, slot), value in values.items():
        opened = sealing.open(tenant, exception_id.bytes, slot, value)
        wanted = f"p-{exception_id}" if slot == PAYLOAD else f"u-{exception_id}"
        assert wanted in json.dumps(opened)


def test_values_move_to_the_new_key_and_an_interrupted_rotation_goes_on(
    migrated: Settings, system: Engine, tenant: str
) -> None:
    # given payloads and updates under an old key, and some from before there was any
    ids = posted(migrated.database_url, Sealing([OLD]), tenant, 4)
    ids += posted(migrated.database_url, Sealing(), tenant, 3)
    before = stored(system, tenant, ids)
    assert sum(value.startswith(OLD.header) for value in before.values()) == 8
    # when a rotation dies after its first batch
    keys = Sealing([NEW, OLD])

    def die(done: Rotation) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rotate(system, keys, die, tenant, batch=2)
    moved = [value for value in stored(system, tenant, ids).values() if value.startswith(NEW.header)]
    assert len(moved) <= 2
    # and runs again
    told: list[int] = []
    done = rotate(system, keys, lambda done: told.append(done.resealed), tenant, batch=2)
    # then everything of ours is under the new key, which alone opens it
    after = stored(system, tenant, ids)
    assert len(after) == 14
    assert all(value.startswith(NEW.header) for value in after.values())
    assert_opened_by(Sealing([NEW]), tenant, after)
    assert told == sorted(told) and done.resealed == 14 - len(moved)


def test_what_cannot_be_opened_is_left_and_told(migrated: Settings, system: Engine, tenant: str) -> None:
    # given a row whose key nobody has any more
    (exception_id,) = posted(migrated.database_url, Sealing([OLD]), tenant, 1)
    before = stored(system, tenant, [exception_id])
    # when everything moves
    done = rotate(system, Sealing([NEW]), lambda _: None, tenant)
    # then it is as it was, and named
    assert stored(system, tenant, [exception_id]) == before
    assert done.failed == 2 and any(str(exception_id) in one for one in done.named)
    assert left(system, Sealing([NEW]), tenant) == 2
    # once the old key is back, it moves
    rotate(system, Sealing([NEW, OLD]), lambda _: None, tenant)
    assert_opened_by(Sealing([NEW]), tenant, stored(system, tenant, [exception_id]))


def test_the_command_tells_scripts_what_it_did(
    migrated: Settings, system: Engine, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted(migrated.database_url, Sealing([OLD]), tenant, 2)
    command = [sys.executable, "-m", "service.cli", "keys", "rotate-payload", "--tenant", tenant, "--json"]
    monkeypatch.setenv("SEALING_TEST_OLD", base64.b64encode(OLD.secret).decode())
    monkeypatch.setenv("SEALING_TEST_NEW", NEW.secret.hex())
    keys = f"new=secret://env/SEALING_TEST_NEW,{OLD.key_id}=secret://env/SEALING_TEST_OLD"
    monkeypatch.setenv("SENTINAI_PAYLOAD_KEYS", keys)
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout)
    assert report["key"] == "new" and report["resealed"] == 4
    assert all(value.startswith(NEW.header) for value in stored(system, tenant, []).values())
    assert NEW.secret.hex() not in done.stdout + done.stderr
