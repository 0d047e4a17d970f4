"""`sentinai …`: the one command line. Each sub-group is a module of this package, imported when it is used.

A sub-command `<name>` lives in `service/cli/<name>.py` as a click command or group called `command`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys

import click

from service.errors import SentinaiError

COMMANDS = {
    "stack": "Start, stop and inspect the local stack.",
    "dispatch": "Send ready work to the workers.",
    "relay": "Publish the event log to Kafka.",
    "tenants": "Create and list tenants.",
    "keys": "Create, list and revoke API keys.",
    "packs": "Write, check, test, compare, backtest and activate packs.",
    "exceptions": "Inspect exceptions and decide about them.",
    "dlq": "See what could not be worked, alone and by cause.",
    "ledger": "Print or watch the conservation ledger.",
    "pause": "Stop a tenant, a tool or a stage.",
    "resume": "Go on with what was paused.",
    "pauses": "See what is paused, by whom and why.",
    "drain": "Bring the installation to rest.",
    "transport": "Look at the queues in Kafka, and operate them.",
    "bench": "Measure throughput and latency.",
    "chaos": "Break a product of its own by a seed, and judge it.",
}
"""Name and one line of every sub-command, so that --help imports none of them."""


class _LazyGroup(click.Group):
    """Imports a sub-command's module only when that sub-command is called: `stack` must not wait for Celery."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = f"service.cli.{cmd_name}"
        if importlib.util.find_spec(module) is None:
            raise click.ClickException(f"`sentinai {cmd_name}` is not part of this version")
        command = importlib.import_module(module).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """SentinAI: business exceptions, accepted once and resolved."""


def main() -> None:
    """Entry point of the `sentinai` script: an error of ours is one sentence on stderr and its exit code, usually 1."""
    try:
        cli()
    except SentinaiError as error:
        click.echo(f"sentinai: {error}", err=True)
        sys.exit(getattr(error, "exit_code", 1))
