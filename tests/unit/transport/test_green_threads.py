"""Processes with green threads are refused when they connect, in words; all others are not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from service.transport.green_threads import GreenThreadsRefused, refuse_green_threads

PROJECT = Path(__file__).resolve().parents[3]


def test_a_process_without_green_threads_is_fine() -> None:
    refuse_green_threads({})
    unused = SimpleNamespace(is_monkey_patched=lambda _: False)
    refuse_green_threads({"eventlet.patcher": unused})


def test_eventlet_is_refused_by_name() -> None:
    patched = SimpleNamespace(is_monkey_patched=lambda what: what == "thread")
    with pytest.raises(GreenThreadsRefused, match=r"eventlet has patched.*--pool=threads"):
        refuse_green_threads({"eventlet.patcher": patched})


def test_a_gevent_process_is_refused_before_it_looks_for_a_broker() -> None:
    # given a process that gevent has patched, as the gevent pool does, and no broker at all
    code = """
from gevent import monkey
monkey.patch_all()
from kombu import Connection
try:
    Connection("kafka://127.0.0.1:1//", transport="service.transport:Transport").connect()
except Exception as failure:
    print(type(failure).__name__, failure)
"""
    # when it connects
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True)
    # then it is told why not, and what to use
    assert done.stdout.startswith("GreenThreadsRefused")
    assert "gevent" in done.stdout
    assert "prefork, threads or solo" in done.stdout
