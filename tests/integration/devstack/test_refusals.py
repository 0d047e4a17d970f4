"""Stacks that cannot be had: one sentence on stderr, exit code 1, nothing left behind."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from service.devstack.ports import is_free
from tests.integration.devstack.conftest import Terminal

UP = ("up", "--services-only", "--detach")


def _refused(terminal: Terminal, *arguments: str, **environ: str) -> str:
    """The sentence a refused command ends with."""
    result = terminal.run(*arguments, environ=environ)
    assert result.returncode == 1, result.stderr
    assert terminal.living("dev") == []
    lines = [line for line in result.stderr.splitlines() if not line.startswith("  …")]
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_a_taken_port_of_the_seed_is_named(terminal: Terminal) -> None:
    with socket.socket() as holder:
        if is_free(6380):
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind(("127.0.0.1", 6380))
            holder.listen()
        sentence = _refused(terminal, "up", "--profile", "seed", "--detach")
    assert "redis 6380" in sentence
    assert "--profile dev" in sentence


def test_no_network_at_the_first_download(terminal: Terminal, tmp_path: Path) -> None:
    nowhere = {"SENTINAI_MAVEN_BASE_URL": "http://127.0.0.1:9/maven", "SENTINAI_JAVA": _java(tmp_path)}
    sentence = _refused(terminal, *UP, SENTINAI_CACHE=str(tmp_path), **nowhere)
    assert "Kafka could not be downloaded" in sentence
    assert "needs a network" in sentence
    assert not list(tmp_path.glob("kafka-*")), "half a distribution was left in the cache"


def test_no_java_and_none_to_be_had(terminal: Terminal, tmp_path: Path) -> None:
    sentence = _refused(
        terminal, *UP, SENTINAI_CACHE=str(tmp_path), SENTINAI_JAVA="/nonexistent", PIP_NO_INDEX="1", PIP_FIND_LINKS=""
    )
    assert "needs Java 17 or newer" in sentence
    assert "set JAVA_HOME" in sentence


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    # given a file where the stacks' folder should be
    root = tmp_path / "file"
    root.write_text("")
    result = Terminal(root / "stacks").run(*UP)
    assert result.returncode == 1
    assert result.stderr.startswith("sentinai: ")
    assert len(result.stderr.splitlines()) == 1


def test_a_stack_that_was_never_started_has_no_status(terminal: Terminal) -> None:
    assert "`sentinai stack up --name nobody` makes it" in _refused(terminal, "status", "--name", "nobody")


def test_help_shows_examples(terminal: Terminal) -> None:
    for command in ("up", "down", "status", "logs", "env"):
        assert "Example" in terminal.run(command, "--help").stdout


def _java(folder: Path) -> str:
    """A program that says it is a Java new enough."""
    java = folder / "java"
    java.write_text(f"#!{sys.executable}\nimport sys\nsys.stderr.write('openjdk version \"21.0.1\"')\n")
    java.chmod(0o755)
    return str(java)
