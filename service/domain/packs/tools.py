"""Tools as packs define them: what a playbook has to give, and how the call is made.

A tool is of one kind; what its definition says beyond the kind's own keys is checked in `tool_checks`, how it
becomes a call in `tool_calls`. docs/tools.md is the reference for people who write tools.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from service.domain.packs.parts import Attribute, Endpoint, Name, Part, PayloadPath
from service.domain.packs.predicates import compile_predicate
from service.domain.packs.retry_rules import RetryRules
from service.domain.retries import Overrides
from service.errors import ErrorKind

_SECRET = re.compile(r"secret://[A-Za-z0-9_-]+/[A-Za-z0-9_./-]+")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_ANSWER_PATH = re.compile(r"status|headers\.[A-Za-z0-9-]+|body(\.[\w$@-]+)*")

ConcurrentCalls = Annotated[int, Field(ge=1, le=1_000)]


class ToolKind(StrEnum):
    """How a tool is reached."""

    HTTP = "http"
    WEBHOOK = "webhook"
    SQL = "sql"
    KAFKA = "kafka"
    PYTHON = "python"
    SMTP = "smtp"


class HttpMethod(StrEnum):
    """How a tool of kind `http` is called."""

    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    GET = "GET"
    DELETE = "DELETE"


def _is_secret(reference: str) -> str:
    if not _SECRET.fullmatch(reference):
        raise ValueError("must be a reference to a secret, like secret://env/NAME; never the secret itself")
    return reference


def _is_header(name: str) -> str:
    if not _HEADER.fullmatch(name):
        raise ValueError("is not the name of a header")
    return name


def _is_answer_path(path: str) -> str:
    if not _ANSWER_PATH.fullmatch(path):
        raise ValueError("must be status, headers.<name>, body, or a path like body.data.id")
    return path


def _is_predicate(source: str) -> str:
    compile_predicate(source)
    return source


SecretReference = Annotated[str, Field(max_length=500), AfterValidator(_is_secret)]
HeaderName = Annotated[str, AfterValidator(_is_header)]
AnswerPath = Annotated[str, Field(max_length=500), AfterValidator(_is_answer_path)]
PredicateText = Annotated[str, AfterValidator(_is_predicate)]
Template = Annotated[str, Field(max_length=20_000)]
"""A text that may hold `{{ parameters.… }}`."""
TemplateTable = Annotated[dict[str, Template], Field(max_length=100)]


class ToolSignature(Part):
    """What a playbook has to know of a tool in order to call it."""

    parameters: dict[str, Attribute] = Field(default_factory=dict)
    sensitiveFields: list[PayloadPath] = Field(default_factory=list)
    """Declared sensitive fields that this tool needs to read unmasked."""


class Tool(ToolSignature):
    """Something outside that playbooks may call; what tools of every kind say."""

    kind: Annotated[ToolKind, Field(strict=False)] = ToolKind.HTTP
    description: str = ""
    version: str | None = Field(default=None, min_length=1, max_length=100, pattern=r"^[\x21-\x7e]+$")
    """Of the tool's own contract: sent along with every call, and kept in the plan."""
    timeoutSeconds: float = Field(default=10.0, gt=0, le=300, allow_inf_nan=False)
    maxRetries: int = Field(default=3, ge=0, le=20)
    """How often a call that the tool did not work is made again; `retry.transient.maxRetries` in short."""
    retry: RetryRules = RetryRules()
    """How its failed calls are made again, in place of what the packs say for the tool stage, key by key."""
    idempotent: bool = False
    """The tool itself ignores a repeated Idempotency-Key."""
    maxConcurrency: ConcurrentCalls | None = None
    """The most calls of it that are under way at once, over all workers; None: the operator's limit."""

    own_keys: ClassVar[tuple[str, ...]] = ()
    """The keys of its kind that a call carries as `options`."""

    def retry_overrides(self) -> Overrides:
        """What is different about its retries."""
        overrides = dict(self.retry.overrides())
        if "maxRetries" in self.model_fields_set:
            overrides[ErrorKind.TRANSIENT] = {"max_retries": self.maxRetries, **overrides[ErrorKind.TRANSIENT]}
        return overrides

    @cached_property
    def options(self) -> Mapping[str, Any]:
        """What a call has to know beyond address, parameters and times: empty for a plain HTTP tool.

        Made once for each pack and shared by all calls, so it must not be changed.
        """
        return self.model_dump(mode="json", include={"version", *self.own_keys}, exclude_defaults=True)


class Auth(Part):
    """How a call proves who makes it. The secret itself is never in a pack."""

    type: Literal["bearer", "basic", "header", "query"]
    secret: SecretReference
    name: str | None = Field(default=None, min_length=1, max_length=100)
    """Of the header or the query parameter."""
    username: str | None = Field(default=None, min_length=1, max_length=200, pattern=r"^[^:\x00-\x1f]+$")
    """For basic; without it the secret is `user:password`."""


