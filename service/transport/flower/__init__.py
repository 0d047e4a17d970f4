"""A plug-in for Flower: its Broker tab and ``/api/queues/length`` know Kafka. Flower itself stays as it is.

Flower knows brokers by the name of their URL scheme and answers 404 for ours. :func:`register` puts handlers of ours
in the place of the two of Flower's that ask the broker; they are used when the application's broker is this
transport, and do what Flower's do otherwise. One line in Flower's configuration file, or in the module of the Celery
application, is enough::

    from service.transport.flower import register; register()
"""

from __future__ import annotations

import sys


def register() -> bool:
    """Teach the Flower of this process about Kafka; False, and nothing is done, in a process without Flower.

    Must be called before Flower opens its port, as both places named above are. Calling it again does no harm.
    """
    if "flower.urls" not in sys.modules:
        return False
    from .handlers import put_in_place

    put_in_place()
    return True
