"""Tools of kind `python`: a plug-in that the operator installed and allows.

A plug-in is a callable in the entry-point group `sentinai.tools`. It takes a `PluginCall` and returns what it
has to tell, as JSON values in a dict, or None. How it ends says what is known about its effect:

| the plug-in                                     | not idempotent | idempotent |
| ----------------------------------------------- | -------------- | ---------- |
| returns a dict or None                          | CONFIRMED      | CONFIRMED  |
| raises NotWorkedError                           | TRANSIENT      | TRANSIENT  |
| raises RefusedError                             | PERMANENT      | PERMANENT  |
| is not installed, not allowed, cannot be loaded | PERMANENT      | PERMANENT  |
| raises anything else, or is not back in time    | UNANSWERED     | TRANSIENT  |
| returns anything else, or more than 1 MiB       | UNANSWERED     | PERMANENT  |
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Protocol, cast

import orjson

from service.errors import PermanentError
from service.resources import Grant
from service.secrets import Secrets
from service.tools.answers import UnreadableReplyError, coded, deferred, rejected, require_storable, unreadable
from service.tools.calls import Answer, PreparedCall, ToolResult

ENTRY_POINTS = "sentinai.tools"


class NotWorkedError(Exception):
    """Raised by a plug-in: nothing happened, and the call may be made again.

    The text is shown to people if it is a code such as `BUSY`, and not if it is a sentence, which might quote data.
    """

    def __init__(self, code: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(code)
        self.retry_after_seconds = retry_after_seconds


class RefusedError(Exception):
    """Raised by a plug-in: nothing happened, and making the call again would change nothing. The text as above."""


@dataclass(frozen=True, slots=True)
class PluginCall:
    """What a plug-in is asked to do."""

    key: str
    """The idempotency key: the same whenever this call is repeated."""
    tenant_id: str
    tool: str
    parameters: Mapping[str, Any]
    config: Mapping[str, Any]
    """The tool's `config`, as it stands in the pack."""
    timeout_seconds: float
    """After which nobody waits for the result any more."""
    secret: Callable[[str], str]
    """The secret that an entry of `config` refers to, by the entry's name. Raises SecretUnavailableError."""


class Plugin(Protocol):
    """A plug-in. It is called from several threads at once."""

    def __call__(self, call: PluginCall) -> Mapping[str, Any] | None:
        """Do it, and return what came of it."""
        ...


class PluginUnavailableError(PermanentError):
    """A tool names a plug-in that cannot be used."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"the plug-in {name!r} {cause}")


class Plugins:
    """Makes the calls; each plug-in is loaded once, when it is first needed."""

    def __init__(self, grants: Mapping[str, Grant], secrets: Secrets) -> None:
        """Loads nothing."""
        self._grants = grants
        self._secrets = secrets
        self._loaded: dict[str, Plugin] = {}

    def __call__(self, call: PreparedCall) -> ToolResult:
        """Make one call."""
        began = time.monotonic()
        plugin = self._plugin(call.call.options["plugin"], call.tenant_id)
        try:
            output = plugin(self._asked(call))
        except NotWorkedError as error:
            result = deferred(call, coded(str(error)), time.monotonic() - began)
            return ToolResult(
                result.key,
                result.answer,
                error=result.error,
                retry_after_seconds=error.retry_after_seconds,
                rate_limited=error.retry_after_seconds is not None,
                duration_seconds=result.duration_seconds,
            )
        except RefusedError as error:
            return rejected(call, coded(str(error)), time.monotonic() - began)
        spent = time.monotonic() - began
        try:
            return ToolResult(call.key, Answer.CONFIRMED, _storable(output), duration_seconds=spent)
        except UnreadableReplyError as error:
            return unreadable(call, str(error), spent)

    def _asked(self, call: PreparedCall) -> PluginCall:
        config: Mapping[str, Any] = call.call.options.get("config", {})
        return PluginCall(
            key=call.key,
            tenant_id=call.tenant_id,
            tool=call.call.tool,
            parameters=call.call.parameters,
            config=config,
            timeout_seconds=call.call.timeout_seconds,
            secret=lambda name: self._secrets.resolve(str(config.get(name)), call.tenant_id),
        )

    def _plugin(self, name: str, tenant_id: str) -> Plugin:
        grant = self._grants.get(name)
        if grant is None or not grant.allows(tenant_id):
            raise PluginUnavailableError(name, "may not be used by this tenant; the operator allows plug-ins")
        found = self._loaded.get(name)
        if found is None:
            found = self._loaded[name] = _load(name)
        return found


def _load(name: str) -> Plugin:
    for entry_point in entry_points(group=ENTRY_POINTS, name=name):
        try:
            loaded = entry_point.load()
            return cast(Plugin, loaded() if isinstance(loaded, type) else loaded)
        except Exception as error:
            raise PluginUnavailableError(name, f"cannot be loaded ({type(error).__name__})") from error
    raise PluginUnavailableError(name, f"is not installed (entry-point group {ENTRY_POINTS})")


def _storable(output: Any) -> Mapping[str, Any] | None:
    if output is None:
        return None
    if not isinstance(output, Mapping):
        raise UnreadableReplyError("is not a JSON object")
    try:
        text = orjson.dumps(output)
    except TypeError:
        raise UnreadableReplyError("has no JSON form") from None
    require_storable(text)
    # Read back, so that what follows never shares a value with the plug-in.
    return cast(Mapping[str, Any], orjson.loads(text))
