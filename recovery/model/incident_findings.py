"""What a log tells of an incident, and which target time follows from it."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

from recovery.model.instance import RestoreWindow
from recovery.model.values import Moment, Value


class StatementReach(StrEnum):
    """What a statement reaches beyond the tables that it names: nothing; all that references them (CASCADE).

    Or what foreign keys delete or change with their rows (DELETE).
    """

    NAMED = "named"
    CASCADE = "cascade"
    DELETE = "delete"


class Reached(Value):
    """A table that a statement hit, and the planner's number of rows in it now.

    `rows_before`: how many it held at an earlier look (`counted_at`), only where many went or changed since.
    """

    table: str
    rows_estimate: int
    rows_before: int | None = None
    counted_at: Moment | None = None


class Suspect(Value):
    """A statement that may be the incident. `from_time`: when it began; `committed_by`: when its end was known.

    `outcome` is what the log shows, `why` on which grounds. `statement` has no values in it; `parameters` are given
    only when they were asked for. `tables`: those it names; `reached`: those and what hangs on them by CASCADE.
    `target_tables`: the same as `tables`, as the live catalog knows them; `ambiguous`: there are several of one of
    these names, and nothing in a log tells which. `own`: rowback sent it. `costs_rows`: False of what takes an index, a
    view or a trigger. `alike`: how often the same came with other values, where it comes all day; else 0.
    """

    from_time: Moment
    exact: bool
    committed_by: Moment | None
    outcome: Literal["committed", "rolled back", "unknown"]
    why: str
    danger: Literal["read", "write", "destructive", "catastrophic", "unknown"]
    statement: str
    effects: tuple[str, ...]
    tables: tuple[str, ...]
    reached: tuple[Reached, ...] = ()
    target_tables: tuple[str, ...] = ()
    ambiguous: bool = False
    parameters: str = ""
    role: str
    database: str
    client: str
    application: str
    pid: int
    xid: int
    duration_ms: float | None
    own: bool = False
    costs_rows: bool = True
    alike: int = 0
    score: int

    @property
    def unbounded(self) -> bool:
        """Whether it hits whole tables: DROP, TRUNCATE, no WHERE or one that is always true."""
        return self.costs_rows and self.danger in ("destructive", "catastrophic")


class Choice(Value):
    """One of several possible incidents: its first statement, the target time before it, and the command for it."""

    what: str
    from_time: Moment
    outcome: Literal["committed", "unknown"]
    target_time: Moment
    command: str
    tables: tuple[str, ...] = ()


class Proposal(Value):
    """The target time: a whole second before the first bad commit. `confidence`: high when its commit is known.

    `database`, `tables`, `mode` and `incident_xids`: what `command` says, for programs. Where several incidents are
    possible, `choices` has one for each; then `target_time` lies before all of them, and there is no `command`.
    """

    target_time: Moment
    confidence: Literal["high", "medium", "low"]
    because: str
    in_window: bool | None
    reachable_until: Moment | None
    database: str
    tables: tuple[str, ...]
    mode: Literal["missing", "repair"]
    incident_xids: tuple[int, ...]
    command: str
    choices: tuple[Choice, ...] = ()


class FindReport(Value):
    """What `rowback find` says.

    `sources`: what was read; `silent`: what these logs cannot show; `own`: how many statements of rowback itself were
    left out; `untouched`: the table that was asked about, when no statement here names or reaches it; `traces`: what
    the database itself still tells, `events`: what RDS did meanwhile.
    """

    schema_version: Literal[1] = 1
    instance: str | None
    sources: tuple[str, ...]
    from_time: Moment | None
    until_time: Moment | None
    records: int
    suspects: tuple[Suspect, ...]
    more: int
    silent: tuple[str, ...]
    own: int = 0
    untouched: str | None = None
    traces: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    window: RestoreWindow | None = None
    proposal: Proposal | None = None
