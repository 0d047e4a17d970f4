"""Flower's two handlers that ask the broker, for Kafka: the Broker tab and ``/api/queues/length``."""

from __future__ import annotations

import logging
from datetime import datetime
from pathlib import Path
from typing import Any

from flower import urls
from flower.api.tasks import GetQueueLengths
from flower.views import BaseHandler
from flower.views.broker import BrokerView
from tornado import web
from tornado.routing import URLSpec
from tornado.web import url

from ..cluster import cluster_of
from ..errors import TransportError
from ..inspection.inspector import QueueReport
from ..inspection.moments import age, moment
from ..transport import Transport
from .watcher import Camera, Picture, Watcher

logger = logging.getLogger(__name__)

_TEMPLATE = str(Path(__file__).parent / "broker.html")
_WATCHER = "kafka_transport_watcher"
_UNAVAILABLE = 503


class _OverKafka(BaseHandler):  # type: ignore[misc]  # Flower has no annotations
    """What both handlers need."""

    def watcher(self) -> Watcher | None:
        """The application's watcher; None when its broker is another one."""
        settings = self.application.settings
        if _WATCHER not in settings:
            transport = self.capp.connection_for_read().transport
            ours = isinstance(transport, Transport)
            settings[_WATCHER] = Watcher(Camera(cluster_of(transport.options)).take) if ours else None
        found: Watcher | None = settings[_WATCHER]
        return found

    async def picture(self, watcher: Watcher) -> tuple[Picture | None, str]:
        """A look at the queues, or why there is none."""
        try:
            return await watcher.look(self.get_active_queue_names()), ""
        except TimeoutError:
            reason = "Kafka did not answer in time"
        except TransportError as failure:
            reason = str(failure)
        logger.error("the queues cannot be shown: %s", reason)
        return None, reason


class KafkaBrokerView(_OverKafka, BrokerView):  # type: ignore[misc]  # Flower has no annotations
    """The Broker tab: every queue with its partitions, what is delayed, and dead letters."""

    @web.authenticated
    async def get(self) -> None:
        """Show it, or why it cannot be shown."""
        watcher = self.watcher()
        if watcher is None:
            await super().get()
            return
        picture, failure = await self.picture(watcher)
        if failure:
            self.set_status(_UNAVAILABLE)
        self.render(
            _TEMPLATE,
            broker_url=f"kafka://{self.capp.connection_for_read().transport.options.bootstrap_servers}",
            picture=picture,
            failure=failure,
            age=age,
            moment=moment,
            plain_rate=_plain_rate,
        )


class KafkaQueueLengths(_OverKafka, GetQueueLengths):  # type: ignore[misc]  # Flower has no annotations
    """``/api/queues/length``: Flower's answer, with age, rates and partitions beside each length."""

    @web.authenticated
    async def get(self) -> None:
        """Answer for the queues that workers consume; 503 with a reason when Kafka does not answer."""
        watcher = self.watcher()
        if watcher is None:
            await super().get()
            return
        picture, failure = await self.picture(watcher)
        if picture is None:
            self.set_status(_UNAVAILABLE)
            self.write({"active_queues": [], "error": failure})
            return
        active = set(self.get_active_queue_names())
        self.write({"active_queues": [_as_json(one, picture) for one in picture.queues if one.queue in active]})


def put_in_place() -> None:
    """Let Flower's table of addresses name our handlers instead of the ones they extend."""
    ours: dict[type, type] = {BrokerView: KafkaBrokerView, GetQueueLengths: KafkaQueueLengths}
    for at, handler in enumerate(urls.handlers):
        if isinstance(handler, URLSpec):
            if handler.handler_class in ours:
                wanted = ours[handler.handler_class]
                urls.handlers[at] = url(handler.regex.pattern, wanted, handler.kwargs, handler.name)
        elif handler[1] in ours:
            urls.handlers[at] = (handler[0], ours[handler[1]], *handler[2:])


def _as_json(report: QueueReport, picture: Picture) -> dict[str, Any]:
    rate = picture.rates.get(report.queue)
    return {
        "name": report.queue,
        "messages": report.lag,
        "consumers": len(report.owners),
        "oldest": moment(report.oldest),
        "oldest_age": _seconds(report.oldest, picture.at),
        "published_per_second": round(rate.published, 3) if rate else None,
        "finished_per_second": round(rate.finished, 3) if rate else None,
        "partitions": [
            {
                "partition": part.partition,
                "lag": part.lag,
                "oldest": moment(part.oldest),
                "low": part.low,
                "committed": part.committed,
                "end": part.end,
                "leader": part.leader,
                "owner": part.owner,
                "problem": part.problem or None,
            }
            for part in report.partitions
        ],
    }


def _seconds(since: datetime | None, now: datetime) -> float | None:
    return None if since is None else round(max(0.0, (now - since).total_seconds()), 3)


def _plain_rate(rate: float | None) -> str:
    if rate is None:
        return "-"
    return f"{rate:.1f}" if rate < 10 else f"{rate:,.0f}"
