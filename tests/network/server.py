"""`python -m tests.network.server SOCKET`: a process that keeps links, and changes them as it is told.

It is told by lines of JSON on a UNIX socket, one answer a line; `client.py` speaks them. A process of its own, so that
the bytes of a load do not share an interpreter with those who make and judge it.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from typing import Any

from tests.network.link import Commits, Link, State, Target

HOST = "127.0.0.1"


class LinkServer:
    """The links by name."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._servers: list[asyncio.Server] = []

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the lines of one connection; for `asyncio.start_unix_server`."""
        while line := await reader.readline():
            asked = json.loads(line)
            try:
                answer: dict[str, Any] = {"ok": await self._do(asked)}
            except (OSError, KeyError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _do(self, asked: dict[str, Any]) -> Any:
        match asked["do"]:
            case "open":
                for way in asked["ways"]:
                    await self._open(way)
            case "become":
                state = State(**{**asked["state"], "commits": Commits(asked["state"]["commits"])})
                for name in asked["names"]:
                    self._links[name].become(state)
            case "end":
                for name in asked["names"]:
                    self._links[name].end_connections()
            case "look":
                return {name: _told(link) for name, link in self._links.items()}
        return None

    async def _open(self, way: dict[str, Any]) -> None:
        link = Link(Target(HOST, way["target"]))
        self._servers.append(await asyncio.start_server(link.serve, HOST, way["port"]))
        self._links[way["name"]] = link


def _told(link: Link) -> dict[str, Any]:
    return {
        **dataclasses.asdict(link.state),
        "connections": link.connections,
        "cut_commits": link.cut_commits,
    }


async def main(path: str) -> None:
    """Serve until killed."""
    server = await asyncio.start_unix_server(LinkServer().talk, path)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
