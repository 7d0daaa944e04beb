"""Publications that would offer tables of ours to subscribers, who do not have them."""

from __future__ import annotations

from recovery.postgres.connect import Session, one


def publishes_everything(original: Session) -> bool:
    """Whether a new table would be published by itself.

    FOR ALL TABLES. (One FOR TABLES IN SCHEMA never names a schema of ours.) Temporary and unlogged tables are in no
    publication.
    """
    return bool(one(original, "select exists (select from pg_publication where puballtables)"))
