"""Foreign keys of many new rows, checked by one statement each instead of one for each row.

The server's own triggers do not fire meanwhile (session_replication_role). What they guarantee is done in sets: the
parents outside of the load are locked as they would be (FOR KEY SHARE), and then no row may be without its parent.
"""

from __future__ import annotations

from recovery.model.catalog import ForeignKey
from recovery.postgres import foreign_key_checks, load_statements
from recovery.postgres.connect import Session
from recovery.reload.load_job import Job

ROWS_BY_SETS = 20_000  # of tables loaded whole: from here on one statement for each key is the faster check


def may_check_by_sets(original: Session, job: Job) -> bool:
    """Whether one statement for each foreign key is the better check than one for each row, and open to this role.

    Only where many rows are loaded, every key of their tables is valid, seen whole and of a kind that one statement
    can check, and this role may lock the parents that stand outside.
    """
    rows = sum(job.rows_to_fill(name) for name in job.filled)
    if rows < ROWS_BY_SETS:
        return False
    keys = [key for key in job.catalog.foreign_keys if key.child in job.filled]
    visible = list(job.catalog.visible_keys)
    return (
        bool(keys)
        and all(key.validated and key in visible for key in keys)
        and not foreign_key_checks.need_their_triggers(original, [pair.original.oid for pair in job.fills])
        and all(foreign_key_checks.may_lock_parents(original, key) for key in keys)
        and load_statements.may_be_replica(original)
    )


def parents_outside(job: Job) -> list[ForeignKey]:
    """The keys of the tables loaded whole whose parents are not loaded with them."""
    filled = set(job.filled)
    return [key for key in job.catalog.visible_keys if key.child in filled and not set(key.parent_tables) <= filled]


def lock_parents_outside(original: Session, job: Job) -> None:
    """Keep them from leaving before the commit; dangling references are asked for afterwards."""
    for key in parents_outside(job):
        foreign_key_checks.lock_parents(original, key)
