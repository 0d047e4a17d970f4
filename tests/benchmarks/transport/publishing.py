"""Measures of publishing from one thread; each publish is confirmed by the broker before the next."""

from __future__ import annotations

import time
from collections.abc import Callable

from kombu import Producer

from .backends import Backend
from .place import place_for
from .values import Figure

_WARM_UP = 50
_BATCH = 100


def publish(backend: Backend, messages: int) -> list[Figure]:
    """``apply_async`` and kombu's ``Producer.publish``, one by one and in batches of 100."""
    with place_for(backend, queues=1) as place, place.app.connection_for_write() as connection:
        queue = place.queues[0]
        noop = place.app.tasks["bench.noop"]
        producer = Producer(connection, auto_declare=False)
        celery_producer = place.app.amqp.Producer(connection, auto_declare=False)
        place.app.amqp.queues[queue](producer.channel).declare()

        def through_celery() -> None:
            noop.apply_async((1,), producer=celery_producer)

        def through_kombu() -> None:
            producer.publish({"n": 1}, routing_key=queue, serializer="json")

        def in_a_batch(chosen: Producer, one: Callable[[], None]) -> Callable[[], None]:
            def whole_batch() -> None:
                with chosen.batch(max_size=_BATCH):
                    for _ in range(_BATCH):
                        one()

            return whole_batch

        batches = max(5, messages // 50)
        note = "" if producer.supports_batch_publish else "no batches: each is confirmed alone"
        if not producer.supports_batch_publish:
            batches = max(2, messages // _BATCH // 2)
        return [
            Figure("publishes, apply_async one by one", "1/s", _rate(through_celery, messages)),
            Figure("publishes, kombu one by one, confirmed", "1/s", _rate(through_kombu, messages)),
            Figure(
                "publishes, apply_async in batches of 100",
                "1/s",
                _rate(in_a_batch(celery_producer, through_celery), batches) * _BATCH,
                note,
            ),
            Figure(
                "publishes, kombu in batches of 100",
                "1/s",
                _rate(in_a_batch(producer, through_kombu), batches) * _BATCH,
                note,
            ),
        ]


def _rate(one: Callable[[], None], times: int) -> float:
    for _ in range(max(1, min(_WARM_UP, times // 10))):
        one()
    begun = time.perf_counter()
    for _ in range(times):
        one()
    return times / (time.perf_counter() - begun)
