"""When a statement of a swap is executed."""

from __future__ import annotations

from enum import StrEnum


class SwapPhase(StrEnum):
    """In this order; the first five where no other session sees it."""

    TABLE = "on the new table while it is empty"
    INDEX = "once it has its rows; each index by itself"
    CONSTRAINT = "once it has its indexes"
    KEY = "foreign keys, once all tables have their constraints; not validated yet"
    VALIDATE = "of the foreign keys"
    BEFORE = "under the lock, while the old table has the name"
    AFTER = "under the lock, when the new one has it"
