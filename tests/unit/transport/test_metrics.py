"""What an application exports to Prometheus."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import service.transport
from service.transport.counters import Counters
from service.transport.metrics import COUNTS, LEVELS, TIMES, Sample, exposition, samples

PACKAGE = Path(service.transport.__file__).parent
PAGE = PACKAGE.parents[1] / "docs" / "transport-operations.md"


class Levels:
    def __init__(self, **levels: float) -> None:
        self._levels = levels

    def levels(self) -> Mapping[str, float]:
        return self._levels


def cluster(servers: str = "one:9092", group: str = "g") -> Any:
    options = SimpleNamespace(bootstrap_servers=servers, group_id=group)
    return SimpleNamespace(options=options, counters=Counters())


def value(found: list[Sample], name: str, **labels: str) -> float:
    [sample] = [one for one in found if one.name == name and labels.items() <= dict(one.labels).items()]
    return sample.value


def test_everything_counted_is_exported_also_what_the_table_does_not_know() -> None:
    one = cluster()
    one.counters.add("published", 3)
    one.counters.add("something_new", 2)
    found = samples([one])
    assert value(found, "kafka_transport_published_total") == 3
    assert value(found, "kafka_transport_something_new_total") == 2
    assert value(found, "kafka_transport_dead_lettered_total") == 0


def test_each_cluster_has_samples_of_its_own_and_equal_labels_are_summed() -> None:
    # given two clusters, to one of which this process has two sets of options
    first, again, second = cluster(), cluster(), cluster("two:9092")
    for one, count in ((first, 1), (again, 10), (second, 100)):
        one.counters.add("delivered", count)
    found = samples([first, again, second])
    assert value(found, "kafka_transport_delivered_total", cluster="one:9092", group="g") == 11
    assert value(found, "kafka_transport_delivered_total", cluster="two:9092", group="g") == 100


def test_levels_are_those_of_what_lives() -> None:
    # given two connections that hold messages
    one = cluster()
    stays, goes = Levels(buffered_messages=5), Levels(buffered_messages=7)
    one.counters.measure(stays)
    one.counters.measure(goes)
    assert value(samples([one]), "kafka_transport_buffered_messages") == 12
    # when one of them is gone
    del goes
    gc.collect()
    assert value(samples([one]), "kafka_transport_buffered_messages") == 5


def test_lateness_is_a_histogram_with_its_longest_beside_it() -> None:
    one = cluster()
    for seconds in (-0.1, 0.004, 0.05, 0.3, 99.0):
        one.counters.observe("delay_lateness", seconds)
    found = samples([one])
    name = "kafka_transport_delay_lateness_seconds"
    assert [value(found, f"{name}_bucket", le=le) for le in ("0.005", "0.05", "0.5", "60", "+Inf")] == [2, 3, 4, 4, 5]
    assert value(found, f"{name}_count") == 5
    assert value(found, f"{name}_sum") == pytest.approx(99.354)
    assert value(found, f"{name}_max") == 99


def test_prometheus_can_read_it() -> None:
    # given a cluster whose name is awkward
    one, two = cluster('a"b\\c\nd:1'), cluster("two:9092")
    one.counters.add("published", 3)
    two.counters.observe("delay_lateness", 0.2)
    # when its text is read as Prometheus does
    families = {family.name: family for family in text_string_to_metric_families(exposition(samples([one, two])))}
    # then it has names, types and values
    published = families["kafka_transport_published"]
    assert published.type == "counter"
    assert {sample.labels["cluster"]: sample.value for sample in published.samples} == {
        'a"b\\c\nd:1': 3,
        "two:9092": 0,
    }
    assert families["kafka_transport_delay_lateness_seconds"].type == "histogram"
    assert families["kafka_transport_buffered_messages"].type == "gauge"


def counted_in_the_package() -> Iterator[str]:
    """Names that are counted anywhere, as far as they are written out."""
    for module in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Call(ast.Attribute(owner, "add"), [ast.Constant(str(name)), *_]):
                    if "counters" in ast.unparse(owner):
                        yield name


def test_everything_that_is_counted_is_explained_in_the_table_and_on_the_page() -> None:
    assert set(counted_in_the_package()) <= COUNTS.keys()
    page = PAGE.read_text()
    told = [*(f"{name}_total" for name in COUNTS), *LEVELS, *(f"{name}_seconds" for name in TIMES)]
    assert [name for name in told if f"_{name}`" not in page] == []
