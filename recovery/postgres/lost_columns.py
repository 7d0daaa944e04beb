"""Give tables that are there back what they lost: columns with their values, defaults, checks. In an open transaction.

The values were brought over before any table is locked. Rows that T does not have keep the default, or null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from recovery.errors import ROLLED_BACK, ErrorId, RowbackError
from recovery.model.catalog import Sequence as Counter
from recovery.model.recovery_report import Fingerprint
from recovery.model.table_parts import CheckPart, ColumnPart, Filling, LostParts, names_of
from recovery.model.values import TableName, counted
from recovery.postgres import load_statements
from recovery.postgres.connect import Session
from recovery.postgres.read_table_parts import file_node, hanging_on
from recovery.postgres.trusted_sql import trusted_sql
from recovery.postgres.value_stage import ValueStage, column_definition, stage_values, values_at_target, values_now

CONSTRAINTS, FORCE = 3, 4


@dataclass
class GivenBack:
    """What was done. `rows`: table → rows that got their values; `written`: table → row versions that were written.

    `contents`: of each table in the end; `hanging`: what hangs on its columns then. `differing`: what could not be made
    as it was at T.
    """

    rows: dict[str, int] = field(default_factory=dict)
    written: dict[TableName, int] = field(default_factory=dict)
    contents: dict[str, Fingerprint] = field(default_factory=dict)
    hanging: dict[str, tuple[str, ...]] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)


def stage_all(original: Session, copy: Session, parts: Sequence[LostParts]) -> list[ValueStage]:
    """The values of every table, proven to be the copy's. Raises verify-differs."""
    filled = [lost for lost in parts if lost.is_staged or (lost.stored and lost.filling is Filling.AS_NEW)]
    stages = [stage_values(original, copy, lost, n) for n, lost in enumerate(filled)]
    for stage in stages:
        if stage.lost.is_staged and stage.content != values_at_target(copy, stage.lost):
            raise RowbackError(
                ErrorId.VERIFY_DIFFERS,
                f"the values of {stage.lost.table} that arrived are not those of T",
                state=ROLLED_BACK,
                help="report this as a bug; rowback resume CASE tries again",
            )
    return stages


def refuse_rewritten(original: Session, parts: Sequence[LostParts]) -> None:
    """Once they are locked: rows that are told by their place need the very file. Raises plan-facts-changed."""
    for lost in parts:
        if lost.is_staged and lost.filling is Filling.BY_PLACE and file_node(original, lost.oid) != lost.file_node:
            raise RowbackError(
                ErrorId.PLAN_FACTS_CHANGED,
                f"{lost.table} was rewritten since the plan was made (CLUSTER, VACUUM FULL, ALTER TABLE), and it has no"
                " key: nothing tells any more which row is which",
                state=ROLLED_BACK,
                help="rowback close CASE, then see its rows at T with --mode beside",
            )


def give_back_columns(
    original: Session, parts: Sequence[LostParts], stages: Sequence[ValueStage], counters: Sequence[Counter]
) -> GivenBack:
    """Add the columns and fill them, on tables that are locked against readers as well.

    `counters`: sequences that are made anew, as they stood at T.
    """
    done = GivenBack()
    load_statements.use_search_path_of_role(original)
    for lost, column in _own_columns(parts):
        if not column.generated:
            _alter(original, lost.table, sql.SQL("add column {}").format(column_definition(column)))
    for stage in stages:
        with _undisturbed(original, stage.lost):  # newcomers first: a row that is written has another place
            _fill_newcomers(original, stage, counters, done)
            if stage.lost.is_staged:
                _fill(original, stage, done)
                done.contents[str(stage.lost.table)] = values_now(original, stage.lost)
    for lost, column in _own_columns(parts):
        _complete_column(original, lost.table, column, done)
    load_statements.pin_search_path(original)
    return done


