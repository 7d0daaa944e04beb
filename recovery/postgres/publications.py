"""Publications that would offer tables that rowback creates to subscribers, who do not have them."""

from __future__ import annotations

from recovery.postgres.connect import Session, one


def publishes_everything(original: Session) -> bool:
    """Whether any publication is FOR ALL TABLES, so that it would publish a new table.

    One FOR TABLES IN SCHEMA never names a schema that rowback creates. Temporary and unlogged tables are not published.
    """
    return bool(one(original, "select exists (select from pg_publication where puballtables)"))
