"""`python -m service.cli`: the same as `sentinai`, for processes that have no script on their PATH."""

from __future__ import annotations

from service.cli import main

if __name__ == "__main__":
    main()
