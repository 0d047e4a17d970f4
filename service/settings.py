"""The environment, read once into one frozen, validated object.

Only composition roots (`service.wiring`, `celeryconfig`, the command line, migrations) call
`load_settings`; everything else is handed what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from service.errors import ConfigurationError
from service.resources import Resources, read_resources

DEFAULT_DATABASE_URL = "postgresql://postgres:postgres@localhost:5433/sentinai_test"
DEFAULT_KAFKA = "localhost:9093"
DEFAULT_REDIS_URL = "redis://:redis@localhost:6380/0"
"""The ports of docker-compose.test.yml, so that the guide's environment needs nothing more."""


class Settings(BaseModel):
    """Every setting of every process. Frozen: a changed environment needs a restart."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: str = DEFAULT_DATABASE_URL
    """libpq URL of a login that may `SET ROLE` to sentinai_app and sentinai_system."""
    database_owner_url: str | None = None
    """libpq URL of the schema's owner, for migrations only. Default: `database_url`."""
    kafka_bootstrap_servers: Annotated[str, StringConstraints(pattern=r"^[^,\s]+:\d+(,[^,\s]+:\d+)*$")] = DEFAULT_KAFKA
    redis_url: str = DEFAULT_REDIS_URL

    worker_group: str = "sentinai"
    """Kafka consumer group of the worker fleet. Another name starts from the beginning of every queue."""
    partitions: int = Field(default=4, ge=1, le=512)
    """Partitions of each stage topic: the most worker processes that can share one stage."""
    replication_factor: int = Field(default=1, ge=1, le=7)
    lanes: int = Field(default=4, ge=1, le=256)
    """Work is dispatched in this many lanes, each leased by one dispatcher at a time. As many as there are worker
    processes serves best: fewer leave some idle, more make batches smaller and every exception dearer."""
    lane_lease_seconds: float = Field(default=5.0, gt=0)
    """How long a dead dispatcher's lanes stay unserved."""
    batch_size: int = Field(default=500, ge=1, le=1000)
    """The most exceptions of one batch, hence of one Celery message."""
    batches_in_flight: int = Field(default=1, ge=1, le=64)
    """Batches of one lane under way at once. Further work gathers in the outbox, so batches grow with load."""
    reconcile_after_seconds: float = Field(default=30.0, gt=0)
    """An exception that should move, and has been missed for this long, is made ready again. It is missed once it has
    not moved for a third of this."""
    stage_time_limit_seconds: float = Field(default=15.0, ge=1, le=3600)
    """A deciding stage that works a batch for longer is ended with its worker process, and the batch is divided. The
    tool stage has so much more as it may wait for calls."""
    worker_memory_mb: int | None = Field(default=None, ge=0)
    """The most memory (MiB of data) one worker process may have; what asks for more fails instead of the machine.
    0: no limit. Default: a quarter of the machine's or container's, between 1 and 4 GiB."""
    tool_concurrency: int = Field(default=256, ge=1, le=4096)
    """Calls of tools one worker process makes at once, of all tenants together."""
    tenant_tool_concurrency: int = Field(default=256, ge=1, le=65_536)
    """Calls of one tenant's tools under way at once, in all worker processes together: each keeps to its share."""
    single_tool_concurrency: int = Field(default=128, ge=1, le=65_536)
    """The same for one tenant's one tool, where its pack gives no `maxConcurrency`. Below the tenant's, so that a
    tool that hangs leaves room for the tenant's others."""
    worker_processes: int | None = Field(default=None, ge=1, le=4096)
    """Worker processes that share the two limits above. Default: as many as there are lanes."""
    tool_patience_seconds: float = Field(default=1.0, ge=0.05, le=60)
    """How long a batch waits for its calls while no answer comes, and four times as long in all. What is still under
    way then is landed beside the batches that follow."""
    landing_seconds: float = Field(default=10.0, ge=0, le=3600)
    """How long an ending worker process waits for calls under way; what is left is resolved by the effect ledger."""
    breaker_failures: int = Field(default=10, ge=1, le=10_000)
    """Failed calls of a tenant's tool in a row, seen by any worker, after which it is not called for a while."""
    breaker_open_seconds: float = Field(default=15.0, gt=0, le=3600)
    """How long that while is. Then one call finds out whether the tool works again."""
    egress_allow: tuple[str, ...] = ()
    """host:port pairs that tools may be called on although they are private or plain http (demo tool server)."""
    egress_hosts: tuple[str, ...] = ()
    """The only hosts beside these that any tenant's tools may be called on; empty: all that are public. Entries are
    `host`, `host:port` or `host:*`; `*.` before a name means every name below it."""
    egress_require_list: bool = False
    """Whether a tenant whose pack has no `egress.allowHosts` may call nothing."""
    tool_resources: Resources = Resources()
    """What tools may reach beside HTTP, as JSON or `@` and the path of a JSON file; see docs/tools.md."""
    payload_keys: Mapping[str, str] = Field(default_factory=dict)
    """Keys that seal payloads: `id=secret://…` pairs, comma-separated in the environment. The first one seals, all
    open; without any, payloads are stored unencrypted. A reference must be one that packs cannot use."""
    secrets_directory: Path | None = None
    """Folder of `secret://file/…`: packs read `shared/` and `tenants/<tenant>/` of it, settings the rest."""
    pack_variables: Mapping[str, str] = Field(default_factory=dict)
    """Values for `${name}` in packs' endpoints: name=value pairs, comma-separated in the environment."""
    rate_limit_per_second: int = Field(default=20_000, ge=1)
    """Exceptions a tenant may POST per second unless its pack says otherwise."""
    metrics_token: Annotated[str, StringConstraints(min_length=16, max_length=500)] | None = None
    """Who sends this as a bearer token may read /metrics. Without one, only callers on the same host may."""
    pack_cache_seconds: float = Field(default=2.0, ge=0)
    """How long an API process may go on by a tenant's rate after a pack with another became active. Decisions never
    go by an old version: which one is in force is asked for every batch."""

    @field_validator("database_url", "database_owner_url")
    @classmethod
    def _driverless(cls, url: str | None) -> str | None:
        """Map an SQLAlchemy URL of any PostgreSQL driver, async ones too, to the libpq form psycopg2 takes."""
        if url is None:
            return None
        parts = urlsplit(url)
        if parts.scheme.split("+")[0] not in ("postgresql", "postgres"):
            raise ValueError(f"must start with postgresql://, not {parts.scheme}://")
        return urlunsplit(parts._replace(scheme="postgresql"))

    @field_validator("egress_allow", "egress_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("tool_resources", mode="before")
    @classmethod
    def _resources(cls, value: object) -> object:
        return read_resources(value) if isinstance(value, str) else value

    @field_validator("pack_variables", "payload_keys", mode="before")
    @classmethod
    def _pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = [part.partition("=") for part in value.split(",") if part.strip()]
        if any(not equals for _, equals, _ in pairs):
            raise ValueError("must be name=value pairs, separated by commas")
        return {name.strip(): content.strip() for name, _, content in pairs}

    @property
    def owner_url(self) -> str:
        """The URL migrations run with."""
        return self.database_owner_url or self.database_url


_UNPREFIXED = ("database_url", "database_owner_url", "kafka_bootstrap_servers", "redis_url")


def variable_name(field: str) -> str:
    """The environment variable of a field: DATABASE_URL, …, SENTINAI_LANES."""
    return field.upper() if field in _UNPREFIXED else f"SENTINAI_{field.upper()}"


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from environment variables.

    Raises ConfigurationError naming every variable that is wrong; values are not repeated, for they may be secrets.
    """
    values = {name: environ[variable_name(name)] for name in Settings.model_fields if environ.get(variable_name(name))}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{variable_name(str(e['loc'][0]))}: {e['msg']}" for e in error.errors(include_input=False))
        raise ConfigurationError(f"wrong environment: {faults}") from None