class HttpTool(Tool):
    """An HTTP request."""

    endpoint: Endpoint
    method: Annotated[HttpMethod, Field(strict=False)] = HttpMethod.POST
    path: Template | None = None
    """Appended to the endpoint; each parameter in it is percent-encoded as one segment."""
    query: TemplateTable = Field(default_factory=dict)
    headers: dict[HeaderName, Template] = Field(default_factory=dict)
    body: Any = None
    """A JSON template; None: the parameters as they are."""
    auth: Auth | None = None
    response: dict[str, AnswerPath] | None = None
    """The output's fields, and where in the answer each is; None: the body is the output."""
    success: PredicateText | None = None
    """Asked about every 2xx answer: whether it says that the call was worked."""
    onFalse: Literal["fail", "retry"] = "fail"
    """What a success predicate that is false means: not worked for good, or not worked this time."""
    batchEndpoint: Endpoint | None = None
    """Takes `{items: [{idempotencyKey, parameters}]}` in one call and answers each item."""

    own_keys: ClassVar[tuple[str, ...]] = (
        "path", "query", "headers", "body", "auth", "response", "success", "onFalse",
    )  # fmt: skip


class WebhookTool(Tool):
    """A message POSTed to a receiver that checks its signature (Standard Webhooks)."""

    kind: Annotated[ToolKind, Field(strict=False)] = ToolKind.WEBHOOK
    endpoint: Endpoint
    signingSecret: SecretReference
    headers: dict[HeaderName, Template] = Field(default_factory=dict)
    body: Any = None

    own_keys: ClassVar[tuple[str, ...]] = ("signingSecret", "headers", "body")


class SqlTool(Tool):
    """A read on a database connection that the operator declared."""

    kind: Annotated[ToolKind, Field(strict=False)] = ToolKind.SQL
    idempotent: bool = True
    """A read may always be repeated."""
    connection: Name
    query: Annotated[str, Field(min_length=1, max_length=20_000)]
    """One SELECT; `:orderId` stands for a parameter and is bound, never pasted."""
    maxRows: int = Field(default=100, ge=1, le=10_000)
    maxBytes: int = Field(default=262_144, ge=1_024, le=1_048_576)

    own_keys: ClassVar[tuple[str, ...]] = ("connection", "query", "maxRows", "maxBytes")


class KafkaTool(Tool):
    """A record published to a topic that the operator allows."""

    kind: Annotated[ToolKind, Field(strict=False)] = ToolKind.KAFKA
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
    key: Template | None = None
    """The record's key; None: the record has none."""
    value: Any = None
    """A JSON template; None: the parameters as they are."""
    headers: TemplateTable = Field(default_factory=dict)

    own_keys: ClassVar[tuple[str, ...]] = ("topic", "key", "value", "headers")


class PythonTool(Tool):
    """A plug-in that the operator installed (entry-point group `sentinai.tools`)."""

    kind: Annotated[ToolKind, Field(strict=False)] = ToolKind.PYTHON
    plugin: Name
    config: dict[str, Any] = Field(default_factory=dict)
    """Handed to the plug-in as it stands, with every call."""

    own_keys: ClassVar[tuple[str, ...]] = ("plugin", "config")


class SmtpTool(Tool):
    """An e-mail through the operator's mail server."""

    kind: Annotated[ToolKind, Field(strict=False)] = ToolKind.SMTP
    to: Annotated[list[Template], Field(min_length=1, max_length=50)]
    cc: Annotated[list[Template], Field(max_length=50)] = Field(default_factory=list)
    replyTo: Template | None = None
    subject: Annotated[str, Field(min_length=1, max_length=1_000)]
    text: Template

    own_keys: ClassVar[tuple[str, ...]] = ("to", "cc", "replyTo", "subject", "text")


KINDS: Mapping[ToolKind, type[Tool]] = {
    ToolKind.HTTP: HttpTool,
    ToolKind.WEBHOOK: WebhookTool,
    ToolKind.SQL: SqlTool,
    ToolKind.KAFKA: KafkaTool,
    ToolKind.PYTHON: PythonTool,
    ToolKind.SMTP: SmtpTool,
}


def kind_of(definition: Any) -> ToolKind:
    """The kind of a definition; one that is not known is read as http, whose `kind` then has the fault."""
    kind = definition.get("kind") if isinstance(definition, Mapping) else getattr(definition, "kind", None)
    return ToolKind(kind) if isinstance(kind, str) and kind in set(ToolKind) else ToolKind.HTTP


def _tag_of(definition: Any) -> str:
    return f"[{kind_of(definition)}]"


AnyTool = Annotated[
    Annotated[HttpTool, Tag("[http]")]
    | Annotated[WebhookTool, Tag("[webhook]")]
    | Annotated[SqlTool, Tag("[sql]")]
    | Annotated[KafkaTool, Tag("[kafka]")]
    | Annotated[PythonTool, Tag("[python]")]
    | Annotated[SmtpTool, Tag("[smtp]")],
    Discriminator(_tag_of),
]
"""A tool of the kind its definition names; the tags are in brackets so that paths of faults can leave them out."""
