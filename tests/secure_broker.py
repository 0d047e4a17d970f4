"""A Kafka as security asks for it: TLS with a CA of our own, SCRAM users, and nothing allowed that no ACL grants.

One KRaft node of `tests.brokers`, with `StandardAuthorizer`. The users, but the admin, may do nothing at first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from confluent_kafka.admin import AclBinding, AdminClient
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from tests.brokers import KafkaCluster, kafka_cluster

ADMIN = "admin"
USERS = ("producer", "worker", "operator", "creator", "nobody")
MECHANISM = "SCRAM-SHA-512"


@dataclass(frozen=True)
class SecureBroker:
    """A running broker, and what its users need to get in."""

    cluster: KafkaCluster
    ca_file: str
    """The CA's certificate, PEM."""
    admin: AdminClient
    """A client that may do anything. It is kept, for its answers are dropped with it."""

    @property
    def servers(self) -> str:
        """host:port."""
        return self.cluster.bootstrap_servers

    def client_of(self, user: str) -> dict[str, Any]:
        """librdkafka settings with which `user` gets in: also the transport's `common_config`."""
        return client_settings(user, self.ca_file)

    def grant(self, bindings: Sequence[AclBinding]) -> None:
        """Add ACLs, and wait until they are there."""
        for future in self.admin.create_acls(list(bindings), request_timeout=10).values():
            future.result(15)

    def withdraw(self, bindings: Sequence[AclBinding]) -> None:
        """Remove exactly these ACLs."""
        for future in self.admin.delete_acls([_filter_of(binding) for binding in bindings]).values():
            future.result(15)


@contextmanager
def secure_broker(folder: Path) -> Iterator[SecureBroker]:
    """Start one, with its certificates in `folder`; it is gone afterwards."""
    ca_file, key_store = _certificates(folder)
    scram = [f"--add-scram={MECHANISM}=[name={user},password={password_of(user)}]" for user in (ADMIN, *USERS)]
    client = client_settings(ADMIN, ca_file)
    properties = {
        "sasl.enabled.mechanisms": MECHANISM,
        "sasl.mechanism.inter.broker.protocol": MECHANISM,
        f"listener.name.sasl_ssl.{MECHANISM.lower()}.sasl.jaas.config": _login(ADMIN),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": key_store,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": ca_file,
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "false",
        # The controller's listener is on the loopback only, and its one client is this node itself.
        "super.users": f"User:{ADMIN};User:ANONYMOUS",
    }
    with kafka_cluster(protocol="SASL_SSL", properties=properties, format_arguments=scram, client=client) as cluster:
        yield SecureBroker(cluster, ca_file, AdminClient({**cluster.client, "log_level": 0}))


def password_of(user: str) -> str:
    """A test user's password."""
    return f"{user}-s3cret"


def client_settings(user: str, ca_file: str) -> dict[str, Any]:
    """librdkafka settings of a user."""
    return {
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": MECHANISM,
        "sasl.username": user,
        "sasl.password": password_of(user),
        "ssl.ca.location": ca_file,
    }


def _certificates(folder: Path) -> tuple[str, str]:
    """Write the CA's certificate, and a key store as Kafka wants it: a PKCS8 key, then the chain."""
    ca = trustme.CA()
    server = ca.issue_cert("127.0.0.1", "localhost")
    ca_file, key_store = folder / "ca.pem", folder / "broker.pem"
    ca.cert_pem.write_to_path(str(ca_file))
    key = load_pem_private_key(server.private_key_pem.bytes(), password=None)
    pkcs8 = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    key_store.write_bytes(pkcs8 + b"".join(blob.bytes() for blob in server.cert_chain_pems))
    return str(ca_file), str(key_store)


def _login(user: str) -> str:
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    return f'{module} required username="{user}" password="{password_of(user)}";'


def _filter_of(binding: AclBinding) -> Any:
    from confluent_kafka.admin import AclBindingFilter

    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )
