"""Runs at the start of every Python of a suite: the scheme kafka:// means the transport.

It stands for the setting `broker_transport` in the applications and worker processes that the suites make by
themselves from nothing but a broker URL.
"""

from kombu.transport import TRANSPORT_ALIASES

TRANSPORT_ALIASES["kafka"] = "service.transport:Transport"
