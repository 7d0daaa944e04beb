"""What the tests of attacks on repairs share."""

from __future__ import annotations

from recovery.model.row_class import RowClass
from tests.fix_repair import Times


def reasons(times: Times) -> set[str]:
    return {str(change.reason) for change in times.rows_of(RowClass.BLOCKED)}
