"""Fleets whose workers exceptions can kill, on services that no other fleet works on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from tests.integration.conftest import Product, ServicesApart, running_product, services_apart

ENVIRONMENT = {
    "SENTINAI_LANES": "1",
    "SENTINAI_STAGE_TIME_LIMIT_SECONDS": "4",
    "SENTINAI_TOOL_PATIENCE_SECONDS": "0.2",
    "SENTINAI_WORKER_MEMORY_MB": "700",
}
"""One lane, so that what is posted together is one batch; limits that a test has time for."""


@pytest.fixture(scope="module")
def apart() -> Iterator[ServicesApart]:
    """Services of the module's own."""
    with services_apart("poison") as services:
        yield services


@pytest.fixture(scope="module")
def product(apart: ServicesApart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with a worker of two pool processes that exceptions can kill, by themselves or by a plug-in."""
    place = tmp_path_factory.mktemp("poison")
    resources = {"plugins": {"rating": {"tenants": ["*"]}}}
    environment = {
        **apart.environment,
        **ENVIRONMENT,
        "SENTINAI_TOOL_RESOURCES": orjson.dumps(resources).decode(),
        "PYTHONPATH": str(installed_plugin(place)),
    }
    options = {"worker_app": "tests.chaos.poisoned_worker"}
    with running_product(apart.settings, apart.tool_server_url, place, **options, **environment) as running:
        yield running


def installed_plugin(place: Path) -> Path:
    """A folder with the metadata of an installed package that has the plug-in."""
    metadata = place / "site" / "sentinai_crashing-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: sentinai-crashing\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[sentinai.tools]\nrating = tests.tools.plugin.crashing:rating\n")
    return metadata.parent
