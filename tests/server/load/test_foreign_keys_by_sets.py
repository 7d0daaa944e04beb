"""Foreign keys of many rows are checked by one statement each, as safely as row by row."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from recovery.errors import ErrorId, RowbackError
from recovery.model.recovery_plan import ForeignKeyMode, PlannedTable, Why
from recovery.model.values import TableName
from recovery.postgres.copy_rows import CopyTransport
from recovery.reload import foreign_keys_by_sets
from recovery.reload.load_transaction import load
from recovery.reload.prepare_load import prepare
from tests.fix_lab import Database
from tests.server.load.jobs import ignore, job_for

FAMILY = (
    "create table parents (id int primary key, code text)",
    "create table children (id int primary key, parent int references parents, up int references children)",
    "insert into parents select g, 'p' || g from generate_series(1, 100) g",
)
CHILDREN_ALONE = (
    PlannedTable(name=TableName(schema_name="public", name="children"), why=Why.NAMED, because="", bytes_now=0),
)
CHILDREN = "insert into children select g, 1 + g % 100, nullif(g - 1, 0) from generate_series(1, 400) g"


@pytest.fixture
def family(source: Database, database: Database, monkeypatch: pytest.MonkeyPatch) -> tuple[Database, Database]:
    """Children are loaded whole, their parents stand outside; few rows count as many."""
    monkeypatch.setattr(foreign_keys_by_sets, "ROWS_BY_SETS", 100)
    for each in (source, database):
        each.run(*FAMILY)
    source.run(CHILDREN)
    return source, database


def test_parents_outside_stay_until_the_commit_and_can_be_written_to(family: tuple[Database, Database]) -> None:
    source, database = family
    with database.connect() as other, job_for(source, database, tables=CHILDREN_ALONE) as (there, here, job):
        assert prepare(here, job, ()).mode is ForeignKeyMode.SETS

        def meanwhile(done: object) -> None:
            other.execute("set lock_timeout = '100ms'")
            other.execute("update parents set code = 'new' || id where id = 7")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                other.execute("delete from parents where id = 7")

        load(here, job, CopyTransport(there), before_commit=meanwhile)
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            other.execute("delete from parents where id = 7")
    assert database.rows("select * from children order by 1") == source.rows("select * from children order by 1")
    assert database.rows("select code from parents where id = 7") == [("new7",)]


def test_a_parent_that_is_gone_refuses_the_rows(family: tuple[Database, Database]) -> None:
    source, database = family
    database.run("delete from parents where id = 7")
    with job_for(source, database, tables=CHILDREN_ALONE) as (there, here, job):
        assert prepare(here, job, ()).mode is ForeignKeyMode.SETS
        refused_tables: list[TableName] = []
        with pytest.raises(RowbackError) as refused:
            load(here, replace(job, refused=refused_tables.append), CopyTransport(there), before_commit=ignore)
    assert list(map(str, refused_tables)) == ["public.children"], "it is compared row by row, and the rest comes back"
    assert str(refused.value) == (
        "error[load-refused]: rows of public.children cannot be written\n"
        "  4 rows without their parent in public.parents (children_parent_fkey)\n"
        "  the transaction was rolled back: nothing was written to the original\n"
        "  help: compare again, so that they are found beforehand: rowback diff CASE --again"
    )
    assert database.rows("select count(*) from children") == [(0,)]


def test_a_parent_that_is_being_deleted_is_waited_for(family: tuple[Database, Database]) -> None:
    source, database = family
    with database.connect() as other, job_for(source, database, tables=CHILDREN_ALONE) as (there, here, job):
        with other.transaction(force_rollback=True):
            other.execute("delete from parents where id = 7")
            with pytest.raises(RowbackError) as refused:
                load(here, job, CopyTransport(there), before_commit=ignore)
        assert refused.value.id is ErrorId.LOCK_NOT_GRANTED
        load(here, job, CopyTransport(there), before_commit=ignore)
    assert database.rows("select count(*) from children") == [(400,)]


@pytest.mark.parametrize(
    "constraint",
    [
        "foreign key (parent) references parents not valid",
        "foreign key (parent) references parents match full",
        "unique (id, parent) deferrable",
    ],
)
def test_what_one_statement_cannot_check_is_checked_row_by_row(
    family: tuple[Database, Database], constraint: str
) -> None:
    source, database = family
    database.run(f"alter table children add constraint again {constraint}")
    with job_for(source, database, tables=CHILDREN_ALONE) as (_, here, job):
        assert prepare(here, job, ()).mode is not ForeignKeyMode.SETS
