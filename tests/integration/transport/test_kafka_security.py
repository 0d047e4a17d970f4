"""TLS, logins and ACLs on a broker that grants nothing by itself: the documented ACLs suffice, and none is missed.

The ACLs are those of service.transport.operations.access, which is also the table of docs/transport-security.md.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from confluent_kafka.admin import ScramMechanism, UserScramCredentialUpsertion
from confluent_kafka.admin._scram import ScramCredentialInfo
from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.exceptions import OperationalError

from service.transport.cluster import cluster_of
from service.transport.errors import (
    AccessDenied,
    ChannelFailed,
    ConsumerFailed,
    PublishRefused,
    TopicRefused,
    TransportError,
)
from service.transport.inspection.inspector import Inspector
from service.transport.operations.access import GRANTS, acls
from service.transport.operations.provisioning import provision
from tests.secure_broker import SecureBroker, secure_broker

from .app import EXCHANGE, STAGES
from .conftest import Corner, Fleet, until
from .test_kafka_errors import refused

pytestmark = pytest.mark.kafka

QUEUES = ("plain", *STAGES)
PLAIN = Queue("plain")
TRIAGE = Queue("triage", EXCHANGE, routing_key="triage.#")


@dataclass
class Application:
    """One application on the broker: its topics are made, and its users have their ACLs."""

    broker: SecureBroker
    prefix: str

    def of(self, user: str, **more: Any) -> Corner:
        """The application as a user has it."""
        group = f"{self.prefix}group"
        options = {"topic_prefix": self.prefix, "group_id": group, "partitions": 2, "create_topics": False}
        return Corner(
            self.broker.servers,
            {**options, "request_timeout": 3.0, "common_config": self.broker.client_of(user), **more},
        )

    def acls(self, role: str, user: str) -> list[Any]:
        return acls(role, user, self.of(user).typed, QUEUES)

    @contextlib.contextmanager
    def without(self, role: str, resource: str, operation: str) -> Iterator[None]:
        """Take one documented grant away, for a while."""
        [grant] = [grant for grant in GRANTS if (grant.role, grant.resource) == (role, resource)]
        assert operation in grant.operations
        names = {found.name for found in self._of_grant(role, resource)}
        gone = [acl for acl in self.acls(role, role) if acl.name in names and acl.operation.name == operation.upper()]
        self.broker.withdraw(gone)
        yield
        self.broker.grant(gone)

    def _of_grant(self, role: str, resource: str) -> list[Any]:
        kept = [grant for grant in GRANTS if (grant.role, grant.resource) != (role, resource)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("service.transport.operations.access.GRANTS", tuple(kept))
            others = self.acls(role, role)
        return [acl for acl in self.acls(role, role) if acl not in others]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureBroker]:
    with secure_broker(tmp_path_factory.mktemp("tls")) as broker:
        yield broker


@pytest.fixture(scope="module")
def application(broker: SecureBroker) -> Application:
    application = Application(broker, "shop-")
    for role in ("producer", "worker", "operator", "creator"):
        broker.grant(application.acls(role, role))
    creator = application.of("creator", create_topics=True)
    until(lambda: _succeeds(lambda: provision(cluster_of(creator.typed), QUEUES)), "the topics are made", 60)
    return application


# -- getting in ------------------------------------------------------------------------------------------------------


def test_a_login_that_fails_names_what_to_check(broker: SecureBroker, tmp_path: Path) -> None:
    login = broker.client_of("worker")
    stranger = tmp_path / "other-ca.pem"
    trustme.CA().cert_pem.write_to_path(str(stranger))
    without_sasl = {"security.protocol": "SSL", "ssl.ca.location": login["ssl.ca.location"]}
    for config, cause, check in (
        ({}, "connection closed by peer", "one that expects TLS"),
        (without_sasl, "SSL connection closed by peer", "set security.protocol to SASL_SSL"),
        ({**login, "ssl.ca.location": str(stranger)}, "certificate verify failed", "ssl.ca.location"),
        ({**login, "sasl.mechanism": "PLAIN"}, "supported mechanisms: SCRAM-SHA-512", "set sasl.mechanism"),
        ({**login, "sasl.password": "hunter2"}, "invalid credentials", "check user and password"),
    ):
        told = str(refused(broker.servers, common_config=config))
        assert cause in told and check in told, told
        assert "hunter2" not in told


def test_a_password_put_right_at_the_broker_lets_the_same_connection_in(broker: SecureBroker) -> None:
    # given a client whose password the broker does not know (yet)
    login = {**broker.client_of("nobody"), "sasl.password": "new-s3cret"}
    options = {"request_timeout": 1.0, "common_config": login}
    connection = Connection(
        f"kafka://{broker.servers}//", transport="service.transport:Transport", transport_options=options
    )
    with pytest.raises(OperationalError, match="check user and password"):
        connection.ensure_connection(max_retries=1, interval_start=0)
    # when it is changed there
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    change = UserScramCredentialUpsertion("nobody", info, b"new-s3cret")
    for future in broker.admin.alter_user_scram_credentials([change]).values():
        future.result(10)
    # then the client gets in without being made anew
    connection.ensure_connection(max_retries=20, interval_start=0.5)
    connection.release()


# -- what each role does with its ACLs -------------------------------------------------------------------------------


def test_producer_worker_and_operator_do_their_jobs_with_the_documented_acls(
    application: Application, tmp_path: Path
) -> None:
    # given a Celery worker that may create nothing
    worker = Fleet(application.of("worker"), tmp_path)
    worker.start("one", "-E", "-P", "threads")
    try:
        worker.ready("one")
        # when a web application sends tasks: at once, through an exchange, with delays, and a revoke
        sender = Fleet(application.of("producer"), tmp_path)
        sender.run(
            """
