"""What every area of the schema is built on: the one MetaData, and the types and defaults they share."""

from __future__ import annotations

from sqlalchemy import DateTime, MetaData, text
from sqlalchemy.types import UserDefinedType

metadata = MetaData()

NOW = text("now()")
TIME = DateTime(timezone=True)


class Xid8(UserDefinedType[int]):
    """PostgreSQL's 64-bit transaction id."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        """The type's name in DDL."""
        return "xid8"
