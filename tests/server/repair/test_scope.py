"""Which tables a name brings along, and rows that a condition limits."""

from __future__ import annotations

import pytest

from recovery.compare.inquiry import Inquiry
from recovery.compare.make_repair_plan import make_repair_plan
from recovery.model.recovery_plan import PlannedTable, Why
from recovery.model.repair_plan import DetectionMethod, RepairRequest
from recovery.model.row_class import RowClass
from recovery.postgres.read_catalog import read_catalog
from tests.fix_lab import Database
from tests.fix_plan import plan_for
from tests.fix_repair import Past
from tests.server.repair.tables import FAMILY


def test_naming_the_root_brings_the_children_of_a_cascade_and_nothing_else(past: Past, database: Database) -> None:
    with past(FAMILY) as times:
        held = {
            table: database.rows(f"select * from {table} order by 1, 2") for table in ("articles", "revisions", "notes")
        }
        database.run(
            "delete from spaces where id = 2", "delete from revisions where article_id = 3", "delete from elsewhere"
        )
        plan = times.diff("spaces")
        bill = {table.name.name: (table.inserts, table.engine, table.because) for table in plan.tables}
        assert bill == {
            "spaces": (1, DetectionMethod.LINEAGE, ""),
            "articles": (4, DetectionMethod.FOLLOWED, "rows of public.spaces lead to it"),
            "revisions": (8, DetectionMethod.FOLLOWED, "rows of public.articles lead to it"),
            "notes": (8, DetectionMethod.FOLLOWED, "rows of public.revisions lead to it"),
        }
        times.apply()
        assert [row[0] for row in database.rows("select id from spaces order by 1")] == [1, 2, 3]
        gone = [row for row in held["revisions"] if row[0] == 3]
        assert database.rows("select * from revisions order by 1, 2") == [r for r in held["revisions"] if r not in gone]
        assert database.rows("select * from elsewhere") == []
        assert database.rows("select id, space_id, body from articles order by 1") == [r[:3] for r in held["articles"]]


def test_naming_a_leaf_brings_the_parents_that_its_rows_need(past: Past, database: Database) -> None:
    with past(FAMILY) as times:
        database.run("delete from spaces where id = 2")
        plan = times.diff("notes")
        assert {t.name.name: t.inserts for t in plan.tables if t.inserts} == {
            "notes": 8,
            "revisions": 8,
            "articles": 4,
            "spaces": 1,
        }
        times.apply()
        assert database.rows("select count(*) from notes") == [(24,)]


def test_where_limits_the_root_and_what_hangs_on_it(past: Past, database: Database) -> None:
    with past(FAMILY) as times:
        database.run("delete from spaces")
        plan = times.diff("spaces", where="id = 3 and name <> ')'")
        assert {t.name.name: t.inserts for t in plan.tables if t.inserts} == {
            "spaces": 1,
            "articles": 4,
            "revisions": 8,
            "notes": 8,
        }
        times.apply()
        assert database.rows("select id from spaces") == [(3,)]
        assert database.rows("select distinct space_id from articles") == [(3,)]


def test_children_of_a_reused_key_are_not_given_to_the_stranger(past: Past, database: Database) -> None:
    with past(FAMILY) as times:
        database.run("delete from spaces where id = 2", "insert into spaces values (2, 'stranger', 'else')")
        times.diff()
        reasons = {(c.table, c.reason) for c in times.rows_of(RowClass.BLOCKED)}
        assert {reason for _, reason in reasons} == {
            "its parent in public.spaces is another entity now (articles_space_id_fkey)",
            "its parent in public.articles does not exist (revisions_article_id_fkey)",
            "its parent in public.revisions does not exist (notes_article_id_no_fkey)",
        }
        assert sum(table.writes for table in times.plans[-1].tables) == 0


@pytest.mark.parametrize("lineage", [True, False], ids=["by lineage", "by buckets"])
def test_children_of_a_table_loaded_whole_are_followed_whatever_their_values(
    past: Past, database: Database, *, lineage: bool
) -> None:
    """One column that is key and reference, and an empty text in it."""
    with past(
        "create table p (id text primary key, v text)",
        "insert into p values ('', 'e'), ('a', 'a')",
        "create table c (id text primary key references p)",
        "insert into c values (''), ('a')",
    ) as times:
        database.run("truncate p cascade")
        with times.sessions() as (live, copy), times.changes(1) as changes:
            catalog = read_catalog(live)
            p, c = (next(each.name for each in catalog.tables if each.name.name == name) for name in "pc")
            tables = tuple(
                PlannedTable(name=name, why=why, because="", bytes_now=0, empty=True)
                for name, why in ((p, Why.NAMED), (c, Why.FOLLOWED))
            )
            plan = plan_for(catalog).model_copy(update={"tables": tables})
            boundary = times.boundary if lineage else None
            make_repair_plan(live, copy, Inquiry("case", plan, RepairRequest(), [p], 1, boundary), changes)
            assert sorted(row.key for row in changes.changes(kinds=[RowClass.LOST])) == [("",), ("a",)]
