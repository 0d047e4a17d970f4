"""See `tests.integration.model.running`."""

from tests.integration.model.running import main

main()