work.delay(1)
routed(stage, "triage", "acme", [], "triage").apply_async()
flaky.delay(2, 0.3)
on_time.apply_async((__import__("time").time() + 1.5,), countdown=1.5)
work.apply_async((9,), countdown=3600)
app.control.revoke("00000000-0000-0000-0000-000000000000")
"""
        )
        # then all of it runs, retries included
        until(lambda: worker.journal("end") and worker.journal("stage") and worker.journal("on_time"), "tasks ran", 60)
        until(lambda: len(worker.journal("try")) == 3, "two retries", 30)
        # and an operator sees lag, owners and the worker itself
        operator = application.of("operator")
        [report] = Inspector(cluster_of(operator.typed)).queues(["plain"])
        assert len(report.partitions) == 2
        assert report.owners
        answer = Fleet(operator, tmp_path).run("print(app.control.inspect(timeout=20, limit=1).ping())")
        assert "one@test" in answer and "pong" in answer
        assert "uthorization" not in worker.log("one")
    finally:
        worker.stop()


def test_a_worker_that_may_create_makes_its_topics_and_only_under_its_prefix(broker: SecureBroker) -> None:
    # given an application whose topics nobody has made
    application = Application(broker, "kiosk-")
    broker.grant([*application.acls("worker", "worker"), *application.acls("may-create", "worker")])
    with application.of("worker", create_topics=True).connect() as connection:
        until(lambda: _succeeds(PLAIN(connection.default_channel).declare), "the queue is declared", 30)
        bodies = list[Any]()
        _consume(connection, bodies)
        Producer(connection.default_channel).publish("x", exchange="", routing_key="plain")
        until(lambda: _drained(connection, bodies), "the message")
    elsewhere = application.of("worker", create_topics=True, topic_prefix="elsewhere-")
    with elsewhere.connect() as connection, pytest.raises(TopicRefused, match=r"elsewhere-plain.*grant this user"):
        PLAIN(connection.default_channel).declare()


# -- what happens without one of them --------------------------------------------------------------------------------


def _publish(application: Application) -> None:
    with application.of("producer").connect() as connection:
        began = time.monotonic()
        try:
            Producer(connection.default_channel).publish(
                "x", exchange="", routing_key="plain", retry=True, retry_policy={"max_retries": 5}
            )
        except TransportError as failure:
            assert time.monotonic() - began < 10, "a refusal takes no retries"
            assert isinstance(failure, connection.channel_errors)
            raise


def _publish_later(application: Application) -> None:
    with application.of("producer").connect() as connection:
        eta = (datetime.now(UTC) + timedelta(seconds=5)).isoformat()
        Producer(connection.default_channel).publish("x", exchange="", routing_key="plain", headers={"eta": eta})


def _publish_through_an_exchange(application: Application) -> None:
    with application.of("producer").connect() as connection:
        Producer(connection.default_channel).publish("x", exchange="exceptions", routing_key="triage.1")


def _consume_a_while(application: Application) -> None:
    bodies: list[Any] = []
    with application.of("worker").connect() as connection:
        _consume(connection, bodies)
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            _drained(connection, bodies)


def _declare_an_exchange(application: Application) -> None:
    with application.of("worker").connect() as connection:
        name = f"new-{uuid.uuid4().hex[:6]}"
        Queue("plain", Exchange(name, type="topic"), routing_key="#")(connection.default_channel).declare()


def _look(application: Application) -> None:
    Inspector(cluster_of(application.of("operator").typed)).queues(["plain"])


def _let_grow(application: Application) -> None:
    topics = cluster_of(application.of("creator").typed).topics
    topics.grow("shop-tool", topics.partitions("shop-tool") + 1)


@pytest.mark.parametrize(
    ("role", "resource", "operation", "act", "error", "told"),
    [
        (
            "producer",
            "<each queue's topic>",
            "Write",
            _publish,
            ChannelFailed,
            "shop-plain.*opic authorization failed",
        ),
        ("producer", "<prefix>_soon", "Write", _publish_later, ChannelFailed, "shop-_soon.*opic authorization failed"),
        ("producer", "<prefix>_bindings", "Read", _publish_through_an_exchange, TransportError, "shop-_bindings|uthor"),
        ("worker", "<each queue's topic>", "Read", _consume_a_while, ConsumerFailed, "opic authorization failed"),
        (
            "worker",
            "<group_id>.*",
            "Read",
            _consume_a_while,
            ConsumerFailed,
            "roup authorization failed.*on the consumer group",
        ),
        ("worker", "<prefix>_bindings", "Write", _declare_an_exchange, ChannelFailed, "opic authorization failed"),
        (
            "operator",
            "<group_id>.*",
            "Describe",
            _look,
            AccessDenied,
            "roup authorization failed.*on the consumer group",
        ),
        ("creator", "<prefix>*", "Alter", _let_grow, TopicRefused, "shop-tool.*uthoriz"),
    ],
)
def test_a_missing_acl_is_named_and_the_role_works_again_when_it_is_granted(
    application: Application,
    role: str,
    resource: str,
    operation: str,
    act: Callable[[Application], None],
    error: type[TransportError],
    told: str,
) -> None:
    with application.without(role, resource, operation):
        failure = until(lambda: _failure_of(lambda: act(application)), f"{role} is refused", 30)
    with pytest.raises(error, match=told):
        raise failure
    assert "grant this user" in str(failure)
    # the same process goes on when it may
    until(lambda: _failure_of(lambda: act(application)) is None, f"{role} works again", 30)


def test_a_running_worker_that_loses_an_acl_says_so_and_goes_on_when_it_is_back(
    application: Application, tmp_path: Path
) -> None:
    worker = Fleet(application.of("worker"), tmp_path)
    sender = Fleet(application.of("producer"), tmp_path)
    worker.start("one", "-P", "threads")
    try:
        worker.ready("one")
        # when it may no longer read its queues
        with application.without("worker", "<each queue's topic>", "Read"):
            until(lambda: "grant this user" in worker.log("one"), "it says what to grant", 40)
            assert "opic authorization failed" in worker.log("one")
        # and then it may again
        sender.run("work.delay(7)")
        # then it goes on by itself
        until(lambda: worker.journal("end"), "the task ran", 60)
        assert worker.workers["one"].poll() is None
    finally:
        worker.stop()


def test_a_user_without_any_right_to_write_is_refused_and_leaves_nothing_behind(
    broker: SecureBroker, application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    """Such a user's idempotent producer becomes fatal: it is replaced each time, not collected."""
    caplog.set_level(logging.ERROR, "service.transport.publishing")
    producer = application.of("creator")
    cluster = cluster_of(producer.typed)
    with producer.connect() as connection:
        for _ in range(3):
            with pytest.raises(PublishRefused, match="grant this user"):
                Producer(connection.default_channel).publish("x", exchange="", routing_key="plain")
    until(lambda: cluster.publisher.serve() or not cluster.publisher._retired, "the broken producers are let go")


def _consume(connection: Connection, bodies: list[Any]) -> None:
    def take(message: Any) -> None:
        bodies.append(message.payload)
        message.ack()

    Consumer(connection.channel(), [PLAIN], on_message=take, accept=["json", "text/plain"]).consume()


def _drained(connection: Connection, bodies: list[Any]) -> bool:
    with contextlib.suppress(TimeoutError):
        connection.drain_events(timeout=0.05)
    return bool(bodies)


def _succeeds(act: Callable[[], Any]) -> bool:
    return _failure_of(act) is None


def _failure_of(act: Callable[[], Any]) -> TransportError | None:
    """Act, and return what was refused. An ACL takes a moment until every part of the broker knows it."""
    try:
        act()
    except TransportError as failure:
        time.sleep(0.2)
        return failure
    time.sleep(0.2)
    return None
