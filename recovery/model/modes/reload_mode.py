"""What a recovery may do to the original, as values: one for each mode, asked by whatever acts on one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from recovery.model.row_class import RowClass


class Mode(StrEnum):
    """The names of the modes, as requests, plans and journals hold them."""

    MISSING = "missing"
    REPAIR = "repair"
    REPLACE = "replace"
    BESIDE = "beside"
    RECREATE = "recreate"


class Destination(StrEnum):
    """Where rows of T go."""

    IN_PLACE = "their own tables"
    OWN_SCHEMA = "a schema of their own"
    ANEW = "tables that are made anew"


class NewRows(StrEnum):
    """What becomes of rows that T does not have."""

    STAY = "stays"
    LEAVE = "is deleted"


class IncidentNeed(StrEnum):
    """Whether the transaction that did the damage has to be named where rows were changed."""

    NOT_NEEDED = "not needed"
    REQUIRED = "required when rows were changed"


@dataclass(frozen=True)
class Followed:
    """The mode for tables included only through foreign keys, with a named incident and without."""

    with_incident: Mode
    without_incident: Mode


@dataclass(frozen=True)
class ReloadMode:
    """One mode: what it does to each class of rows, and where its rows go.

    `summary`: half a sentence for `--help`; `description`: for the reference. Lost rows come back in every mode.
    `set_back`: classes of rows that are there at both times and become what they were at T. `by_policy`: classes that
    `--on-conflict` decides. `followed`: None where followed tables are treated like all others.
    """

    name: Mode
    summary: str
    description: str
    set_back: frozenset[RowClass] = frozenset()
    by_policy: frozenset[RowClass] = frozenset()
    new_rows: NewRows = NewRows.STAY
    destination: Destination = Destination.IN_PLACE
    incident: IncidentNeed = IncidentNeed.NOT_NEEDED
    followed: Followed | None = None

    @property
    def overwrites_newer(self) -> bool:
        """Whether rows lose what others wrote after T."""
        return RowClass.NEWER in self.set_back

    @property
    def in_place(self) -> bool:
        """Whether rows go into tables that are there, and are compared with what these hold now."""
        return self.destination is Destination.IN_PLACE

    @property
    def beside(self) -> bool:
        """Whether rows go into tables of a schema of the case's own."""
        return self.destination is Destination.OWN_SCHEMA

    @property
    def anew(self) -> bool:
        """Whether what was dropped is made anew."""
        return self.destination is Destination.ANEW
