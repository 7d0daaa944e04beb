"""What a recovery proved and how long it took."""

from __future__ import annotations

from typing import Literal

from recovery.model.account import Account, LostValues, TableAccount
from recovery.model.approval import Approval
from recovery.model.instance import RestoreWindow
from recovery.model.recovery_plan import Transport
from recovery.model.values import Moment, TableName, Value


class Fingerprint(Value):
    """Row count and order-independent checksum of one table's content."""

    rows: int
    checksum: str


class TableProof(Value):
    """One table of the scope: what it held at T, and which of those rows it holds now as they were loaded.

    `written_since`: rows that others wrote after the load. `changed_since`: loaded rows that others changed or deleted.
    """

    table: TableName
    at_target: Fingerprint
    now: Fingerprint
    written_since: int
    changed_since: int

    @property
    def equal(self) -> bool:
        """Whether the loaded rows are the rows at T: all of them, or all that were not changed since.

        Equality of every row was proven before the commit, so a row that is missing now was changed by another session.
        A table that is empty now is not equal: it was emptied again.
        """
        return self.at_target == self.now or (self.changed_since > 0 and 0 < self.now.rows < self.at_target.rows)


class RepairProof(Value):
    """One table that was repaired row by row: what was written, and what of it is still exactly so.

    `changed_since`: written rows that others changed or deleted, or deleted ones that others inserted again.
    """

    table: TableName
    inserted: int
    updated: int
    deleted: int
    equal: int
    changed_since: int
    differing: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows written."""
        return self.inserted + self.updated + self.deleted

    @property
    def proven(self) -> bool:
        """Every row we wrote is as planned, or was changed by others."""
        return not self.differing and self.equal + self.changed_since == self.rows


class WorldProof(Value):
    """One table compared with T once more, after the commit.

    Rows that differ as the plan said they would, that others changed since, and that nothing explains, with the keys of
    the first of those.
    """

    table: TableName
    differs_as_planned: int
    changed_since: int
    unexplained: tuple[str, ...] = ()
    unexplained_rows: int = 0


class SequenceMove(Value):
    """A sequence moved forward. Never backward."""

    sequence: TableName
    before: int | None
    after: int


class Phase(Value):
    """How long one step took, attempts added up."""

    step: str
    seconds: float
    attempts: int


class ReferenceCheck(Value):
    """A declared reference to or from another database: keys the repair touched, and those that dangle through it.

    `dangled_at_target`: keys that had no parent at T either. `values`: some of the dangling ones.
    """

    reference: str
    touched: int
    dangling: int
    dangled_at_target: int
    values: tuple[str, ...]


class Verification(Value):
    """The proof.

    `proven` is what the exit code says. `not_compared_again`: why the tables were not compared with the copy once more
    after the commit, where the copy was lost meanwhile. `objects_differ`: made anew, and not as they were at T.
    """

    tables: tuple[TableProof, ...]
    foreign_keys_checked: int
    dangling_references: int
    changed_outside_scope: tuple[str, ...]
    definitions_altered_since: bool
    repaired: tuple[RepairProof, ...] = ()
    invalid_indexes: tuple[str, ...] = ()
    references: tuple[ReferenceCheck, ...] = ()
    world: tuple[WorldProof, ...] = ()
    not_compared_again: str | None = None
    objects_differ: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """Rows put back."""
        return sum(proof.now.rows for proof in self.tables) + sum(proof.rows for proof in self.repaired)

    @property
    def proven(self) -> bool:
        """Whether all that was put back is as planned.

        Restored rows equal T, every foreign key holds, nothing outside the scope changed, and compared with T again
        nothing differs but what the plan said.
        """
        return (
            all(proof.equal for proof in self.tables)
            and all(proof.proven for proof in self.repaired)
            and not self.invalid_indexes
            and not self.objects_differ
            and self.dangling_references == 0
            and not self.changed_outside_scope
            and not any(proof.unexplained_rows for proof in self.world)
        )


class Objectives(Value):
    """RTO and RPO: objectives, never measurements."""

    recovery_time_s: int | None = None
    data_loss_s: int | None = None


Outcome = Literal[
    "recovered",
    "recovered in part",
    "loaded beside",
    "closed without change",
    "closed, not known whether rows were written",
    "open",
]


class Report(Value):
    """A case from opening to closing, folded from its journal.

    `account`: what became of the rows at T, or would if the repair plan were carried out; `unexamined`: tables that may
    have lost rows and were not looked at; `differing`: what stays otherwise than it was at T. `notices`: what else the
    plan noticed.
    """

    schema_version: Literal[1] = 1
    case: str
    outcome: Outcome
    instance: str
    database: str
    target_time: Moment
    window: RestoreWindow
    plan_digest: str
    transport: Transport
    opened_at: Moment
    closed_at: Moment | None
    verification: Verification | None
    sequence_moves: tuple[SequenceMove, ...]
    held_triggers: tuple[str, ...]
    phases: tuple[Phase, ...]
    recovery_time_s: float | None
    objectives: Objectives
    copy_instance: str
    copy_removed: bool
    not_put_back: tuple[str, ...]
    skipped: int
    account: tuple[TableAccount, ...] = ()
    unexamined: tuple[str, ...] = ()
    values_lost: tuple[LostValues, ...] = ()
    differing: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    before_images: str | None = None
    taken_back: bool = False
    stopped_before: tuple[str, ...]
    approvals: tuple[Approval, ...] = ()
    tool_version: str

    @property
    def whole_account(self) -> Account:
        """The account as one value."""
        return Account(
            tables=self.account, unexamined=self.unexamined, values_lost=self.values_lost, differing=self.differing
        )
