"""Services of the run, as the other tests of the whole product have them."""

from tests.integration.conftest import migrated, secrets_of_the_run

__all__ = ["migrated", "secrets_of_the_run"]
