"""Write to rows of a table without what acts on them: triggers, rules, policies, checks that are NOT VALID."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from psycopg import sql

from recovery.model.table_parts import LostParts, names_of
from recovery.postgres.connect import Session
from recovery.postgres.trusted_sql import trusted_sql

CONSTRAINTS, FORCE = 3, 4

# What would act on every row that is written, and how it is switched off and on again, on one relation alone.
_ACTING = """
select c.oid::regclass::text, 'disable trigger ' || quote_ident(tgname), 'enable' || case tgenabled when 'R' then
    ' replica' when 'A' then ' always' else '' end || ' trigger ' || quote_ident(tgname), 1, null
  from pg_trigger g join pg_class c on c.oid = tgrelid where not tgisinternal and tgenabled <> 'D' and {these}
union all select c.oid::regclass::text, 'disable rule ' || quote_ident(rulename), 'enable' || case ev_enabled when 'R'
    then ' replica' when 'A' then ' always' else '' end || ' rule ' || quote_ident(rulename), 2, null
  from pg_rewrite w join pg_class c on c.oid = ev_class where rulename <> '_RETURN' and ev_enabled <> 'D' and {these}
union all select c.oid::regclass::text, 'drop constraint ' || quote_ident(conname), 'add constraint ' ||
    quote_ident(conname) || ' ' || pg_get_constraintdef(k.oid), 3, 'comment on constraint ' || quote_ident(conname) ||
    ' on ' || c.oid::regclass || ' is ' || quote_literal(obj_description(k.oid, 'pg_constraint'))
  from pg_constraint k join pg_class c on c.oid = conrelid
  where contype = 'c' and not convalidated and coninhcount = 0 and {these}
union all select c.oid::regclass::text, 'no force row level security', 'force row level security', 4, null
  from pg_class c where relforcerowsecurity and {these}
order by 4, 1, 2
"""


@contextmanager
def undisturbed(original: Session, lost: LostParts) -> Iterator[None]:
    """No trigger, no rule, no policy and no check that is NOT VALID acts on what is written: at T they have acted."""
    names = sql.SQL(", ").join(sql.Literal(sql.Identifier(*n.key).as_string(original)) for n in names_of([lost]))
    query = sql.SQL(_ACTING).format(these=sql.SQL("c.oid = any(array[{}]::regclass[])").format(names))
    acting = original.execute(query).fetchall()
    for table, off, _, kind, _ in acting:
        _alter_one(original, table, off, kind)
    yield
    original.execute("set constraints all immediate")  # ALTER TABLE waits for none that are pending
    for table, _, on, kind, comment in acting:
        _alter_one(original, table, on, kind)
        if comment is not None:
            original.execute(trusted_sql(comment))


@contextmanager
def unforced_for_a_look(original: Session, parts: Sequence[LostParts]) -> Iterator[None]:
    """The same in a transaction of its own that is rolled back."""
    with original.transaction(force_rollback=True), unforced(original, parts):
        yield


@contextmanager
def unforced(original: Session, parts: Sequence[LostParts]) -> Iterator[None]:
    """The owner's own policies hide no row meanwhile, in the open transaction."""
    names = names_of(parts)
    query = (
        "select c.oid::regclass::text from pg_class c join pg_namespace n on n.oid = relnamespace"
        " where relforcerowsecurity and (nspname, relname) in (select * from unnest(%s::text[], %s::text[]))"
    )
    keys = [name.schema_name for name in names], [name.name for name in names]
    forced = [row[0] for row in original.execute(query, keys)]
    for table in forced:
        _alter_one(original, table, "no force row level security", FORCE)
    yield
    for table in forced:
        _alter_one(original, table, "force row level security", FORCE)


def _alter_one(original: Session, table: str, how: str, kind: int) -> None:
    only = "" if kind == CONSTRAINTS else "only "  # a constraint is one of all that inherit it
    original.execute(trusted_sql(f"/* rowback */ alter table {only}{table} {how}"))
