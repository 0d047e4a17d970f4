"""The composition root: settings in, working parts out. Nothing else in the project builds its own parts."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import uuid_utils
from celery import Celery

from service.dispatch.chains import ChainSender
from service.dispatch.dispatcher import Dispatcher
from service.dispatch.held import HeldWork
from service.dispatch.lanes import LaneLeases
from service.dispatch.notifications import DueNotifications, NotificationSender
from service.dispatch.redrives import Redrives
from service.dispatch.timers import Timers
from service.dispatch.upkeep import Chore, Upkeep
from service.domain.exceptions import PackVersions
from service.domain.packs import PackSet, build_pack_set, parse_domain_pack, parse_tenant_pack
from service.domain.packs.tools import ToolKind
from service.domain.stages import DECIDE
from service.engine import reconciliation
from service.engine.bookkeeping import check_ledger
from service.engine.isolation import Isolation
from service.engine.landing import OnRetries, leave_to_the_reconciler
from service.engine.notifier import Notifier
from service.engine.packs import BuildPackSet, PackSource
from service.engine.pausing import PausedWork, PauseWatch
from service.engine.pipeline import Pipeline
from service.engine.runner import StageRunner
from service.engine.tool_stage import Patience, ToolStageRunner
from service.errors import ConfigurationError
from service.keyring import build_sealing
from service.persistence.database import Role, connect_listener, open_engine
from service.persistence.deliveries import DeliveryJournal
from service.persistence.outages import OutageBreaker
from service.persistence.packs import StoredPacks
from service.secrets import Secrets, build_secrets, mask_log_records
from service.settings import Settings
from service.tools import EgressGuard, HttpToolClient
from service.tools.admission import GuardedAdmission
from service.tools.breakers import BreakerPolicy, RedisBreakers, connect
from service.tools.kafka import KafkaPublisher
from service.tools.kinds import BlockingKind, CallKind, Kinds
from service.tools.limits import CallLimits, CallSlots
from service.tools.mail import Mailer
from service.tools.masking import MaskingToolClient
from service.tools.plugins import Plugins
from service.tools.sql import SqlReads

WORKER_SESSIONS = "sentinai worker"
"""How the names of a worker process's connections begin, in PostgreSQL's list of sessions."""
RECONCILE_EVERY_SECONDS = 5.0
LEDGER_EVERY_SECONDS = 60.0


def utc_now() -> datetime:
    """The wall clock of the composition root; everything below is handed it."""
    return datetime.now(UTC)


def new_id() -> UUID:
    """A UUIDv7 (RFC 9562)."""
    return UUID(int=uuid_utils.uuid7().int)


def build_pipeline(settings: Settings, retry: OnRetries = leave_to_the_reconciler) -> Pipeline:
    """The parts of one worker process. Call it in the process that uses it: connections do not survive a fork.

    `retry` gets the attempts that failed after their task was over.
    """
    secrets = build_secrets(os.environ, settings.secrets_directory)
    mask_log_records(secrets.known)
    sealing = build_sealing(settings, secrets)
    breaker = OutageBreaker()
    name = f"{WORKER_SESSIONS} {new_id().hex}"
    engine = open_engine(
        settings.database_url, Role.APPLICATION, pool_size=2, sealing=sealing, breaker=breaker, session_name=name
    )
    journal = DeliveryJournal(engine, name)
    packs = PackSource(StoredPacks(), _compiler(settings.pack_variables))
    pauses = PauseWatch(engine)
    calling = _calling(settings, secrets, pauses)
    tools = ToolStageRunner(
        engine,
        packs,
        calling.client,
        utc_now,
        calling.admission,
        Patience(settings.tool_patience_seconds, settings.landing_seconds, settings.stage_time_limit_seconds),
        retry,
        lambda exceptions: journal.landing(exceptions, utc_now()),
    )
    notifier = _notifier(settings, breaker, calling)
    deciding = StageRunner(engine, packs, DECIDE, utc_now)
    return Pipeline(
        engine=engine,
        deciding=deciding,
        tools=tools,
        notifier=notifier,
        isolation=Isolation(engine, journal, deciding.give_up, utc_now, random.random),
        clock=utc_now,
        close=_closing(tools, notifier, calling.client, settings.landing_seconds),
        paused=PausedWork(engine, pauses, utc_now),
    )


@dataclass(frozen=True, slots=True)
class _Calling:
    """How a worker process calls tools: the stage and the notifier share what limits it."""

    client: MaskingToolClient
    admission: GuardedAdmission


def _calling(settings: Settings, secrets: Secrets, pauses: PauseWatch) -> _Calling:
    slots = CallSlots(_call_limits(settings))
    http = HttpToolClient(slots, egress_guard(settings), secrets, tool_kinds(settings, secrets))
    client = MaskingToolClient(http, secrets.known)
    breakers = RedisBreakers(connect(settings.redis_url), _breaker_policy(settings))
    return _Calling(client, GuardedAdmission(breakers, slots, pauses=pauses))


def _closing(
    tools: ToolStageRunner, notifier: Notifier, client: MaskingToolClient, landing_seconds: float
) -> Callable[[], None]:
    """What ends the parts: the calls of both may still land, within one limit for both together."""

    def close() -> None:
        began = time.monotonic()
        tools.close()
        notifier.close(max(0.0, landing_seconds - (time.monotonic() - began)))
        client.close()

    return close


def _notifier(settings: Settings, breaker: OutageBreaker, calling: _Calling) -> Notifier:
    """With connections and packs of its own: it works beside the stages and is never in their way."""
    return Notifier(
        open_engine(settings.database_url, Role.APPLICATION, pool_size=2, breaker=breaker),
        PackSource(StoredPacks(), _compiler(settings.pack_variables)),
        calling.client,
        calling.admission,
        utc_now,
    )


def tool_kinds(settings: Settings, secrets: Secrets) -> Kinds:
    """The kinds of tools beside HTTP that the operator's settings make possible."""
    resources = settings.tool_resources

    def kinds() -> Mapping[str, CallKind]:
        found: dict[str, CallKind] = {
            ToolKind.SQL: BlockingKind(SqlReads(resources.sql, secrets)),
            ToolKind.PYTHON: BlockingKind(Plugins(resources.plugins, secrets)),
        }
        if resources.kafka is not None:
            found[ToolKind.KAFKA] = KafkaPublisher(resources.kafka, settings.kafka_bootstrap_servers, secrets)
        if resources.mail is not None:
            found[ToolKind.SMTP] = BlockingKind(Mailer(resources.mail, secrets))
        return found

    return kinds


