"""Values that no text can carry: PostgreSQL stores up to 1 GB, and bytea doubles as text, whose limit is the same.

Such a value is compared by checksum and size, written in its place, and travels by itself in binary.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from psycopg import sql

if TYPE_CHECKING:
    pass


# Twice as text, twice in the change set's row: below SQLite's limit of 1,000,000,000 bytes.
MOST_BYTES = 224 * 2**20

MEASURED = frozenset({"bytea", "text", "character varying"})  # their size is known without reading the value

STAND_IN = "rowback:sha256:"
_STAND_IN = re.compile(rf"{STAND_IN}[0-9a-f]{{64}}:(\d+)")


def carried_text(value: sql.Composable, base_type: str) -> sql.Composable:
    """The value as text, or a stand-in with its checksum and size when it is larger than MOST_BYTES."""
    if base_type not in MEASURED:
        return sql.SQL("{}::text").format(value)
    content = value if base_type == "bytea" else sql.SQL("convert_to({}, getdatabaseencoding())").format(value)
    return sql.SQL(
        "case when octet_length({0}) > {1}"
        " then 'rowback:sha256:' || encode(sha256({2}), 'hex') || ':' || octet_length({0}) else {0}::text end"
    ).format(value, sql.Literal(MOST_BYTES), content)


def oversized_bytes(text: str | None) -> int | None:
    """The size of the value that `text` stands in for; None when it is a value itself."""
    match = _STAND_IN.fullmatch(text) if text and text.startswith(STAND_IN) else None
    return int(match[1]) if match else None
