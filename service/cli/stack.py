"""`sentinai stack`: the local stack on the command line. Options and printing only; the work is in service.devstack."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import click

import service
from service.devstack import foreground, stack, status
from service.devstack.errors import StackError
from service.devstack.instance import Instance, Profile, check_name, load, with_demo
from service.devstack.ports import parse_range
from service.devstack.progress import Progress

_UP_EXAMPLES = """
\b
Examples:
  sentinai stack up                              the whole stack, until Ctrl-C
  sentinai stack up --detach                     the same, and return when it is ready
  sentinai stack up --services-only --detach     PostgreSQL, Kafka, Redis and the demo tool server
  sentinai stack up --name mine --ports 22000-22199 --detach
  sentinai stack up --profile cluster --detach   three brokers, several of each application process
  sentinai stack up --profile seed --detach      docker-compose.test.yml without containers
"""


def _profile_option(default: str | None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    choices = click.Choice([profile.value for profile in Profile])
    return click.option("--profile", type=choices, default=default, show_default=True, help="Topology.")


_name_option = click.option(
    "--name", envvar="SENTINAI_STACK_NAME", help="Instance; each has its own ports and data.  [default: the profile]"
)


@click.group()
def command() -> None:
    """Start, stop and inspect the local stack: real services, no container engine.

    \b
    Environment:
      SENTINAI_STACK_NAME      the instance, as --name
      SENTINAI_STACK_DIR       where instances live       [default: .stack in the clone]
      SENTINAI_CACHE           downloaded programs        [default: ~/.cache/sentinai]
      SENTINAI_JAVA            the java program to use    [default: the system's, else one from PyPI]
      SENTINAI_MAVEN_BASE_URL  where Kafka's jars are downloaded from
    """


@command.command(epilog=_UP_EXAMPLES)
@_profile_option("dev")
@_name_option
@click.option("--services-only", is_flag=True, help="No application processes. The seed profile has none anyway.")
@click.option("--demo", is_flag=True, help="Also load the demo tenants and show an exception being resolved.")
@click.option("--detach", is_flag=True, help="Return when everything is ready instead of staying until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="Print the status as JSON once ready.")
@click.option(
    "--ports",
    metavar="FIRST-LAST",
    default="20000-31999",
    show_default=True,
    help="Choose ports here (dev and cluster).",
)
def up(
    profile: str, name: str | None, services_only: bool, demo: bool, detach: bool, as_json: bool, ports: str
) -> None:
    """Start what is missing and wait until it is ready. Without --detach, Ctrl-C ends everything."""
    place = _place(name, profile)
    wanted = stack.Wanted(
        Profile(profile), services_only, parse_range(ports), _seeding(place.project) if demo else None
    )
    progress = Progress(lambda line: click.echo(line, err=True))
    foreground.interrupt_on_signals()
    with foreground.session(place, stays=not detach) as session:
        instance = stack.up(place, wanted, os.environ, progress)
        session.begin()
        progress.total(f"stack {place.name!r} is ready")
        _print_status(instance, as_json=as_json)
        if demo:
            _show_demo(instance)
        session.stay(lambda line: click.echo(line, err=True))


@command.command(epilog="\b\nExamples:\n  sentinai stack down\n  sentinai stack down --name mine --remove")
@_profile_option("dev")
@_name_option
@click.option("--remove", is_flag=True, help="Also delete the instance's data, ports and passwords.")
def down(profile: str, name: str | None, remove: bool) -> None:
    """End every process of the instance. Its data stays unless --remove is given."""
    place = _place(name, profile)
    ran = stack.down(place, remove=remove)
    click.echo(f"stack {place.name!r} {'is down' if ran else 'was not running'}", err=True)


@command.command(
    "status", epilog="\b\nExamples:\n  sentinai stack status\n  sentinai stack status --json | jq -r .api_url"
)
@_profile_option("dev")
@_name_option
@click.option("--json", "as_json", is_flag=True, help="Everything a script needs, passwords included.")
def show_status(profile: str, name: str | None, as_json: bool) -> None:
    """Show processes, URLs and demo tenants. Exit code 3 when the stack is not running."""
    instance = _existing(name, profile)
    _print_status(instance, as_json=as_json)
    if not status.describe(instance)["running"]:
        raise SystemExit(3)


@command.command(epilog='\b\nExample:\n  eval "$(sentinai stack env --name mine)"')
@_profile_option("dev")
@_name_option
def env(profile: str, name: str | None) -> None:
    """Print the environment that uses this instance, passwords included, for a shell to evaluate."""
    instance = _existing(name, profile)
    variables = instance.environment()
    if instance.tenants:
        # So that `sentinai exceptions` speaks for the first demo tenant.
        variables["SENTINAI_API_URL"] = str(instance.api_url)
        variables["SENTINAI_API_KEY"] = next(iter(instance.tenants.values()))["api_key"]
    for variable, value in variables.items():
        click.echo(f"export {variable}={shlex.quote(value)}")


@command.command(
    epilog="\b\nExamples:\n  sentinai stack logs\n  sentinai stack logs worker -n 200\n  sentinai stack logs kafka -f"
)
@_profile_option("dev")
@_name_option
@click.argument("processes", nargs=-1)
@click.option(
    "-n", "--lines", default=20, show_default=True, type=click.IntRange(1, 100_000), help="Lines of each log."
)
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
def logs(profile: str, name: str | None, processes: tuple[str, ...], lines: int, follow: bool) -> None:
    """Print the end of the processes' logs; of all, when none is named."""
    instance = _existing(name, profile)
    known = {path.stem: path for path in sorted(instance.logs.glob("*.log"))}
    for process in processes:
        if process not in known:
            raise StackError(f"no log of {process!r}; there are: {', '.join(known) or 'none'}")
    paths = [str(known[process]) for process in processes or known]
    if paths:
        subprocess.run(["tail", "-n", str(lines), *(["-F"] if follow else []), *paths], check=False)


def _place(name: str | None, profile: str) -> stack.Place:
    project = Path(service.__file__).resolve().parents[1]
    root = Path(os.environ.get("SENTINAI_STACK_DIR") or project / ".stack").resolve()
    return stack.Place(project, root, check_name(name or profile))


def _existing(name: str | None, profile: str) -> Instance:
    place = _place(name, profile)
    instance = load(place.home)
    if instance is None:
        raise StackError(f"there is no stack {place.name!r}; `sentinai stack up --name {place.name}` makes it")
    return instance


def _seeding(project: Path) -> Callable[[Instance], Instance]:
    """Loads the demo tenants into a ready instance; imported late, for the database is only needed then."""

    def seed(instance: Instance) -> Instance:
        from service.devstack.demo import seed_demo

        demo = seed_demo(instance.database_url, project, instance.tenants)
        return with_demo(instance, demo.tenants, demo.samples)

    return seed


def _show_demo(instance: Instance) -> None:
    """One exception on its way, and the line with which a newcomer posts his own."""
    from service.devstack.journey import DemoApi, curl_line, show_journey

    api_url = str(instance.api_url)
    key = next(iter(instance.tenants.values()))["api_key"]
    show_journey(DemoApi(api_url, key), instance.samples, lambda line: click.echo(line, err=True))
    click.echo("  Post one yourself:\n", err=True)
    click.echo(f"  {curl_line(api_url, key, instance.samples['straight'])}\n", err=True)
    click.echo("  and see what became of it, in another terminal:\n", err=True)
    click.echo(f'  eval "$(.venv/bin/sentinai stack env --name {instance.name})"', err=True)
    click.echo("  .venv/bin/sentinai exceptions list\n  .venv/bin/sentinai ledger\n", err=True)


def _print_status(instance: Instance, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(status.describe(instance), indent=2, ensure_ascii=False))
        return
    rows = status.process_rows(instance)
    for row in (row for row in rows if row.state != "STOPPED"):
        click.echo(f"  {row.name:<14}{row.state.lower():<10}{row.pid or '':>8}  {row.log}")
    if stopped := [row.name for row in rows if row.state == "STOPPED"]:
        click.echo(f"  not started: {', '.join(stopped)}")
    described = status.describe(instance)
    for url in described["api_urls"]:
        click.echo(f"  {'api_url':<26}{url}")
    for key in ("docs_url", "flower_url", "tool_server_url", "kafka_bootstrap_servers"):
        if described[key]:
            click.echo(f"  {key:<26}{described[key]}")
    for tenant, secrets in described["tenants"].items():
        click.echo(f"  demo tenant {tenant}: X-API-KEY: {secrets['api_key']}")
