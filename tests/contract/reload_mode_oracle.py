"""What every reload mode has to do, computed from what the mode declares and from rows that the test read itself.

One row of each class: lost, changed by the incident alone, by the incident and others, by others alone, and a new one.
"""

from __future__ import annotations

from collections.abc import Mapping

from recovery.model.modes.reload_mode import NewRows, ReloadMode
from recovery.model.row_class import RowClass

Row = tuple[int, str, str]
Rows = dict[int, Row]

PAST = (
    'create table "Weird Name; --" (id int primary key, "t" text not null, w text not null)',
    """insert into "Weird Name; --" select g, 'then ' || g, 'app' from generate_series(1, 8) g""",
)
INCIDENT = (
    """update "Weird Name; --" set "t" = 'bad' where id in (1, 2)""",
    'delete from "Weird Name; --" where id = 3',
)
GOOD = (
    """update "Weird Name; --" set w = 'good' where id in (2, 4)""",
    """insert into "Weird Name; --" values (100, 'new', 'good')""",
)
CLASSES = {1: RowClass.REVERTED, 2: RowClass.CONFLICT, 3: RowClass.LOST, 4: RowClass.NEWER, 100: RowClass.NEW}
TABLE = '"Weird Name; --"'
QUERY = f"select * from public.{TABLE} order by 1"


def expected(mode: ReloadMode, then: Rows, now: Rows) -> Rows:
    """The rows after a reload in place by `mode`, with the incident named and conflicts left to the live row."""
    assert {id for id in then | now if then.get(id) != now.get(id)} == CLASSES.keys(), "one row of each class"
    rows = {}
    for id in then | now:
        kind = CLASSES.get(id)
        if kind is RowClass.LOST or kind in mode.set_back:
            rows[id] = then[id]
        elif kind is not RowClass.NEW or mode.new_rows is NewRows.STAY:
            rows[id] = now[id]
    return rows


def by_id(rows: list[tuple[object, ...]]) -> Rows:
    """Rows of the table by their key."""
    found: Mapping[int, Row] = {int(str(row[0])): (int(str(row[0])), str(row[1]), str(row[2])) for row in rows}
    return dict(found)
