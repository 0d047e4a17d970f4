"""A tool client whose results hold no known secret: tools echo headers, and errors quote them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from service.secrets import KnownSecrets
from service.tools.calls import PreparedCall, ToolClient, ToolResult


class MaskingToolClient:
    """A ToolClient that masks what another one answers, before anybody writes it down."""

    def __init__(self, client: ToolClient, known: KnownSecrets) -> None:
        self._client = client
        self._known = known

    def results(self, calls: Sequence[PreparedCall]) -> Iterator[list[ToolResult]]:
        """The other client's results, masked."""
        for group in self._client.results(calls):
            yield [self._masked(result) for result in group]

    def close(self) -> None:
        """Close the other client."""
        self._client.close()

    def _masked(self, result: ToolResult) -> ToolResult:
        output = self._known.masked(result.output)
        error = result.error and self._known.masked_text(result.error)
        if output is result.output and error == result.error:
            return result
        return replace(result, output=output, error=error)
