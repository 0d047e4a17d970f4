"""A look at an address by plain means, for when librdkafka has found no words: does anything answer there, and what?"""

from __future__ import annotations

import socket

_QUESTION = b"HEAD / HTTP/1.0\r\n\r\n"
"""An HTTP server answers it, nothing else does. It is asked only where nothing answered Kafka's question before."""


def look(servers: str, timeout: float) -> str:
    """Say what is found at the first address of ``servers`` that tells something; takes twice ``timeout`` at most.

    Words are those that :func:`service.transport.troubleshooting.diagnosis.diagnose` knows.
    """
    addresses = [address.strip() for address in servers.split(",")]
    within = timeout / max(1, len(addresses))
    return "; ".join(f"{address} {_found_at(address, within)}" for address in addresses)


def _found_at(address: str, timeout: float) -> str:
    host, _, port = address.rpartition("://")[2].rpartition(":")
    try:
        connection = socket.create_connection((host.strip("[]"), int(port)), timeout)
    except TimeoutError:
        return f"gives no answer at all to connecting for {timeout:g} s"
    except (OSError, ValueError) as failure:
        return f"cannot be reached: {failure}"
    with connection:
        try:
            connection.sendall(_QUESTION)
            answer = connection.recv(16)
        except OSError:
            answer = b""
    return "speaks HTTP" if answer.startswith(b"HTTP/") else "accepts connections and does not answer as a broker would"