def _complete_column(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    """What is made next relies on it: generated columns, domains, and that identities are never null."""
    if column.generated:
        _add_generated(original, table, column, done)
    elif column.base_type != column.type_name:
        _give_domain(original, table, column, done)
    if column.identity:
        _set_not_null(original, table, column)


def _own_columns(parts: Sequence[LostParts]) -> Iterator[tuple[LostParts, ColumnPart]]:
    """Those that no parent brings."""
    return ((lost, column) for lost in parts for column in lost.columns if not column.inherited)


def finish_parts(original: Session, parts: Sequence[LostParts], done: GivenBack) -> None:
    """Settings, defaults, NOT NULL and checks: what rows that were written since cannot hold is left."""
    load_statements.use_search_path_of_role(original)
    for lost in parts:  # what a partition has for itself comes after what its parents give it
        for column in lost.columns:
            _finish_column(original, lost.table, column, done)
        for column in lost.defaults:
            _set_default(original, lost.table, column, done)
        for check in lost.checks:
            _add_check(original, lost.table, check, done)
    load_statements.pin_search_path(original)


def note_hanging(original: Session, parts: Sequence[LostParts], done: GivenBack) -> None:
    """In the end: what goes along when the columns are dropped again, so that an undo sees what came since."""
    for lost in parts:
        if lost.columns:
            done.hanging[str(lost.table)] = hanging_on(original, lost.table, [column.name for column in lost.columns])


def drops_of(parts: Sequence[LostParts]) -> Iterator[sql.Composed]:
    """Statements that take it all back, none of them with CASCADE."""
    for lost in parts:
        gone = {column.number for column in lost.columns}
        alter = sql.SQL("alter table {} ").format(sql.Identifier(*lost.table.key))
        for check in lost.checks:
            if not set(check.columns) & gone:  # those go with their columns
                yield alter + sql.SQL("drop constraint {}").format(sql.Identifier(check.name))
        for column in lost.defaults:
            yield alter + sql.SQL("alter column {} drop default").format(sql.Identifier(column.name))
        for column in sorted(lost.columns, key=lambda each: not each.generated):
            if not column.inherited:
                yield alter + sql.SQL("drop column {}").format(sql.Identifier(column.name))


def _fill(original: Session, stage: ValueStage, done: GivenBack) -> None:
    pairs = [(sql.Identifier(name), value) for name, value in stage.values]
    sets = sql.SQL(", ").join(sql.SQL("{} = s.{}").format(column, value) for column, value in pairs)
    wrong = sql.SQL(" or ").join(sql.SQL("t.{}::text is distinct from s.{}::text").format(*pair) for pair in pairs)
    query = sql.SQL("update {} t set {} from {} s where {} returning t.tableoid as of, {} as wrong").format(
        stage.target, sets, stage.relation, stage.same_row, wrong
    )
    rows = _written(original, query, done)
    done.rows[str(stage.lost.table)] = rows
    if unmatched := stage.content.rows - rows:
        how = "are not there under their key any more" if stage.lost.key else "were changed or deleted since"
        which = "deleted, or given another key" if stage.lost.key else "no key tells which"
        done.differing.append(
            f"{stage.lost.table}: {counted(unmatched, 'row')} of T {how} ({which}): their values of"
            f" {', '.join(column.name for column in stage.lost.stored)} are not back"
        )


def _fill_newcomers(original: Session, stage: ValueStage, counters: Sequence[Counter], done: GivenBack) -> None:
    """Rows that T does not have get what is the default, or numbers that no sequence of T has given out."""
    tables = {stage.lost.at_target, *stage.lost.leaves}
    owned = {counter.column: counter for counter in counters if counter.table in tables and counter.integers}
    defaults = [column for column in stage.lost.stored if column.default is not None and column.name not in owned]
    if defaults:
        _fill_defaults(original, stage, defaults, done)
    for column in stage.lost.stored:
        if counter := owned.get(column.name):
            _number(original, stage, column, counter, done)


def _number(original: Session, stage: ValueStage, column: ColumnPart, counter: Counter, done: GivenBack) -> None:
    """From the last number of T on, or the last in use where that leaves room: a sentinel is none."""
    up, value = counter.increment > 0, dict(stage.values)[column.name]
    unused = counter.minimum - 1 if up else counter.maximum + 1
    start = counter.last_value if counter.last_value is not None else unused
    query = sql.SQL(
        "with last as (select coalesce({extreme}({value}), {start}) as value from {stage}"
        "  where {value} between {least} and {most}),"
        " new as (select t.tableoid as of, t.ctid as place, row_number() over () as n from {target} t"
        "  where not exists (select from {stage} s where {same}))"
        " update {target} t set {column} = {further}((select value from last), {start}) + new.n * {step} from new"
        " where t.tableoid = new.of and t.ctid = new.place returning t.tableoid as of, false as wrong"
    ).format(
        extreme=sql.SQL("max" if up else "min"),
        further=sql.SQL("greatest" if up else "least"),
        column=sql.Identifier(column.name),
        value=value,
        start=sql.Literal(start),
        least=sql.Literal(counter.minimum if up else counter.minimum // 2),
        most=sql.Literal(counter.maximum // 2 if up else counter.maximum),
        target=stage.target,
        stage=stage.relation,
        same=stage.same_row,
        step=sql.Literal(counter.increment),
    )
    _written(original, query, done)


def _fill_defaults(original: Session, stage: ValueStage, defaults: Sequence[ColumnPart], done: GivenBack) -> None:
    sets = sql.SQL(", ").join(
        sql.SQL("{} = {}").format(sql.Identifier(column.name), trusted_sql(column.default or "")) for column in defaults
    )
    query = sql.SQL(
        "update {} t set {} where not exists (select from {} s where {}) returning t.tableoid as of, false as wrong"
    ).format(stage.target, sets, stage.relation, stage.same_row)
    _written(original, query, done)


def _written(original: Session, query: sql.Composable, done: GivenBack) -> int:
    """Run an UPDATE that returns `of` and `wrong`; how many rows it wrote, booked for each table that holds them.

    Raises verify-differs where a row does not hold afterwards what it was to get.
    """
    counting = sql.SQL(
        "with written as ({}) select nspname, relname, count(*), count(*) filter (where wrong) from written"
        " join pg_class c on c.oid = of join pg_namespace n on n.oid = relnamespace group by 1, 2"
    ).format(query)
    total = 0
    for schema, name, rows, wrong in _updated(original, counting):
        table = TableName(schema_name=schema, name=name)
        if wrong:
            raise RowbackError(
                ErrorId.VERIFY_DIFFERS,
                f"{table}: {counted(wrong, 'row')} did not take the values of T",
                state=ROLLED_BACK,
                help="find what changes them as they are written, and disable it for the load",
            )
        done.written[table] = done.written.get(table, 0) + rows
        total += rows
    return total


def _updated(original: Session, query: sql.Composed) -> list[tuple[Any, ...]]:
    """Raises load-refused where the server refuses updates of a published table that has no replica identity."""
    try:
        return original.execute(query).fetchall()
    except psycopg.errors.ObjectNotInPrerequisiteState as error:
        raise RowbackError(
            ErrorId.LOAD_REFUSED,
            "the server refuses to update a table that is published",
            *str(error).splitlines(),
            state=ROLLED_BACK,
            help="alter table … replica identity full; then rowback resume CASE; afterwards replica identity default",
        ) from error


def _finish_column(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    for setting in column.settings if not column.inherited else ():
        _alter(original, table, sql.SQL("alter column {} {}").format(sql.Identifier(column.name), trusted_sql(setting)))
    if not column.generated and not column.identity and (column.default is not None or column.inherited):
        _set_default(original, table, column, done)
    if column.not_null and not column.identity:
        with _or_left(original, done, f"{table}: {label(column)} may hold null, which it could not at T"):
            _set_not_null(original, table, column)


def label(part: ColumnPart | CheckPart) -> str:
    """How what is left of it begins, behind the table's name."""
    return f"column {part.name}" if isinstance(part, ColumnPart) else f"check {part.name}"


@contextmanager
def _or_left(original: Session, done: GivenBack, text: str) -> Iterator[None]:
    """What the server refuses of a single part is left and said: the rest comes back all the same."""
    try:
        with original.transaction():
            yield
    except (psycopg.errors.IntegrityError, psycopg.errors.ProgrammingError, psycopg.errors.DataError) as error:
        done.differing.append(f"{text}: {str(error).splitlines()[0]}")


def _add_generated(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    kind = sql.SQL("stored" if column.generated == "s" else "virtual")
    adding = sql.SQL("add column {} generated always as ({}) {}").format(
        column_definition(column), trusted_sql(column.default or ""), kind
    )
    with _or_left(original, done, f"{table}: {label(column)} could not be made again"):
        _alter(original, table, adding)


def _give_domain(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    """Once its rows have values: an empty column of a domain that is NOT NULL cannot be added."""
    with _or_left(original, done, f"{table}: {label(column)} is {column.base_type}, not {column.type_name}"):
        domain = sql.SQL("alter column {} type {}").format(sql.Identifier(column.name), trusted_sql(column.type_name))
        _alter(original, table, domain)


def _set_default(original: Session, table: TableName, column: ColumnPart, done: GivenBack) -> None:
    default = sql.SQL("alter column {} set default {}").format(
        sql.Identifier(column.name), trusted_sql(column.default or "null")
    )
    with _or_left(original, done, f"{table}: {label(column)} has no default again"):
        _alter(original, table, default)


def _set_not_null(original: Session, table: TableName, column: ColumnPart) -> None:
    if column.not_null_name is None or column.inherited:
        _alter(original, table, sql.SQL("alter column {} set not null").format(sql.Identifier(column.name)))
        return
    names = sql.Identifier(column.not_null_name), sql.Identifier(column.name)
    _alter(original, table, sql.SQL("add constraint {} not null {}").format(*names))


def _add_check(original: Session, table: TableName, check: CheckPart, done: GivenBack) -> None:
    adding = sql.SQL("add constraint {} {}").format(sql.Identifier(check.name), trusted_sql(check.definition))
    try:
        with original.transaction():
            _alter(original, table, adding)
    except psycopg.errors.CheckViolation:
        _alter(original, table, adding + sql.SQL(" not valid"))
        done.differing.append(f"{table}: {label(check)} is NOT VALID: rows that are there now violate it")
    except (psycopg.errors.ProgrammingError, psycopg.errors.DataError) as error:
        done.differing.append(f"{table}: {label(check)} could not be made again: {str(error).splitlines()[0]}")


# What would act on every row that is written, and how it is switched off and on again, on one relation alone.
_ACTING = """
select c.oid::regclass::text, 'disable trigger ' || quote_ident(tgname), 'enable' || case tgenabled when 'R' then
    ' replica' when 'A' then ' always' else '' end || ' trigger ' || quote_ident(tgname), 1
  from pg_trigger g join pg_class c on c.oid = tgrelid where not tgisinternal and tgenabled <> 'D' and {these}
union all select c.oid::regclass::text, 'disable rule ' || quote_ident(rulename), 'enable' || case ev_enabled when 'R'
    then ' replica' when 'A' then ' always' else '' end || ' rule ' || quote_ident(rulename), 2
  from pg_rewrite w join pg_class c on c.oid = ev_class where rulename <> '_RETURN' and ev_enabled <> 'D' and {these}
union all select c.oid::regclass::text, 'drop constraint ' || quote_ident(conname), 'add constraint ' ||
    quote_ident(conname) || ' ' || pg_get_constraintdef(k.oid), 3
  from pg_constraint k join pg_class c on c.oid = conrelid
  where contype = 'c' and not convalidated and coninhcount = 0 and {these}
union all select c.oid::regclass::text, 'no force row level security', 'force row level security', 4
  from pg_class c where relforcerowsecurity and {these}
order by 4, 1, 2
"""


@contextmanager
def _undisturbed(original: Session, lost: LostParts) -> Iterator[None]:
    """No trigger, no rule, no policy and no check that is NOT VALID acts on what is written: at T they have acted."""
    names = sql.SQL(", ").join(sql.Literal(sql.Identifier(*n.key).as_string(original)) for n in names_of([lost]))
    query = sql.SQL(_ACTING).format(these=sql.SQL("c.oid = any(array[{}]::regclass[])").format(names))
    acting = original.execute(query).fetchall()
    for table, off, _, kind in acting:
        _alter_one(original, table, off, kind)
    yield
    original.execute("set constraints all immediate")  # ALTER TABLE waits for none that are pending
    for table, _, on, kind in acting:
        _alter_one(original, table, on, kind)


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


def _alter(original: Session, table: TableName, how: sql.Composable) -> None:
    original.execute(sql.SQL("/* rowback */ alter table {} {}").format(sql.Identifier(*table.key), how))
