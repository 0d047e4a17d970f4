"""`sentinai bench`: options, where the report goes, and the exit code. The work is in service.bench."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import click

import service
from service.bench import isolation, machine, place, recovery, report
from service.bench.isolation import IsolationBench, IsolationPlan, IsolationResults
from service.bench.observing import Observer
from service.bench.observing import analyse as analyse_tables
from service.bench.recovery import RecoveryBench, RecoveryPlan, RecoveryResults
from service.bench.results import Plan, Results, problems
from service.bench.scenario import Bench
from service.bench.striking import Fault, parse_faults, strike
from service.bench.tenants import bench_tenants
from service.devstack.errors import StackError
from service.devstack.instance import Instance, Profile
from service.devstack.ports import parse_range
from service.devstack.progress import Progress

_FAILED = 1
_INTERRUPTED = 130
_EXAMPLES = """
\b
Examples:
  sentinai bench                                   everything, about six minutes
  sentinai bench --seconds 10 --probes 50          a quick look
  sentinai bench --samples batch --tenants 1
  sentinai bench --stack dev --json | jq .sustained
  sentinai bench --scenario isolation              one tenant's tool hangs: what the other feels
  sentinai bench --scenario recovery               a worker, the broker, PostgreSQL break under half load
  sentinai bench --scenario recovery --profile cluster --faults broker --rounds 5
