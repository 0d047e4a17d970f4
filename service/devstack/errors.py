"""What can go wrong with the local stack, each with one sentence a person can act on."""

from __future__ import annotations

from service.errors import PermanentError


class StackError(PermanentError):
    """The stack could not do what was asked. The message is printed as it is."""


class StackBusyError(StackError):
    """Another command is starting or stopping the same instance."""


class PortTakenError(StackError):
    """A port the stack has to use belongs to somebody else."""


class DownloadError(StackError):
    """A program the stack needs is not in the cache and could not be had."""


class ProcessDiedError(StackError):
    """A process ended while the stack waited for it to become ready."""


class NotReadyError(StackError):
    """A process runs but did not answer before its deadline."""