def egress_guard(settings: Settings) -> EgressGuard:
    """The guard that every outgoing call passes. Raises ConfigurationError for an entry that is no host."""
    try:
        return EgressGuard(settings.egress_allow, settings.egress_hosts, require_list=settings.egress_require_list)
    except ValueError as error:
        raise ConfigurationError(f"SENTINAI_EGRESS_ALLOW or SENTINAI_EGRESS_HOSTS: {error}") from None


def build_dispatcher(settings: Settings, app: Celery) -> Dispatcher:
    """A dispatcher that sends through `app`'s broker."""
    engine = open_engine(settings.database_url, Role.SYSTEM, pool_size=2)
    leases = LaneLeases(engine, process_name(), settings.lane_lease_seconds)
    leases.ensure(settings.lanes)
    pauses = PauseWatch(engine)
    return Dispatcher(
        engine=engine,
        leases=leases,
        sender=ChainSender(app),
        listen=lambda: connect_listener(settings.database_url, Role.SYSTEM),
        batch_ids=new_id,
        batch_size=settings.batch_size,
        batches_in_flight=settings.batches_in_flight,
        renew_every_seconds=settings.lane_lease_seconds / 3,
        chores=(
            HeldWork(engine),
            Timers(engine, utc_now, pauses),
            DueNotifications(engine, NotificationSender(app), utc_now, pauses),
        ),
        pauses=pauses,
    )


def build_upkeep(settings: Settings) -> Upkeep:
    """What a dispatcher does beside dispatching, with a connection of its own."""
    engine = open_engine(settings.database_url, Role.SYSTEM, pool_size=1)

    def reconcile() -> None:
        reconciliation.reconcile(engine, settings.reconcile_after_seconds, utc_now())

    chores = (
        Chore("reconcile", RECONCILE_EVERY_SECONDS, reconcile),
        Chore("ledger", LEDGER_EVERY_SECONDS, lambda: check_ledger(engine)),
    )
    return Upkeep(engine, process_name(), chores)


def build_redrives(settings: Settings) -> Redrives:
    """What a dispatcher does about redrives, with connections of its own: it only looks as SYSTEM."""
    return Redrives(
        open_engine(settings.database_url, Role.SYSTEM, pool_size=1),
        open_engine(settings.database_url, Role.APPLICATION, pool_size=1),
    )


def process_name() -> str:
    """What this process is called where it holds something."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _call_limits(settings: Settings) -> CallLimits:
    return CallLimits(
        per_tool=settings.single_tool_concurrency,
        per_tenant=settings.tenant_tool_concurrency,
        total=settings.tool_concurrency,
        processes=settings.worker_processes or settings.lanes,
    )


def _breaker_policy(settings: Settings) -> BreakerPolicy:
    return BreakerPolicy(settings.breaker_failures, settings.breaker_open_seconds)


def _compiler(variables: Mapping[str, str]) -> BuildPackSet:
    """Documents to a pack set, with the operator's values in endpoints."""

    def build(domain: Mapping[str, Any], tenant: Mapping[str, Any], versions: PackVersions) -> PackSet:
        read = parse_domain_pack(domain, variables)
        return build_pack_set(read, parse_tenant_pack(tenant, variables=variables), versions)

    return build
