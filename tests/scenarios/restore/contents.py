"""Databases with contents to restore."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from runbooks.lab.background import pass_a_second
from runbooks.lab.sample_data import load_docs
from tests.fix_lab import Database

DIGEST = "select count(*), md5(string_agg(t::text, '|' order by t::text)) from {} t"


CONTENT = (
    "members",
    "spaces",
    "articles",
    "revisions",
    "revision_comments",
    "tags",
    "article_tags",
    "settings",
    "files",
    '"Weird Name; --"',
)


def digests(database: Database, *tables: str) -> dict[str, tuple[Any, ...]]:
    return {table: database.rows(DIGEST.format(table))[0] for table in tables}


def docs(database: Database) -> tuple[dict[str, tuple[Any, ...]], datetime]:
    """Load the documents product, let a second pass, and return what it held then."""
    with database.connect() as connection:
        load_docs(connection, articles=60, seed=3)
        connection.execute("insert into ops.audit_log (article_id, what) values (1, 'before')")
    held = digests(database, *(f"content.{name}" for name in CONTENT), "ops.audit_log", "ops.schema_migrations")
    return held, pass_a_second()


TRUNCATE = "truncate content.members, content.spaces restart identity cascade"
