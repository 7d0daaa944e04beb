"""Whether a column's values at T are values of its type now: asked of the rows, because the types do not say.

A narrower type holds what was written in it if every value comes back from it unchanged. Casts whose result depends on
the session (time zone, DateStyle) prove nothing, because the one who changed the type may have had other settings.
"""

from __future__ import annotations

from psycopg import sql

from recovery.model.values import TableName
from recovery.postgres.comparison.table_scan import Field
from recovery.postgres.connect import Session
from recovery.postgres.isolate_bad_rows import ROW_ERRORS, server_words
from recovery.postgres.trusted_sql import trusted_sql

# A conversion is a function, a reading of the same bytes, or through text: by the input and output functions.
_IMMUTABLE = """
select s.oid = t.oid or coalesce(
  (select c.castmethod = 'b' or c.castmethod = 'f' and p.provolatile = 'i'
          or c.castmethod = 'i' and o.provolatile = 'i' and i.provolatile = 'i'
   from pg_cast c left join pg_proc p on p.oid = c.castfunc where c.castsource = s.oid and c.casttarget = t.oid),
  o.provolatile = 'i' and i.provolatile = 'i')
from pg_type s, pg_type t, pg_proc o, pg_proc i
where s.oid = %s::regtype and t.oid = to_regtype(%s) and o.oid = s.typoutput and i.oid = t.typinput
"""


def why_cast_loses(copy: Session, table: TableName, source: Field, own_type: str) -> str | None:
    """Why the values that a column held at T cannot be taken over into its type now; None: each comes back unchanged.

    Reads the column on the copy once.

    `source`: the column at T, with the type it is cast to; `own_type`: the type it had, as format_type() prints it.
    """
    immutable = copy.execute(_IMMUTABLE, (own_type, source.cast)).fetchone()
    if immutable is None or not immutable[0]:
        return "whether its values are still the same depends on the settings under which it was changed"
    back = sql.SQL("({}::{})").format(source.value, trusted_sql(own_type))
    try:
        with copy.transaction():
            changed = copy.execute(
                sql.SQL(
                    "select {0}::text, {1}::text from only {2} where {0}::text is distinct from {1}::text limit 1"
                ).format(sql.Identifier(source.name), back, sql.Identifier(*table.key))
            ).fetchone()
    except ROW_ERRORS as error:
        return server_words(error)
    return f"{changed[0]} would become {changed[1]} as {source.cast}" if changed else None
