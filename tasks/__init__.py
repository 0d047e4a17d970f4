"""The Celery application: `celery -A tasks worker|beat|flower`."""

from tasks import flower
from tasks.application import app

__all__ = ["app", "flower"]
