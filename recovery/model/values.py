"""The base of all values that travel through plans, journals and reports: frozen, closed, JSON both ways."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

_NAME_PART = re.compile(r'"((?:[^"]|"")*)"|([^".]+)')
_NAME_PARTS = re.compile(r'(?:"(?:[^"]|"")+"|[^".]+)(?:\.(?:"(?:[^"]|"")+"|[^".]+))*')

_LEADING_NAME = re.compile(r'((?:"(?:[^"]|"")+"|[^".: ]+)\.(?:"(?:[^"]|"")+"|[^".: ]+)): ')


class Value(BaseModel):
    """A frozen value. Unknown fields are refused: a plan from a newer rowback must not be half understood."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _aware_utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a time without offset")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("a time that no calendar has in UTC") from None


Moment = Annotated[datetime, AfterValidator(_aware_utc)]


class TableName(Value):
    """A table by its unquoted schema and name."""

    schema_name: str
    name: str

    def __str__(self) -> str:
        return f"{_quoted(self.schema_name)}.{_quoted(self.name)}"

    @property
    def key(self) -> tuple[str, str]:
        """What it sorts and hashes by."""
        return (self.schema_name, self.name)


def name_parts(text: str) -> tuple[str, ...]:
    """The unquoted parts of a name such as `content.articles` or `"Sales.2026".orders`.

    What is no such name, because its quotes do not match, is one name as it stands.
    """
    match = _NAME_PARTS.fullmatch(text)
    if not match:
        return (text,)
    return tuple(
        quoted.replace('""', '"') if quoted or not plain else plain for quoted, plain in _NAME_PART.findall(text)
    )


def leading_name(line: str) -> str:
    """The table that a line `schema.table: text` is about, as str(TableName) writes it; empty where there is none."""
    match = _LEADING_NAME.match(line)
    return match[1] if match else ""


def named_table(text: str) -> TableName:
    """The table that `text` names; without a schema, one of public."""
    parts = name_parts(text)
    return TableName(schema_name=parts[-2] if len(parts) > 1 else "public", name=parts[-1])


def digest_of(value: BaseModel, *, without: frozenset[str] = frozenset()) -> str:
    """sha256 over the canonical JSON of `value`, leaving the fields `without` out."""
    body = value.model_dump(mode="json", exclude=set(without))
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def _quoted(name: str) -> str:
    plain = name.isidentifier() and name.isascii() and name == name.lower()
    return name if plain else '"' + name.replace('"', '""') + '"'


def counted(count: int, noun: str) -> str:
    """`1 row`, `12,345 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
