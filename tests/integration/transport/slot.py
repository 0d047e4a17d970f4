"""A consumer process for tests and benchmarks: works the queue ``jobs`` and writes each number it worked to a journal.

``python -m tests.integration.transport.slot NAME``; settings come from the environment. SIGTERM ends it cleanly.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time

from kombu import Connection, Consumer, Message, Queue


def main() -> None:
    """Consume until told to stop."""
    name, stopping = sys.argv[1], []
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    journal = os.open(os.environ["JOURNAL"], os.O_APPEND | os.O_CREAT | os.O_WRONLY)
    seconds = float(os.environ.get("WORK_SECONDS", "0"))

    def work(message: Message) -> None:
        number = message.payload
        time.sleep(seconds)
        # one write a line, so that processes do not mix them; and before the acknowledgement, so that nothing hides
        os.write(journal, (json.dumps({"number": number, "slot": name, "at": time.time()}) + "\n").encode())
        message.ack()

    options = json.loads(os.environ["TRANSPORT_OPTIONS"])
    url = f"kafka://{os.environ['KAFKA_BOOTSTRAP_SERVERS']}//"
    connection = Connection(url, transport="service.transport:Transport", transport_options=options)
    channel = connection.channel()
    consumer = Consumer(channel, [Queue("jobs")], on_message=work, prefetch_count=4)
    consumer.consume()
    while not stopping:
        try:
            connection.drain_events(timeout=0.1)
        except TimeoutError:
            continue
    if os.environ.get("LEAVE_TO_THE_INTERPRETER"):
        return
    connection.release()


if __name__ == "__main__":
    main()
