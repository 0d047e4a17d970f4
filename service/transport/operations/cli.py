"""The command group: where the cluster is named, and what errors look like."""

from __future__ import annotations

from typing import Any

import click
from confluent_kafka import KafkaException

from ..errors import TransportError
from .deadletters import dead_letters
from .looking import bindings, lag, owners, topics
from .moving import move
from .peeking import peek
from .resharding import reshard
from .target import parse_options, target_of_app, target_of_broker

COMMANDS = (topics, bindings, lag, owners, peek, move, reshard, dead_letters)

_EPILOG = """
\b
Examples:
  python -m service.transport -b kafka://localhost:9092// lag
  python -m service.transport -b kafka-1:9092,kafka-2:9092 --prefix billing- --group billing owners
  python -m service.transport -A myproject lag celery --watch
  python -m service.transport -b host:9093 -o 'common_config={"security.protocol": "SASL_SSL"}' topics
"""


class OperationsGroup(click.Group):
    """Errors of the transport are one sentence on stderr and exit code 1."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except TransportError as error:
            raise click.ClickException(str(error)) from error
        except KafkaException as error:
            raise click.ClickException(f"Kafka refused: {error.args[0].str()}") from error


@click.group(cls=OperationsGroup, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-b",
    "--broker",
    envvar="KAFKA_TRANSPORT_BROKER",
    show_envvar=True,
    help="kafka://[user:password@]host:port[,host:port]//, or host:port.",
)
@click.option("-A", "--app", envvar="KAFKA_TRANSPORT_APP", show_envvar=True, help="Use this Celery application's.")
@click.option("--group", "group_id", help="The workers' group_id.  [default: celery]")
@click.option("--prefix", "topic_prefix", help="The topic_prefix.  [default: none]")
@click.option(
    "-o", "--option", "pairs", multiple=True, metavar="NAME=VALUE", help="Any transport option; JSON or text."
)
@click.pass_context
def operations(
    ctx: click.Context,
    broker: str | None,
    app: str | None,
    group_id: str | None,
    topic_prefix: str | None,
    pairs: tuple[str, ...],
) -> None:
    """Look at the queues of the Kafka transport, and change what an operator may change."""
    if app is not None and broker is None:
        ctx.obj = target_of_app(app)
        if group_id or topic_prefix or pairs:
            raise click.UsageError("an application brings its own options; --group, --prefix and -o go with --broker")
        return
    raw = {**parse_options(pairs), **_given(group_id=group_id, topic_prefix=topic_prefix)}
    ctx.obj = target_of_broker(broker or "localhost:9092", raw)


def group_for(app: str, help_: str) -> click.Group:
    """The same commands under another program, for the Celery application that it is about."""

    @click.pass_context
    def choose(ctx: click.Context) -> None:
        ctx.obj = target_of_app(app)

    return OperationsGroup(
        "transport", commands={command.name or "": command for command in COMMANDS}, callback=choose, help=help_
    )


def _given(**options: str | None) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


for _command in COMMANDS:
    operations.add_command(_command)