\b
Exit code: 0 measured and nothing lost; 1 something was lost, stuck or worked twice, or the ledger does not
balance, or the stack failed; 130 interrupted.
"""
_DEFAULT = Plan()
_ISOLATION = IsolationPlan()
_FAULTS = ",".join(Fault)


@click.command(epilog=_EXAMPLES)
@click.option(
    "--scenario",
    type=click.Choice(["throughput", "isolation", "recovery"]),
    default="throughput",
    show_default=True,
    help="What is measured. The others have --seconds, --warm-up, --rounds, --rate and the options of stack, output; "
    "recovery has --faults, --profile and the first of --samples, too.",
)
@click.option(
    "--rounds",
    default=_ISOLATION.rounds,
    show_default=True,
    type=click.IntRange(1, 100),
    help="Of isolation; of each fault of recovery.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0.1, 100_000),
    help=f"Exceptions a second: of isolation those of each tenant [default: {_ISOLATION.rate:g}]; of recovery all "
    "together [default: half of what is measured first].",
)
@click.option("--faults", default=_FAULTS, show_default=True, help="What breaks in recovery, by comma.")
@click.option(
    "--profile",
    type=click.Choice([Profile.DEV.value, Profile.CLUSTER.value]),
    default=Profile.DEV.value,
    show_default=True,
    help="For a stack of its own: one process of each kind, or three brokers and several of each process.",
)
@click.option("--seconds", default=_DEFAULT.seconds, show_default=True, type=click.IntRange(1, 3600), help="Window.")
@click.option(
    "--warm-up", default=_DEFAULT.warm_up_seconds, show_default=True, type=click.FloatRange(0, 600), help="Seconds."
)
@click.option("--samples", default=",".join(_DEFAULT.samples), show_default=True, help="Samples, by comma.")
@click.option("--tenants", default=_DEFAULT.tenants, show_default=True, type=click.IntRange(1, 100), help="That send.")
@click.option(
    "--probes",
    default=_DEFAULT.probes,
    show_default=True,
    type=click.IntRange(1, 10_000),
    help="Exceptions followed one by one for latency.",
)
@click.option("--probe-sample", default=_DEFAULT.probe_sample, show_default=True, help="The sample they are.")
@click.option(
    "--backlog",
    default=_DEFAULT.backlog,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="Most exceptions accepted and not settled.",
)
@click.option(
    "--batch", default=_DEFAULT.batch_items, show_default=True, type=click.IntRange(1, 1000), help="Items of a POST."
)
@click.option("--senders", default=_DEFAULT.senders, show_default=True, type=click.IntRange(1, 32), help="Connections.")
@click.option(
    "--drain", default=_DEFAULT.drain_seconds, show_default=True, type=click.FloatRange(1, 600), help="Most seconds."
)
@click.option("--analyse/--no-analyse", default=True, show_default=True, help="Database statistics after the warm-up.")
@click.option("--stack", "stack_name", help="Measure this running stack.  [default: one of its own, removed after]")
@click.option("--ports", metavar="FIRST-LAST", default="20000-31999", show_default=True, help="For a stack of its own.")
@click.option("--json", "as_json", is_flag=True, help="JSON on stdout instead of tables.")
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="JSON file.  [default: bench-results/TIME.json]"
)
def command(
    scenario: str,
    rounds: int,
    rate: float | None,
    faults: str,
    profile: str,
    seconds: int,
    warm_up: float,
    samples: str,
    tenants: int,
    probes: int,
    probe_sample: str,
    backlog: int,
    batch: int,
    senders: int,
    drain: float,
    analyse: bool,
    stack_name: str | None,
    ports: str,
    as_json: bool,
    output: Path | None,
) -> None:
    """Measure sustained throughput, latency, CPU and memory of the whole pipeline on this machine.

    The load is bounded by what the pipeline settles, so that it runs at its own steady state. Ctrl-C ends it;
    what was finished by then is reported.
    """
    names = tuple(name.strip() for name in samples.split(",") if name.strip())
    plan = Plan(
        seconds, warm_up, names, tenants, probes, probe_sample, max(backlog, batch), batch, senders, drain, analyse
    )
    project = Path(service.__file__).resolve().parents[1]
    signal.signal(signal.SIGTERM, _interrupt)
    progress = Progress(lambda line: click.echo(line, err=True))
    breaking = RecoveryPlan(_faults(faults), rounds, seconds, warm_up, rate, names[0] if names else "")
    try:
        with _stack(project, stack_name, ports, progress, Profile(profile)) as instance:
            if scenario == "isolation":
                asked = IsolationPlan(rounds, seconds, warm_up, rate or _ISOLATION.rate)
                isolated = _isolate(instance, project, asked, progress.say)
                _publish(isolated.document(), isolation.as_text(isolated), output or _default_output(project), as_json)
                raise SystemExit(_FAILED if isolation.problems(isolated) else 0)
            if scenario == "recovery":
                recovered = _recover(instance, project, breaking, progress.say)
                _publish(recovered.document(), recovery.as_text(recovered), output or _default_output(project), as_json)
                raise SystemExit(_FAILED if recovery.problems(recovered) else 0)
            results = _measure(instance, project, plan, progress.say)
            # Before the stack is ended: a figure once measured must not depend on that.
            _publish(report.as_document(results), report.as_text(results), output or _default_output(project), as_json)
    except KeyboardInterrupt:
        raise SystemExit(_INTERRUPTED) from None
    if results.interrupted:
        raise SystemExit(_INTERRUPTED)
    if problems(results):
        raise SystemExit(_FAILED)


@contextmanager
def _stack(project: Path, name: str | None, ports: str, progress: Progress, profile: Profile) -> Iterator[Instance]:
    root = place.stacks_folder(project, os.environ)
    if name is not None:
        yield place.running_stack(root, name)
        return
    with place.own_stack(project, root, parse_range(ports), os.environ, progress, profile) as instance:
        yield instance


def _measure(instance: Instance, project: Path, plan: Plan, say: Callable[[str], None]) -> Results:
    unknown = [name for name in (*plan.samples, plan.probe_sample) if name not in instance.samples]
    if unknown:
        raise StackError(f"no sample is called {', '.join(unknown)}; there are: {', '.join(instance.samples)}")
    root = place.stacks_folder(project, os.environ)
    model = next(iter(instance.tenants))
    with ExitStack() as held:
        tenants = held.enter_context(bench_tenants(instance.database_url, model, plan.tenants))
        names = [tenant.tenant_id for tenant in tenants]
        observer = held.enter_context(closing(Observer(instance.database_url, names)))
        described = machine.describe(instance, project, observer.settings(), datetime.now(UTC))
        results = Results(plan, described, instance.name, place.other_stacks(root, instance.name))
        bench = Bench(
            plan=plan,
            api_url=str(instance.api_url),
            samples=instance.samples,
            tenants=tenants,
            observer=observer,
            roots=lambda: place.program_pids(instance),
            tool_summary=lambda: _tool_summary(str(instance.url("tool-server"))),
            analyse=lambda: analyse_tables(instance.owner_url),
            say=say,
            results=results,
        )
        bench.run()
    return results


def _tool_summary(url: str) -> Mapping[str, Any]:
    try:
        with urllib.request.urlopen(f"{url}/calls/summary", timeout=60) as response:  # noqa: S310 - the stack's own URL
            summary: Mapping[str, Any] = json.load(response)
            return summary
    except OSError as error:
        raise StackError(f"the tool server gave no account of its calls ({error})") from error


def _isolate(instance: Instance, project: Path, plan: IsolationPlan, say: Callable[[str], None]) -> IsolationResults:
    model = next(iter(instance.tenants))
    url = instance.database_url
    with bench_tenants(url, model, 2, "BENCH_ISOLATION_", isolation.patient_tool) as tenants:
        with closing(Observer(url, [tenant.tenant_id for tenant in tenants])) as observer:
            described = machine.describe(instance, project, observer.settings(), datetime.now(UTC))
        results = IsolationResults(plan, described, instance.name)
        IsolationBench(
            plan=plan,
            api_url=str(instance.api_url),
            tool_server_url=str(instance.url("tool-server")),
            samples=instance.samples,
            tenants=tenants,
            observe=lambda names: Observer(url, names),
            say=say,
            results=results,
        ).run()
    return results


def _recover(instance: Instance, project: Path, plan: RecoveryPlan, say: Callable[[str], None]) -> RecoveryResults:
    if plan.sample not in instance.samples:
        raise StackError(f"no sample is called {plan.sample!r}; there are: {', '.join(instance.samples)}")
    url, tool_server = instance.database_url, str(instance.url("tool-server"))
    with bench_tenants(url, next(iter(instance.tenants)), 2) as tenants:
        names = [tenant.tenant_id for tenant in tenants]
        with closing(Observer(url, names)) as observer:
            described = machine.describe(instance, project, observer.settings(), datetime.now(UTC))
        results = RecoveryResults(plan, described, instance.name)
        RecoveryBench(
            plan=plan,
            api_url=str(instance.api_url),
            samples=instance.samples,
            tenants=tenants,
            observe=lambda: Observer(url, names),
            strike=lambda fault: strike(instance, fault),
            worked_twice=lambda: len(_tool_summary(tool_server)["workedTwice"]),
            say=say,
            results=results,
        ).run()
    return results


def _faults(text: str) -> tuple[Fault, ...]:
    try:
        return parse_faults(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--faults") from None


def _publish(document: Mapping[str, Any], shown: str, output: Path, as_json: bool) -> None:
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text, encoding="utf-8")
    click.echo(text if as_json else shown, nl=not as_json)
    click.echo(f"  written to {output}", err=True)


def _default_output(project: Path) -> Path:
    return project / "bench-results" / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json"


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
