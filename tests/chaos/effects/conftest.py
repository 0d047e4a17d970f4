"""Services of the run, as the other tests of the whole product have them."""

from tests.integration.conftest import migrated

__all__ = ["migrated"]
