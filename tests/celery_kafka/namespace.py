"""What belongs to one group of tests on a shared broker and Redis, and its removal afterwards.

Everything a namespace makes starts with its prefix: topics, consumer groups, Redis keys. So tests, and runs of
tests, share the stack's services without seeing each other's messages, control commands or results.
"""

from __future__ import annotations

from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from redis import Redis

_REQUEST_SECONDS = 15
_KEYS_AT_ONCE = 500


@dataclass(frozen=True)
class Namespace:
    """A prefix of one group of tests."""

    prefix: str
    """Letters, digits and dashes, ending in a dot."""

    @property
    def group_id(self) -> str:
        """First part of the names of the workers' consumer groups: there is one for each queue."""
        return f"{self.prefix}workers"

    @property
    def key_prefix(self) -> str:
        """Put before every Redis key."""
        return self.prefix

    def remove_from_kafka(self, bootstrap_servers: str) -> None:
        """Delete the topics and the consumer groups. Nothing may be consuming them any more."""
        admin = AdminClient({"bootstrap.servers": bootstrap_servers})
        topics = [name for name in admin.list_topics(timeout=_REQUEST_SECONDS).topics if name.startswith(self.prefix)]
        if topics:
            for deleted in admin.delete_topics(topics, request_timeout=_REQUEST_SECONDS).values():
                deleted.result()
        listed = admin.list_consumer_groups(request_timeout=_REQUEST_SECONDS).result().valid
        groups = [group.group_id for group in listed if group.group_id.startswith(self.prefix)]
        if groups:
            for deleted in admin.delete_consumer_groups(groups, request_timeout=_REQUEST_SECONDS).values():
                try:
                    deleted.result()
                except KafkaException:
                    """A killed worker is still in it: it expires by itself, for its topics are gone."""

    def remove_from_redis(self, redis: Redis) -> None:
        """Delete the keys."""
        for key in redis.scan_iter(f"{self.key_prefix}*", count=_KEYS_AT_ONCE):
            redis.delete(key)
