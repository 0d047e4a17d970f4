"""Fleets whose workers exceptions can kill, on services that no other fleet works on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.conftest import Product, ServicesApart, running_product, services_apart

ENVIRONMENT = {
    "SENTINAI_LANES": "1",
    "SENTINAI_STAGE_TIME_LIMIT_SECONDS": "4",
    "SENTINAI_TOOL_PATIENCE_SECONDS": "0.2",
    "SENTINAI_WORKER_MEMORY_MB": "700",
    "SENTINAI_RECONCILE_AFTER_SECONDS": "15",
}
"""One lane, so that what is posted together is one batch; limits that a test has time for."""


@pytest.fixture(scope="module")
def apart() -> Iterator[ServicesApart]:
    """Services of the module's own."""
    with services_apart("poison") as services:
        yield services


@pytest.fixture(scope="module")
def product(apart: ServicesApart, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The product with workers of two pool processes that exceptions can kill."""
    with running_product(
        apart.settings,
        apart.tool_server_url,
        tmp_path_factory.mktemp("poison"),
        worker_app="tests.chaos.poisoned_worker",
        **{**apart.environment, **ENVIRONMENT},
    ) as running:
        yield running
