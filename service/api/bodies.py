"""What all bodies of the API have in common: camelCase keys, and none that is not known."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class In(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class Out(BaseModel):
    """What a caller is answered; made from our own names."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", validate_by_name=True)
