"""Flower's Broker tab knows Kafka: in a Flower process the transport's plug-in is registered, elsewhere nothing is."""

from __future__ import annotations

from service.transport.flower import register

register()
