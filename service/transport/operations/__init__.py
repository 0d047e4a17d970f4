"""The transport's command line: looking at queues, and the few things an operator may change.

``python -m service.transport --help``. Commands that look take no part: they join no group and commit nothing.
Exit codes: 0 done; 1 it could not be done, and the message says why; 2 wrong usage; 3 the answer is "no" (a lag above
the limit, a group with members, a queue that did not run empty in time).
"""
