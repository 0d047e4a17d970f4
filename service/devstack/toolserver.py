"""The demo tool server. It only tells that it is there; tools follow."""

from __future__ import annotations

import argparse

from aiohttp import web


async def _health(_request: web.Request) -> web.Response:
    return web.json_response({"status": "ok"})


def main() -> None:
    """Serve on the loopback port given by --port."""
    parser = argparse.ArgumentParser(prog="python -m service.devstack.toolserver")
    parser.add_argument("--port", type=int, required=True)
    application = web.Application()
    application.router.add_get("/healthz", _health)
    web.run_app(application, host="127.0.0.1", port=parser.parse_args().port, access_log=None, print=None)


if __name__ == "__main__":
    main()
