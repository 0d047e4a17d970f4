"""`sentinai dlq`: dead letters, seen, understood and settled through the HTTP API, as a tenant does.

The commands are in the modules beside this one. What looks over all tenants works on the database, as an
administrator.
"""

from __future__ import annotations

import click

from service.cli.api_client import Api
from service.cli.api_options import api_options
from service.cli.dlq.acting import discard, redrive
from service.cli.dlq.audit import audit
from service.cli.dlq.clusters import clusters
from service.cli.dlq.operating import operation, operations, resume, stop
from service.cli.dlq.reading import list_, show


@click.group()
@api_options
@click.pass_context
def command(context: click.Context, api_url: str, api_key: str | None) -> None:
    """See and understand what could not be worked, alone and by cause; send it again or discard it.

    \b
    Exit codes:
      0  done
      1  refused
      2  the command line is wrong
      3  the state does not allow it
      4  the API does not answer
      5  followed to its end: some failed again
      6  followed: the canary failed, or somebody stopped it
    """
    context.obj = Api(api_url, api_key)


for _one in (list_, show, clusters, audit, redrive, discard, operations, operation, stop, resume):
    command.add_command(_one)
