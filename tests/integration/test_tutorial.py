"""The tutorial is true: its page is followed to the letter on the running product, and shows what it promises.

Code blocks run in the page's order in one shell. Before a block a comment may stand: `file:` writes it, `test: skip`
leaves it out (the run's own services are used), `test: refused` expects an exit code other than 0, `test: again` is
*look again*. A `text` block is what the block before it prints: these lines in this order, others between them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
import requests

from tests.fleet import PROJECT
from tests.integration.conftest import Product

pytestmark = [pytest.mark.kafka, pytest.mark.stack, pytest.mark.timeout(240)]

PAGE = PROJECT / "docs" / "tutorial-hospital-claims.md"
TOOLS = ("ask-payer", "resubmit-claim", "book-claim", "withdraw-claim")
PATIENCE_SECONDS = 60
LOOK_AGAIN_SECONDS = 0.5
_BLOCK = re.compile(
    r"(?:<!-- (?P<what>file|test): (?P<how>.+?) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.DOTALL
)


@dataclass
class Block:
    """A code block of the page."""

    language: str
    text: str
    file: str | None
    """Where it is written to, if it is a file."""
    how: str
    """`skip`, `refused`, `again`, or empty."""
    line: int
    promised: str = ""
    """What it prints, as the page says."""


def blocks_of(page: str) -> list[Block]:
    """The blocks to carry out, in order, each with the output the page promises."""
    blocks: list[Block] = []
    for found in _BLOCK.finditer(page):
        what, how = found["what"], found["how"] or ""
        if found["language"] == "text":
            blocks[-1].promised = found["text"]
            continue
        line = page.count("\n", 0, found.start()) + 1
        file = how if what == "file" else None
        blocks.append(Block(found["language"], found["text"], file, how if what == "test" else "", line))
    return blocks


def missing(promised: str, shown: str) -> str | None:
    """The first promised line that is not shown where it should be; `…` stands for anything, blanks do not count."""
    lines = iter(" ".join(line.split()) for line in shown.splitlines())
    for promise in (" ".join(line.split()) for line in promised.splitlines() if line.strip()):
        pattern = re.compile(".*".join(re.escape(part) for part in promise.split("…")))
        if not any(pattern.fullmatch(line) for line in lines):
            return promise
    return None


class Shell:
    """A person's shell: variables and the folder stay from block to block."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash"], cwd=folder, env=environment, text=True, stdin=-1, stdout=-1, stderr=subprocess.STDOUT
        )

    def run(self, commands: str) -> tuple[str, int]:
        """What they print, and the exit code of the last one that failed, else 0."""
        assert self._process.stdin and self._process.stdout
        end = f"end-{uuid4().hex}"
        self._process.stdin.write(f"failed=0; trap 'failed=$?' ERR\n{commands}\nprintf '\\n%s %s\\n' {end} $failed\n")
        self._process.stdin.flush()
        shown = ""
        for line in self._process.stdout:
            if line.startswith(end):
                return shown, int(line.split()[1])
            shown += line
        raise AssertionError(f"the shell ended:\n{shown}")

    def close(self) -> None:
        """End it."""
        self._process.communicate(timeout=10)


@pytest.fixture
def shell(product: Product, tmp_path: Path) -> Iterator[Shell]:
    """The shell of a person who has started the stack and evaluated `sentinai stack env`."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "SENTINAI_API_URL": product.fleet.api_url,
        "SENTINAI_TOOL_SERVER_URL": product.tool_server_url,
        "SENTINAI_PACK_VARIABLES": f"toolServerUrl={product.tool_server_url}",
    }
    _behave(product)
    opened = Shell(tmp_path, environment)
    yield opened
    opened.close()
    _behave(product)


def _behave(product: Product) -> None:
    """Tell the page's tools to work, whatever a run that failed told them."""
    for tool in TOOLS:
        requests.delete(f"{product.tool_server_url}/behaviours/{tool}", timeout=10)


def test_the_tutorial_does_what_it_promises(product: Product, shell: Shell, tmp_path: Path) -> None:
    """Given a running product, when its tutorial is followed, then every promised line is shown, and no claim was
    sent twice.

    The page's tenant gets a name of this run's own, as services may outlive a run.
    """
    tenant = f"MERCY{uuid4().hex[:8]}"
    for block in blocks_of(PAGE.read_text().replace("MERCY", tenant)):
        if block.file is not None:
            (tmp_path / "hospital" / block.file).write_text(block.text)
        elif block.how != "skip":
            _followed(block, shell)

    calls = requests.get(f"{product.tool_server_url}/calls", params={"limit": "1000"}, timeout=10).json()["items"]
    worked = Counter(call["tool"] for call in calls if call["tenant"] == tenant and call["outcome"] == "worked")
    assert worked == {"ask-payer": 4, "resubmit-claim": 4, "book-claim": 3, "withdraw-claim": 1, "billing-desk": 3}


def _followed(block: Block, shell: Shell) -> None:
    """Carry a block out, looking again where the page says so, until it shows what the page promises."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        shown, code = shell.run(block.text)
        lacking = missing(block.promised, shown)
        if lacking is None or block.how != "again" or time.monotonic() > deadline:
            break
        time.sleep(LOOK_AGAIN_SECONDS)
    where = f"{PAGE.name}, line {block.line}:\n{block.text}"
    assert lacking is None, f"{where}\nlacks {lacking!r} in\n{shown}"
    assert (code != 0) == (block.how == "refused"), f"{where}\nends with {code}:\n{shown}"
