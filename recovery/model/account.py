"""The account of a result: what became of every row that was there at T, in scope or on the way along foreign keys."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from recovery.model.values import Value, counted


class Partial(StrEnum):
    """What is to become of a recovery of which some rows stay lost."""

    KEEP_OPEN = "keep the case and its copy, for a person to decide"
    ACCEPT = "accept it and close the case"


KEYS_SHOWN = 20


class Reason(Value):
    """Rows that are not back for one reason, with the keys of the first of them."""

    reason: str
    rows: int
    keys: tuple[str, ...] = ()


class TableAccount(Value):
    """One table's rows at T, each in exactly one class.

    `back`: put back, or reverted. `never_gone`: as at T all the time, or `moved` to another table. `kept_newer`:
    changed since T, and meant to stay so. `conflict`: changed by the incident and by others, left for a person.
    `blocked`: would have been written, but something forbids it. `left_out`: lost, and not asked for or not possible
    in this mode. Beside them, `not_deleted`: rows that T does not have, that the mode deletes, and that stay.
    """

    table: str
    at_target: int
    back: int = 0
    never_gone: int = 0
    kept_newer: int = 0
    conflict: int = 0
    blocked: tuple[Reason, ...] = ()
    left_out: tuple[Reason, ...] = ()
    moved: tuple[Reason, ...] = ()
    not_deleted: tuple[Reason, ...] = ()

    @property
    def not_back(self) -> int:
        """Rows that were lost, and stay lost so far."""
        return self.conflict + sum(each.rows for each in (*self.blocked, *self.left_out))

    @property
    def balanced(self) -> bool:
        """Whether every row at T is in one class."""
        return self.at_target == self.back + self.never_gone + self.kept_newer + self.not_back

    def without(self, set_aside: Iterable[Reason], not_deleted: Iterable[Reason] = ()) -> TableAccount:
        """The same when rows that were to come back, or to be deleted, were left as they are at the last moment."""
        set_aside = list(set_aside)
        return self.model_copy(
            update={
                "back": self.back - sum(each.rows for each in set_aside),
                "blocked": merged([*self.blocked, *set_aside]),
                "not_deleted": merged([*self.not_deleted, *not_deleted]),
            }
        )


class LostValues(Value):
    """Values of a table that stay lost though its rows are back: those of `column`, which was dropped since T.

    Without one, those of rows that the incident changed and that are newer than T. `text`: how many, and why.
    """

    table: str
    column: str | None = None
    text: str

    def __str__(self) -> str:
        return f"{self.table}: {self.text}"


class Account(Value):
    """All tables. `unexamined`: what was not looked at, though rows of it may be lost, with the reason.

    `differing`: what is there, is not as it was at T, and stays so though it was asked for.

    `complete` is what "recovered" means: nothing that was lost stays lost, and nothing stays that was to be deleted.
    """

    tables: tuple[TableAccount, ...] = ()
    unexamined: tuple[str, ...] = ()
    values_lost: tuple[LostValues, ...] = ()
    differing: tuple[str, ...] = ()

    @property
    def back(self) -> int:
        """Rows that are back."""
        return sum(table.back for table in self.tables)

    @property
    def not_back(self) -> int:
        """Rows that stay lost."""
        return sum(table.not_back for table in self.tables)

    @property
    def not_deleted(self) -> int:
        """Rows that T does not have, that the mode deletes, and that stay."""
        return sum(each.rows for table in self.tables for each in table.not_deleted)

    @property
    def complete(self) -> bool:
        """Whether nothing that was lost stays lost, and nothing stays that was to be deleted."""
        return not (self.not_back or self.not_deleted or self.unexamined or self.values_lost or self.differing)

    @property
    def summary(self) -> str:
        """The numbers in words, such as `5 rows back, 2 not`."""
        kept = f", {self.not_deleted:,} not deleted" if self.not_deleted else ""
        return f"{counted(self.back, 'row')} back, {self.not_back:,} not{kept}"


def merged(reasons: Iterable[Reason]) -> tuple[Reason, ...]:
    """Equal reasons as one, the most rows first."""
    by_reason: dict[str, Reason] = {}
    for each in reasons:
        if each.rows:
            so_far = by_reason.get(each.reason, Reason(reason=each.reason, rows=0))
            keys = (*so_far.keys, *each.keys)[:KEYS_SHOWN]
            by_reason[each.reason] = Reason(reason=each.reason, rows=so_far.rows + each.rows, keys=keys)
    return tuple(sorted(by_reason.values(), key=lambda each: -each.rows))
