"""`sentinai dlq`: dead letters, seen, understood and settled through the HTTP API, as a tenant does.

The commands are in the modules beside this one. What looks over all tenants works on the database, as an
administrator.
"""

from __future__ import annotations

import click

from service.cli.api_client import Api
from service.cli.api_options import api_options
from service.cli.dlq.clusters import clusters
from service.cli.dlq.reading import list_, show


@click.group()
@api_options
@click.pass_context
def command(context: click.Context, api_url: str, api_key: str | None) -> None:
    """See and understand what could not be worked: dead letters, alone and by cause.

    \b
    Exit codes:
      0  done
      1  refused
      2  the command line is wrong
      4  the API does not answer
    """
    context.obj = Api(api_url, api_key)


for _one in (list_, show, clusters):
    command.add_command(_one)
