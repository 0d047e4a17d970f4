"""kombu's and Celery's own integration suites, run against the transport: the judge from outside.

`python -m tests.peers` (`make peer-suites`) takes the suites from the source distributions of the versions that are
installed here, and runs them unchanged in a virtual environment and processes of their own.
`docs/transport-peer-suites.md` tells what comes out.

    sources.py          gets the source distributions
    environment.py      makes the virtual environment the suites ask for
    services.py         starts what they talk to
    suites.py           how each suite is told its broker
    running.py          one run: its process, its progress
    results.py          what came out, folded by test
    not_applicable.py   the tests that do not apply, with the reason
    inside/             what runs within the suite's process: it never sees the rest of the project
"""
