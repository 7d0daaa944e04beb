"""What stands around the rows: policies, settings of the role, those who notice a change."""

from __future__ import annotations

import pytest

from recovery.errors import ErrorId, RowbackError
from tests.fix_lab import Database
from tests.fix_repair import Past


def test_who_will_notice_is_in_the_plan(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, x text)", "insert into t values (1, 'a'), (2, 'b')",
        "create publication changes for table t",
        "create materialized view summary as select count(*) from t",
        "create materialized view of_summary as select * from summary",
    ) as times:  # fmt: skip
        database.run("delete from t where id = 2")
        plan = times.diff()
        assert "publication changes sends the changes of 1 of these tables to its subscribers" in plan.notices
        refresh = "materialized view {0} keeps its old rows until: refresh materialized view {0}"
        assert refresh.format("public.summary") in plan.notices
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, "a"), (2, "b")]
        assert database.rows("select * from summary") == [(2,)], "nobody refreshed it"


def test_rows_that_a_policy_hides_from_others_come_back_as_well(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, tenant text)", "insert into t values (1, 'a'), (2, 'b')",
        "alter table t enable row level security", "create policy own on t using (tenant = 'a')",
    ) as times:  # fmt: skip
        database.run("delete from t")
        times.diff()
        times.apply()
        assert database.rows("select * from t order by 1") == [(1, "a"), (2, "b")]
        assert database.rows("select relrowsecurity from pg_class where relname = 't'") == [(True,)]


def test_forced_policies_and_unlogged_tables_are_refused_by_name(past: Past, database: Database) -> None:
    with past(
        "create table forced (id int primary key)", "alter table forced enable row level security",
        "alter table forced force row level security", "create policy none on forced using (false)",
        "create unlogged table fleeting (id int primary key)", "insert into fleeting values (1)",
    ) as times:  # fmt: skip
        for name, why in (
            ("public.forced", "row security hides rows of public.forced from this role"),
            ("public.fleeting", "it is unlogged, so no backup holds its rows"),
        ):
            with pytest.raises(RowbackError) as refused:
                times.diff(name)
            assert refused.value.id is ErrorId.TABLE_UNRECOVERABLE
            assert why in str(refused.value)


def test_timeouts_of_the_role_are_not_ours(past: Past, database: Database) -> None:
    with past(
        "create table t (id int primary key, x text)",
        "insert into t select g, repeat('x', 200) from generate_series(1, 20000) g",
    ) as times:  # fmt: skip
        database.run("delete from t where id > 10")
        try:
            with database.live.connect() as server:
                server.execute(f"alter database {database.name} set statement_timeout = '1ms'")
                server.execute(f"alter database {database.name} set lock_timeout = '1ms'")
                server.execute(f"alter database {database.name} set idle_in_transaction_session_timeout = '1ms'")
            times.diff()
            times.apply()
        finally:
            with database.live.connect() as server:
                server.execute(f"alter database {database.name} reset all")
        assert database.rows("select count(*), sum(length(x)) from t") == [(20000, 4000000)]
