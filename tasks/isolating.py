"""What a stage task does about deliveries that did not survive: recognises them, and sends their parts on their way."""

from __future__ import annotations

from celery import Celery
from celery.app.task import Context

from service.dispatch.chains import ChainSender
from service.domain.exceptions import Stage
from service.engine.batch import Batch
from service.engine.isolation import SILENT, Death
from service.engine.pipeline import Pipeline
from service.engine.suspicion import ERROR
from service.persistence.deliveries import Delivery
from tasks.requests import earlier_end


def begun(pipeline: Pipeline, stage: Stage, batch: Batch, request: Context) -> Death | None:
    """Write down that a delivery begins; how an earlier one of the same message ended without being finished, if so."""
    worker = str(request.hostname)
    delivery = Delivery(str(request.id), request.retries or 0, stage.queue, len(batch.references), worker)
    earlier = pipeline.isolation.journal.begin(delivery)
    seen = earlier_end(request.delivery_info)
    if seen is not None:
        where = f"{worker}, process {seen['process']}"
        began_at = next((one.began_at for one in earlier if one.process == seen["process"]), None)
        return Death(seen["how"], seen["own"], where, max(1, len(earlier)), began_at)
    if earlier:
        last = earlier[-1]
        began_at = last.began_at if last.gone else None
        return Death(SILENT, False, f"{last.worker}, process {last.process}", len(earlier), began_at)
    return None


def failed(error: BaseException, request: Context) -> Death:
    """The end of a delivery by an error that nobody expected; lack of memory is the work's own doing."""
    if isinstance(error, MemoryError):
        return Death("lack of memory", True, str(request.hostname))
    return Death(f"{ERROR}{type(error).__name__}", False, str(request.hostname))


def isolate(app: Celery, pipeline: Pipeline, stage: Stage, batch: Batch, death: Death) -> Batch:
    """Send what is suspected away; what of the batch is left to be worked here."""
    divided = pipeline.isolation.divide(stage, batch, death)
    sender = ChainSender(app)
    for part in divided.parts:
        sender.send(part.batch, stage, countdown=part.delay_seconds or None)
    return divided.rest
