"""The recovery plan: everything that will happen, computed from reads only, bound by a digest."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Literal

from recovery.model.approval import Demand
from recovery.model.catalog import DatabaseIdentity, Sequence, Trigger
from recovery.model.instance import CopySettings, InstanceFacts, RestoreWindow
from recovery.model.load_strategy import LoadStrategy
from recovery.model.repair_plan import RepairRequest
from recovery.model.values import Moment, TableName, Value, digest_of

LEFT_OUT_BY_EXCEPT = "left out by --except"


class Transport(StrEnum):
    """How rows travel from the copy to the original."""

    DUMP = "dump"
    COPY = "copy"


class Why(StrEnum):
    """Why a table is in scope."""

    NAMED = "named"
    WHOLE_DATABASE = "whole database"
    EMPTIED_BY_CASCADE = "emptied by cascade"
    NEEDED_PARENT = "empty parent its rows need"
    FOLLOWED = "rows that lost rows lead to"


class ForeignKeyMode(StrEnum):
    """How foreign keys hold during the load. They are re-validated by anti-join before commit in every mode."""

    ORDERED = "parents first"
    DEFERRED = "deferred to the end of the transaction"
    REPLICA = "held back by session_replication_role"
    SETS = "checked by one statement each, session_replication_role holds their triggers back"


class PlannedTable(Value):
    """A table in scope. An empty one may be loaded whole, if no row of it meets an obstacle."""

    name: TableName
    why: Why
    because: str
    bytes_now: int
    empty: bool = True


class LeftOut(Value):
    """A table that stays as it is, with the reason.

    `hit`: rows of it may be lost all the same, and it was not left out by request.
    """

    name: TableName
    reason: str
    hit: bool = False


class RecoveryPlan(Value):
    """What `restore` will do.

    `digest` covers every field but `made_at`. `profile`: by which it was made, and is to be carried out; `approvals`:
    what that demanded. `dropped`: tables that were named and do not exist any more, to be loaded beside. `notices`:
    what a person should know beforehand. `all_or_nothing`: one row that cannot come back, or be deleted, keeps
    all others away.
    """

    schema_version: Literal[1] = 1
    tool_version: str
    made_at: Moment
    source: InstanceFacts
    window: RestoreWindow
    target_time: Moment
    database: str
    identity: DatabaseIdentity
    user: str
    request: RepairRequest = RepairRequest()
    where: str | None = None
    tables: tuple[PlannedTable, ...]
    dropped: tuple[TableName, ...] = ()
    notices: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...]
    all_or_nothing: bool = False
    foreign_key_mode: ForeignKeyMode
    held_triggers: tuple[Trigger, ...]
    sequences: tuple[Sequence, ...]
    copy_settings: CopySettings
    transport: Transport
    load: LoadStrategy = LoadStrategy.AUTO
    lock_timeout_ms: int
    lock_attempts: int
    profile: str | None = None
    approvals: Demand = Demand()

    @property
    def digest(self) -> str:
        """sha256 of the plan's facts; `apply` and `resume` refuse a plan whose digest is not the approved one."""
        by_default = {"load"} if self.load is LoadStrategy.AUTO else set[str]()  # older plans do not have it
        return digest_of(self, without=frozenset({"made_at", *by_default}))

    def to_file(self) -> str:
        """The plan as JSON with its digest, for a person to read and `from_file` to check."""
        return json.dumps({"digest": self.digest, **self.model_dump(mode="json")}, indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_file(cls, text: str) -> RecoveryPlan:
        """The plan of a file. Raises ValueError when it is none, or was altered after it was made."""
        try:
            fields = json.loads(text)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None
        if not isinstance(fields, dict):
            raise ValueError("it is not a JSON object")
        digest = fields.pop("digest", None)
        plan = cls.model_validate_json(json.dumps(fields))
        if plan.digest != digest:
            raise ValueError("it was altered after it was made: its digest does not fit")
        return plan

    @property
    def whole(self) -> tuple[TableName, ...]:
        """The tables that were empty when the plan was made, in load order."""
        if self.where is not None or not self.request.reload_mode.in_place:
            return ()
        return tuple(table.name for table in self.tables if table.empty and table.why is not Why.FOLLOWED)

    @property
    def scope(self) -> tuple[TableName, ...]:
        """The tables in load order."""
        return tuple(table.name for table in self.tables)
