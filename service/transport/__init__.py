"""A Kafka transport for kombu and Celery."""

from .transport import Transport

__all__ = ["Transport"]
