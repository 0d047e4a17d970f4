"""What the operator lets tools reach beside HTTP: databases to read, topics to publish to, a mail server, plug-ins.

Packs are data of tenants: they name these things, and only the operator says what a name leads to and which
tenants may use it. Given as JSON in SENTINAI_TOOL_RESOURCES, or in a file whose path follows an `@`.
docs/tools.md is the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SECRET = "secret://"  # noqa: S105 - how a reference begins


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Grant(_Frozen):
    """Which tenants may use something."""

    tenants: Annotated[tuple[str, ...], Field(min_length=1)]
    """Their ids; `*` means every tenant."""

    def allows(self, tenant_id: str) -> bool:
        """Whether a tenant is among them."""
        return "*" in self.tenants or tenant_id in self.tenants


class SqlConnection(Grant):
    """A PostgreSQL login that may read what its tenants' tools may see, and nothing else."""

    url: Annotated[str, Field(pattern=r"^secret://")]
    """Reference to a libpq URL."""


class KafkaCluster(_Frozen):
    """Where tools of kind kafka publish."""

    bootstrapServers: str | None = None
    """None: the cluster of the pipeline itself."""
    config: Mapping[str, str] = Field(default_factory=dict)
    """Settings of librdkafka, for TLS and SASL; values may be references to secrets."""
    topics: Mapping[str, Grant] = Field(default_factory=dict)


class MailServer(_Frozen):
    """The server that takes mail, and what it may be asked to send."""

    host: str
    port: int = Field(default=587, ge=1, le=65_535)
    security: Literal["starttls", "tls", "none"] = "starttls"
    sender: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    """The address in From, whatever the tenant."""
    username: str | None = None
    password: Annotated[str, Field(pattern=r"^secret://")] | None = None
    caFile: Path | None = None
    """Certificates to trust; None: those of the system."""
    recipients: Annotated[tuple[str, ...], Field(min_length=1)]
    """Patterns of addresses that mail may go to, such as `*@example.com`."""

    def may_write_to(self, address: str) -> bool:
        """Whether mail may go to an address."""
        return any(fnmatchcase(address.casefold(), pattern.casefold()) for pattern in self.recipients)


class Resources(_Frozen):
    """All of it. What is not named cannot be used."""

    sql: Mapping[str, SqlConnection] = Field(default_factory=dict)
    kafka: KafkaCluster | None = None
    mail: MailServer | None = None
    plugins: Mapping[str, Grant] = Field(default_factory=dict)
    """Names in the entry-point group `sentinai.tools`."""


def read_resources(text: str) -> Resources:
    """The resources of a setting's text. Raises ValueError."""
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"the file cannot be read ({type(error).__name__})") from None
    return Resources.model_validate_json(text)
